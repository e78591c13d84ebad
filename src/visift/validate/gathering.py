"""All arms of a validation: controls and methods, drawn with every seed; what choosing costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from visift.amounts import counted
from visift.engine.items import Items
from visift.engine.lab import LocalLab
from visift.errors import AnnotationNeeded
from visift.methods.method import Method
from visift.run import must_read_targets
from visift.say import Say
from visift.selection import Choice
from visift.signals.cost import Cost, stated_cost
from visift.training.tuned import FineTuning
from visift.unusable import Quarantine
from visift.validate.arms import (
    ABLATIONS,
    CONTROLS,
    Arm,
    Ground,
    ablation_arm,
    chosen_by,
    control_arm,
    everything,
    full_arm,
    rs2_arm,
)
from visift.validate.choosing import NOWHERE, Choosing, Clock, Stopwatch, needed
from visift.validate.equal import EQUALS, equal_arm
from visift.validate.request import Request
from visift.validate.rounds import control_rounds, round_arms

#: Gives a lab whose trainings, requests and ledger are its own.
NewLab = Callable[[], LocalLab]


@dataclass(slots=True)
class Gathered:
    """The arms of one budget.

    Attributes:
        ground: what they have in common.
        arms: all of them, the full one first.
        choosing: by name, of the first draw.
        notices: what a reader should know, one sentence each.
    """

    ground: Ground
    arms: list[Arm] = field(default_factory=list)
    choosing: dict[str, Choosing] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def add(self, found: Arm | str) -> None:
        """Add an arm, or note why there is none."""
        if isinstance(found, Arm):
            self.arms.append(found)
        elif found not in self.notices:
            self.notices.append(found)

    def named(self, name: str) -> list[Arm]:
        """Return the draws of an arm."""
        return [arm for arm in self.arms if arm.name == name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(dict.fromkeys(arm.name for arm in self.arms))


def gather(request: Request, ground: Ground, new_lab: NewLab, clock: Clock, say: Say) -> Gathered:
    """Draw every arm with every selection seed; what methods ask for is measured now.

    Args:
        request: the validation.
        ground: of one budget.
        new_lab: see `NewLab`.
        clock: remembers how long choosing took.
        say: called with (label, text).

    Raises:
        VisiftError: a method cannot choose from this pool.
    """
    found = Gathered(ground, [full_arm(ground.pool)])
    for draw in range(request.seeds.selection):
        seed = request.seed + draw
        for name in CONTROLS:
            found.add(control_arm(ground, name, new_lab(), seed))
        found.add(rs2_arm(ground, request.training(0), seed))
        for arm in control_rounds(ground, new_lab(), request.rounds, seed):
            found.add(arm)
    for name in request.methods:
        for draw in range(request.seeds.selection):
            for one in _drawn(request, found, name, draw, new_lab, clock):
                found.add(one)
            if request.rounds > 1 and found.named(name):
                for one in _in_rounds(request, ground, name, draw, new_lab()):
                    found.add(one)
        for arm in found.named(name)[:1]:
            filled = f", {arm.filled:,} of them drawn at random" if arm.filled else ""
            say("Arm", f"{name} · {counted(len(arm.rows), 'record')}{filled}")
    for notice in found.notices:
        say("Note", notice)
    return found


def _drawn(
    request: Request, found: Gathered, name: str, draw: int, new_lab: NewLab, clock: Clock
) -> Iterator[Arm | str]:
    """Yield the arm of one draw of a method, and its ablations."""
    method, ground, lab = request.method(name, draw), found.ground, new_lab()
    must_read_targets(method, request.pool.target)
    try:
        whole, here = (needed(method, ground, lab, at) for at in (NOWHERE, lab.cache))
        watch = Stopwatch()
        with watch.running(lab):
            choice = chosen_by(ground, method, lab)
    except AnnotationNeeded as need:
        yield f"{name} is left out: {need.what}"
        return
    what = f"{ground.budget} {name} {draw} {_known_by(request, ground)}"
    took = clock.remembered(what, watch.took, here.measuring == whole.measuring)
    found.choosing.setdefault(name, Choosing(whole.cost, took, whole.bill))
    _must_be_usable(request, ground, lab)
    arm = ground.arm(name, choice.rows, request.seed + draw)
    yield arm
    if arm.filled:
        yield (
            f"{name} chose {ground.size - arm.filled - ground.text:,} records with images where "
            f"{ground.size - ground.text:,} were asked for; random ones fill it up"
        )
    yield from _ablations(request, ground, name, method, choice, draw)
    yield from _equals(request, ground, arm, whole.cost)


def _ablations(
    request: Request, ground: Ground, name: str, method: Method, choice: Choice, draw: int
) -> Iterator[Arm | str]:
    for kind in ABLATIONS if request.ablations else ():
        yield ablation_arm(ground, kind, name, method, choice, request.seed + draw)


def _in_rounds(
    request: Request, ground: Ground, name: str, draw: int, lab: LocalLab
) -> Iterator[Arm | str]:
    base = request.base
    assert base is not None, "checked before"
    recipe = request.training(request.seeds.of(draw)[0])
    method, seed = request.method(name, draw), request.seed + draw
    yield from round_arms(ground, name, method, lab, base, recipe, request.rounds, seed)
    _must_be_usable(request, ground, lab)


def _equals(request: Request, ground: Ground, arm: Arm, choosing: Cost) -> Iterator[Arm | str]:
    base = request.base
    assert base is not None, "checked before"
    items = Items.of(ground.pool, "record", arm.rows)
    load = items.holding(np.arange(len(items)))
    training = stated_cost(FineTuning(base, request.training(0)), load).flops
    for kind in EQUALS:
        if kind in request.equal:
            yield equal_arm(ground.pool, kind, arm, base, choosing.flops, training)


def _must_be_usable(request: Request, ground: Ground, lab: LocalLab) -> None:
    """Raise `TooManyUnusable` where a method lacks the values of more records than is allowed."""
    candidates = set(ground.visual.rows("candidate").tolist())
    failed = {row: why for row, why in lab.failures().items() if row in candidates}
    Quarantine.of(failed).check(ground.pool, request.allowed, "What is measured is kept.")


def _known_by(request: Request, ground: Ground) -> str:
    """Return what tells records, model and settings of a choice from others."""
    digest, hashes = blake2b(digest_size=8), ground.pool.content_hashes()
    for row in everything(ground.pool).tolist():
        digest.update(hashes[row])
    settings = sorted((name, str(value)) for name, value in request.settings.items())
    given = (request.signals, request.labels, request.pool.target)
    digest.update(repr((request.model, settings, given)).encode())
    return digest.hexdigest()

"""Choosing in rounds: choose some, tune on them, measure anew with the tuned model, choose more.

Every round tunes the base anew on all that was chosen so far; the model of the first training seed
measures for the next one [ours]. `stratified` at the same sizes is what the curve is held against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.engine.lab import Examples, LocalLab
from visift.methods.method import Method
from visift.models.ref import ModelRef
from visift.training.recipe import Recipe
from visift.training.tuned import TunedRef
from visift.validate.arms import CONTROL, Arm, Ground, chosen_by, control_arm

Rows = NDArray[np.int64]

CHOSEN_BEFORE = "chosen in an earlier round"
_ROUND = re.compile(r"(?P<arm>.+), round (?P<round>\d+) of (?P<rounds>\d+)")


def round_name(arm: str, number: int, rounds: int) -> str:
    """Return the name of an arm after a round."""
    return f"{arm}, round {number} of {rounds}"


def control_of(arm: str) -> str:
    """Return the arm that another one is held against: `stratified`, of the same size."""
    found = _ROUND.fullmatch(arm)
    if found is None or found["round"] == found["rounds"]:
        return CONTROL
    return round_name(CONTROL, int(found["round"]), int(found["rounds"]))


def is_round(arm: str) -> bool:
    """Return whether an arm was chosen in rounds, or stands beside one."""
    return _ROUND.fullmatch(arm) is not None


def sizes(total: int, rounds: int, kept: int = 0) -> list[int]:
    """Return how many records there are after every round: equal steps, rounded down.

    Args:
        total: after the last one.
        rounds: how many.
        kept: of --keep, which are in before the first one.
    """
    return [kept + (total - kept) * number // rounds for number in range(1, rounds + 1)]


def too_small(ground: Ground, rounds: int) -> bool:
    """Return whether there are fewer records to choose than rounds."""
    return ground.size - len(ground.pool.rows("kept")) < rounds


def steps(ground: Ground, rounds: int) -> list[Ground]:
    """Return what the arms of every round have in common: their size, and how much of it is text.

    Each takes its text-only records from the beginning of one order, so that they only grow.
    """
    ends = sizes(ground.size, rounds, len(ground.pool.rows("kept")))
    return [Ground.of(ground.pool, str(size)) for size in ends[:-1]] + [ground]


def round_arms(
    ground: Ground,
    name: str,
    method: Method,
    lab: LocalLab,
    base: ModelRef,
    recipe: Recipe,
    rounds: int,
    seed: int,
) -> Iterator[Arm | str]:
    """Yield what a method has chosen after every round; or why it cannot choose in rounds.

    Models are trained and values are measured on the way.

    Args:
        ground: of the budget.
        name: the method's, as it was asked for.
        method: with the seed of the draw; its model is what measures in the first round.
        lab: that answers it.
        base: what is tuned.
        recipe: how, with the seed of the model that measures.
        rounds: how many.
        seed: of the draw.

    Raises:
        VisiftError: the method cannot choose from this pool.
    """
    if getattr(method, "model", None) is None:
        yield f"{name} in rounds is left out: it measures with no model"
        return
    if too_small(ground, rounds):
        yield f"{name} in rounds is left out: there are fewer records to choose than rounds"
        return
    chosen = ground.pool.rows("kept")
    for number, step in enumerate(steps(ground, rounds), start=1):
        found = _next(step, chosen, method, lab, seed)
        chosen = np.concatenate([chosen, found.rows[~np.isin(found.rows, chosen)]])
        rows = np.concatenate([chosen, step.text_rows(seed)])
        yield Arm(round_name(name, number, rounds), rows, seed, filled=found.filled)
        if number < rounds:
            method = _measuring_with(method, _tuned(lab, base, recipe, rows))


def _next(step: Ground, chosen: Rows, method: Method, lab: LocalLab, seed: int) -> Arm:
    """Return what a method adds in a round, and the kept records; text-only ones left out."""
    more = step.chosen - len(chosen)
    if more < 1:  # all that the round adds is text-only
        return Arm("", chosen, seed)
    rest = step.visual.without(dict.fromkeys(chosen.tolist(), CHOSEN_BEFORE))
    kept = rest.rows("kept")
    here = Ground(rest, rest, step.budget, more + len(kept), int(rest.text_only[kept].sum()))
    return here.arm("", chosen_by(here, method, lab).rows, seed)


def control_rounds(ground: Ground, lab: LocalLab, rounds: int, seed: int) -> Iterator[Arm]:
    """Yield `stratified` at the sizes of all rounds but the last, which is the arm itself."""
    if too_small(ground, rounds):
        return
    for number, step in enumerate(steps(ground, rounds)[:-1], start=1):
        arm = control_arm(step, CONTROL, lab, seed)
        yield replace(arm, name=round_name(CONTROL, number, rounds))


def _tuned(lab: LocalLab, base: ModelRef, recipe: Recipe, rows: Rows) -> TunedRef:
    """Return the base tuned on some rows; trained now, because what follows may tune it further."""
    tuned = lab.finetune(base, recipe, Examples(rows)).model
    assert isinstance(tuned, TunedRef)
    training = lab.trainings[-1]
    if training.is_needed:
        from visift.models.devices import available

        # On one device, as the trial that has the same name.
        training.run(available(base.device)[:1], lab.progress)
    return tuned


def _measuring_with(method: Any, model: ModelRef) -> Method:
    made: Method = replace(method, model=model)
    return made

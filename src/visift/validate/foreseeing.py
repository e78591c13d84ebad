"""What a validation would do, before anything is measured or trained: `--dry-run`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from visift.amounts import counted
from visift.config import EngineConfig, RunConfig
from visift.engine.items import Items
from visift.errors import AnnotationNeeded
from visift.run import must_read_targets
from visift.say import Say, say_pool
from visift.signals.cost import Cost, stated_cost
from visift.staff import cache_folder
from visift.training.tuned import FineTuning
from visift.validate.arms import ABLATIONS, CONTROLS, RS2, Ground, everything, full_arm, rs2_arm
from visift.validate.benchmarks import FOLDER
from visift.validate.choosing import needed
from visift.validate.equal import EQUAL_ARM
from visift.validate.evaluation import Sheet
from visift.validate.request import Request
from visift.validate.rounds import steps, too_small
from visift.validate.setting import LoopProgress, Setting


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What one kind of work comes to.

    Attributes:
        what: in words.
        models: to train or to ask, or draws of a method.
        steps: of the optimiser in all.
        flops: in all; None where not known.
    """

    what: str
    models: int
    steps: int
    flops: int | None


def foresee(
    request: Request, output: Path, engine: EngineConfig, say: Say, progress: LoopProgress
) -> list[Foreseen]:
    """Count what a validation would do; nothing is measured, trained or written.

    Models that are the same are counted each, and what is stored already, too.

    Args:
        request: the validation.
        output: folder that it would write into.
        engine: of the run.
        say: called with (label, text); commands that would be run are among it.
        progress: told nothing.

    Raises:
        VisiftError: as the validation would, as far as that is known before it measures.
    """
    request = request.checked()
    run = RunConfig(pool=request.pool, model=request.model, signals=request.signals, engine=engine)
    opened = request.pool.open()
    say_pool(say, opened)
    setting = Setting.of(request, run.checked(), opened, output, progress)
    sheet = Sheet.of(setting.questions, request.evaluation.turns)
    say("Power", sheet.power(len(request.methods)))
    trained = [_full(setting)]
    choosing: list[Foreseen] = []
    for budget in request.budgets:
        ground = Ground.of(setting.pool, budget)
        costs = {name: _choosing(setting, ground, name) for name in request.methods}
        choosing += _chosen(setting, ground, costs)
        trained += [
            _arms(setting, ground),
            *_rounds(setting, ground),
            *_equals(setting, ground, costs),
        ]
    _say_commands(request, output, say)
    return [*choosing, *trained, _asking(setting, sum(one.models for one in trained))]


def _full(setting: Setting) -> Foreseen:
    arm, recipe = full_arm(setting.pool), setting.request.training(0)
    models = setting.request.seeds.training
    steps = recipe.steps(len(arm.rows)) * models
    return Foreseen("full", models, steps, _flops(setting, arm.rows, models))


def _models(request: Request) -> int:
    """Return how many models an arm has."""
    return sum(len(request.seeds.of(draw)) for draw in range(request.seeds.selection))


def _chosen(setting: Setting, ground: Ground, costs: Mapping[str, Cost]) -> Iterator[Foreseen]:
    draws, rounds = setting.request.seeds.selection, setting.request.rounds
    for name, cost in costs.items():
        times, told = draws, ""
        if _in_rounds(setting, ground, name):
            # What a tuned model measures is measured anew; as much as in the first round, or less.
            times, told = draws * rounds, f", and in {rounds} rounds"
        flops = None if cost.flops is None else cost.flops * times
        what = f"choosing by {name} at {ground.budget}{told}"
        yield Foreseen(what, draws, cost.training_steps * times, flops)


def _in_rounds(setting: Setting, ground: Ground, name: str) -> bool:
    request = setting.request
    measures = getattr(request.method(name, 0), "model", None) is not None
    return request.rounds > 1 and measures and not too_small(ground, request.rounds)


def _arms(setting: Setting, ground: Ground) -> Foreseen:
    request, recipe = setting.request, setting.request.training(0)
    fresh = not isinstance(rs2_arm(ground, recipe, 0), str)
    parts = 1 + (len(ABLATIONS) if request.ablations else 0)
    arms = len(CONTROLS) + int(fresh) + parts * len(request.methods)
    told = f"{arms} arms at {ground.budget}, {RS2} {'among them' if fresh else 'left out'}"
    return _trained(setting, told, arms, ground.size)


def _trained(setting: Setting, what: str, arms: int, records: int) -> Foreseen:
    """Return what so many arms come to, each of so many records."""
    rows = setting.pool.rows("candidate")[:records]
    total = arms * _models(setting.request)
    steps = setting.request.training(0).steps(records) * total
    return Foreseen(what, total, steps, _flops(setting, rows, total))


def _rounds(setting: Setting, ground: Ground) -> Iterator[Foreseen]:
    """Yield what the rounds come to, beside `stratified` at their sizes."""
    request = setting.request
    methods = sum(_in_rounds(setting, ground, name) for name in request.methods)
    if request.rounds == 1 or too_small(ground, request.rounds):
        return
    for number, step in enumerate(steps(ground, request.rounds), start=1):
        arms = methods + int(step is not ground)  # the last control is an arm anyway
        if arms:
            what = f"round {number} of {request.rounds} at {ground.budget}"
            yield _trained(setting, what, arms, step.size)


def _equals(setting: Setting, ground: Ground, costs: Mapping[str, Cost]) -> Iterator[Foreseen]:
    """Yield what random arms of equal cost come to: as if a method chose average records."""
    one = _trained(setting, "", 1, ground.size)
    for name, cost in costs.items():
        if "tokens" in setting.request.equal:
            yield replace(one, what=f"{EQUAL_ARM}tokens ({name}), about")
        if "compute" in setting.request.equal and one.flops and cost.flops is not None:
            share = 1 + cost.flops * one.models / one.flops
            records = round(ground.size * share)
            if records <= len(everything(setting.pool)):
                yield _trained(setting, f"{EQUAL_ARM}compute ({name}), about", 1, records)


def _asking(setting: Setting, models: int) -> Foreseen:
    """Return what asking all models comes to; benchmarks are not counted."""
    request, asked = setting.request, setting.questions
    assert request.base is not None, "checked before"
    items = Items.of(asked.pool, "record", asked.rows)
    load = items.holding(np.arange(len(items)))
    signals = request.evaluation.answers(request.base), request.evaluation.loss(request.base)
    flops = sum((stated_cost(signal, load) for signal in signals), Cost()).flops
    what = f"asking every model about {counted(len(asked), 'record')}"
    return Foreseen(what, models, 0, None if flops is None else flops * models)


def _flops(setting: Setting, rows: np.ndarray, models: int) -> int | None:
    """Return the operations of so many trainings on records like these."""
    base = setting.request.base
    assert base is not None, "checked before"
    items = Items.of(setting.pool, "record", rows)
    load = items.holding(np.arange(len(items)))
    flops = stated_cost(FineTuning(base, setting.request.training(0)), load).flops
    return None if flops is None else flops * models


def _choosing(setting: Setting, ground: Ground, name: str) -> Cost:
    """Return what one draw of a method measures, given what is stored."""
    request, method = setting.request, setting.request.method(name, 0)
    must_read_targets(method, request.pool.target)
    cache = cache_folder(setting.run.engine, ground.pool)
    try:
        return needed(method, ground, setting.lab(), cache).cost
    except AnnotationNeeded:
        return Cost()


def _say_commands(request: Request, output: Path, say: Say) -> None:
    if request.evaluator is None:
        return
    command = request.evaluator.command("CHECKPOINT", output / FOLDER / "MODEL")
    say("Evaluate", f"each model with: {shlex.join(command)}")

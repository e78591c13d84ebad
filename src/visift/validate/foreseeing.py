"""What a validation would do, before anything is measured or trained: `--dry-run`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visift.budget import Budget
from visift.config import EngineConfig, RunConfig
from visift.engine.counting import CountingLab
from visift.engine.items import Items
from visift.errors import AnnotationNeeded
from visift.pool.annotations import Annotations
from visift.run import must_read_targets
from visift.say import Say, say_pool
from visift.signals.cost import Cost, stated_cost
from visift.staff import cache_folder
from visift.training.tuned import FineTuning
from visift.validate.arms import ABLATIONS, CONTROLS, RS2, Ground, full_arm, rs2_arm
from visift.validate.benchmarks import FOLDER
from visift.validate.evaluation import Sheet
from visift.validate.request import Request
from visift.validate.setting import LoopProgress, Setting


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What one kind of work comes to.

    Attributes:
        what: in words.
        models: to train and to ask, or draws of a method.
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
    found = [foreseen for budget in request.budgets for foreseen in _budget(setting, budget)]
    _say_commands(request, output, say)
    return [_full(setting), *found]


def _full(setting: Setting) -> Foreseen:
    arm, recipe = full_arm(setting.pool), setting.request.training(0)
    models = setting.request.seeds.training
    steps = recipe.steps(len(arm.rows)) * models
    return Foreseen("full", models, steps, _flops(setting, arm.rows, models))


def _budget(setting: Setting, budget: str) -> Iterator[Foreseen]:
    request = setting.request
    ground, seeds, recipe = Ground.of(setting.pool, budget), request.seeds, request.training(0)
    models = sum(len(seeds.of(draw)) for draw in range(seeds.selection))
    fresh = not isinstance(rs2_arm(ground, recipe, 0), str)
    for name in request.methods:
        cost = _choosing(setting, ground, name)
        steps = cost.training_steps * seeds.selection
        flops = None if cost.flops is None else cost.flops * seeds.selection
        yield Foreseen(f"choosing by {name} at {budget}", seeds.selection, steps, flops)
    parts = 1 + (len(ABLATIONS) if request.ablations else 0)
    arms = len(CONTROLS) + int(fresh) + parts * len(request.methods)
    told = f"{arms} arms at {budget}, {RS2} {'among them' if fresh else 'left out'}"
    rows = ground.pool.rows("candidate")[: ground.size]
    total = models * arms
    steps = recipe.steps(ground.size) * total
    yield Foreseen(told, total, steps, _flops(setting, rows, total))


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
    given = (setting.imported, Annotations(), setting.teacher)
    counting = CountingLab(ground.visual, cache, *given)
    try:
        method.measure(ground.visual, counting, Budget.parse(ground.chosen))
    except AnnotationNeeded:
        return Cost()
    return sum((count.entry.cost for count in counting.counts()), Cost())


def _say_commands(request: Request, output: Path, say: Say) -> None:
    if request.evaluator is None:
        return
    command = request.evaluator.command("CHECKPOINT", output / FOLDER / "MODEL")
    say("Evaluate", f"each model with: {shlex.join(command)}")

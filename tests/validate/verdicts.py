"""Validations whose models were never trained: scores are made up, everything else is real."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers import open_records, talk
from visift.config import PoolConfig
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.training.finetune import Outcome
from visift.validate.arms import CONTROLS, FULL, Arm, Ground
from visift.validate.decontamination import Contamination
from visift.validate.equal import EQUAL_ARM
from visift.validate.evaluation import Sheet
from visift.validate.gathering import Gathered
from visift.validate.judging import Judged, Scored, judge_budget
from visift.validate.loop import Validated
from visift.validate.request import Request, Seeds
from visift.validate.rounds import round_name, sizes
from visift.validate.running import Trial
from visift.validate.splitting import Questions

MODEL = ModelRef("builtin:tiny")
RECORDS, QUESTIONS, TRAININGS = 48, 60, 5
#: How often an arm is right, unless it is said otherwise.
USUAL = 0.4


def validated(
    folder: Path,
    gains: dict[str, float],
    *,
    budgets: tuple[str, ...] = ("12",),
    full: float = 0.5,
    tasks: tuple[str, ...] = ("count", "colour"),
    rounds: int = 1,
    equal: tuple[str, ...] = (),
) -> Validated:
    """Return a validation of `balanced`, which no model was trained for.

    Args:
        folder: for the pool.
        gains: of arms, in fractions of 1.
        budgets: as written.
        full: gain of the full arm; below 0.1 no task counts.
        tasks: of the questions.
        rounds: in which `balanced` chooses.
        equal: further random arms for it.
    """
    answers = [f"answer {number}" for number in range(QUESTIONS)]
    asked = [
        talk(f"question {n}?", answers[n], task=tasks[n % len(tasks)]) for n in range(QUESTIONS)
    ]
    questions = Questions.of(open_records(folder / "asked", asked), np.arange(QUESTIONS))
    pool = open_records(folder / "pool", [talk(f"record {n}?") for n in range(RECORDS)])
    request = Request(
        pool=PoolConfig((str(folder / "pool" / "pool.json"),)),
        model=MODEL,
        methods=("balanced",),
        budgets=budgets,
        seeds=Seeds(TRAININGS, TRAININGS),
        recipe="tiny,epochs:1,batch_size:4,micro_batch:4",
        rounds=rounds,
        equal=equal,
    )
    sheet = Sheet.of(questions, 1)
    gains = {FULL: full, **gains}
    judged = tuple(_judged(pool, budget, request, sheet, gains) for budget in budgets)
    met = Contamination()
    return Validated(folder, request, pool, questions, met, sheet, judged, 12.5)


def _judged(
    pool: Pool, budget: str, request: Request, sheet: Sheet, gains: dict[str, float]
) -> Judged:
    ground = Ground.of(pool, budget)
    gathered = Gathered(ground, notices=["something is left out"])
    of = {FULL: len(pool), **dict.fromkeys((*CONTROLS, "balanced"), ground.size)}
    if request.rounds > 1:
        for number, size in enumerate(sizes(ground.size, request.rounds), start=1):
            of[round_name("balanced", number, request.rounds)] = size
            if size < ground.size:
                of[round_name("stratified", number, request.rounds)] = size
    of |= {f"{EQUAL_ARM}{kind} (balanced)": ground.size for kind in request.equal}
    rng = np.random.default_rng(0)
    difficulty = rng.random(len(sheet))
    scored = []
    for name, size in of.items():
        rows = np.arange(size)
        for seed in range(TRAININGS):
            arm = Arm(name, rows, 0 if name == FULL else seed)
            if name != FULL or not seed:
                gathered.add(arm)
            right = USUAL + gains.get(name, 0.0) + 0.1 * rng.normal(size=len(sheet))
            scored.append(
                Scored(
                    trial=Trial(arm, seed, request.training(seed)),
                    scores=(difficulty < right).astype(np.float64),
                    answered=np.ones(len(sheet), np.bool_),
                    loss=2.0 - gains.get(name, 0.0),
                    outcome=_outcome(len(rows)),
                )
            )
    return judge_budget(gathered, request.methods, sheet, scored, MODEL, 0)


def _outcome(records: int) -> Outcome:
    steps = records // 4
    return Outcome(records, steps, (1.0,) * steps, 0.5 * steps, 100 * records, {}, ())

"""From answers to a verdict: scores of every question, what counts, who is better, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.engine.items import Items
from visift.models.ref import ModelRef
from visift.signals.cost import Cost, stated_cost
from visift.training.finetune import Outcome
from visift.training.tuned import FineTuning
from visift.validate.arms import CONTROL, FULL
from visift.validate.choosing import Choosing, Took
from visift.validate.cost import ArmCost, Saving, savings, seconds_of
from visift.validate.equal import EQUAL_ARM, equal_of
from visift.validate.evaluation import Sheet
from visift.validate.gathering import Gathered
from visift.validate.results import Results
from visift.validate.rounds import control_of, is_round
from visift.validate.running import Answered, Trial
from visift.validate.standing import ArmScore, TaskCheck, arm_scores, check_tasks
from visift.validate.statistics import Comparison, compare
from visift.validate.verdict import Verdict, verdicts

Float = NDArray[np.float64]

#: The arm that always gives a task's commonest answer; nobody trained it.
MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class Judged:
    """What came out at one budget.

    Attributes:
        gathered: its arms.
        results: of every trained model, and of `MAJORITY`, over all questions.
        checks: which tasks count.
        scores: of every arm, over the tasks that count; empty where none does.
        verdicts: of the methods, tested together.
        beside: the other arms against the same control, tested for nothing.
        equals: methods against random arms that cost as much, see `equal`; tested for nothing.
        losses: by arm, mean loss of the right answers, over all questions.
        costs: of every arm.
        savings: by arm.
        notices: what a reader should know.
    """

    gathered: Gathered
    results: Results = field(repr=False)
    checks: tuple[TaskCheck, ...]
    scores: tuple[ArmScore, ...]
    verdicts: tuple[Verdict, ...]
    beside: tuple[Comparison, ...]
    losses: Mapping[str, float]
    costs: tuple[ArmCost, ...]
    savings: Mapping[str, Saving]
    notices: tuple[str, ...]
    equals: tuple[Comparison, ...] = ()

    @property
    def counting(self) -> tuple[str, ...]:
        """The tasks that count."""
        return tuple(check.task for check in self.checks if check.counts)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a trained model scored.

    Attributes:
        trial: which model.
        scores: (Q,) of every question, 0 where the record was not answered.
        answered: (Q,) whether it was.
        loss: mean over records of the mean loss of the right answers; None where none has one.
        outcome: of the training.
    """

    trial: Trial
    scores: Float = field(repr=False)
    answered: NDArray[np.bool_] = field(repr=False)
    loss: float | None
    outcome: Outcome | None = field(repr=False)

    @classmethod
    def of(cls, sheet: Sheet, one: Answered) -> Scored:
        """Score the answers of a model."""
        there = one.ok[sheet.places[:, 0]]
        known = one.losses[np.isfinite(one.losses)]
        return cls(
            trial=one.trial,
            scores=np.where(there, sheet.scores(one.answers), 0.0),
            answered=there,
            loss=float(known.mean()) if len(known) else None,
            outcome=one.outcome,
        )


def results_of(sheet: Sheet, scored: Sequence[Scored]) -> Results:
    """Put the scores of all models together, and those of `MAJORITY`."""
    return Results(
        arms=(*(one.trial.arm.name for one in scored), MAJORITY),
        selection_seeds=np.array([*(one.trial.arm.seed for one in scored), 0], np.int64),
        training_seeds=np.array([*(one.trial.seed for one in scored), 0], np.int64),
        questions=sheet.questions,
        tasks=sheet.tasks,
        groups=sheet.groups,
        scores=np.array([*(one.scores for one in scored), sheet.majority()], np.float64),
        answered=np.array([*(one.answered for one in scored), [True] * len(sheet)], bool),
    )


def judge_budget(
    gathered: Gathered,
    methods: Sequence[str],
    sheet: Sheet,
    scored: Sequence[Scored],
    model: ModelRef,
    seed: int,
    shares: Mapping[str, float] | None = None,
) -> Judged:
    """Say what came out at one budget.

    Args:
        gathered: its arms.
        methods: those to judge, as far as they have an arm.
        sheet: the right answers.
        scored: what every model scored.
        model: what was tuned.
        seed: of the resampling.
        shares: of tasks in all questions together, see `statistics.compare`.
    """
    results = results_of(sheet, scored)
    checks = tuple(check_tasks(results, FULL, MAJORITY, seed=seed))
    costs = _costs(gathered, scored, model)
    judged = Judged(
        gathered=gathered,
        results=results,
        checks=checks,
        scores=(),
        verdicts=(),
        beside=(),
        losses=_losses(scored),
        costs=costs,
        savings={},
        notices=(*gathered.notices, *_notices(results, scored)),
    )
    if not judged.counting:
        return judged
    return _judged(judged, [name for name in methods if name in gathered.names], seed, shares)


def _judged(
    judged: Judged, methods: Sequence[str], seed: int, shares: Mapping[str, float] | None
) -> Judged:
    counting, names = judged.results.only(judged.counting), judged.gathered.names
    scores = tuple(arm_scores(counting, shares=shares))

    def held(method: str, control: str) -> Comparison:
        return compare(counting, method, control, shares=shares, seed=seed)

    found = verdicts(counting, methods, CONTROL, shares=shares, seed=seed) if methods else ()
    return replace(
        judged,
        scores=scores,
        verdicts=tuple(found),
        beside=tuple(held(name, control_of(name)) for name in beside(names, methods)),
        equals=tuple(held(*pair) for pair in equal_pairs(names)),
        savings=savings(judged.costs, {one.arm: one.micro for one in scores}),
    )


def beside(names: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Return the arms that are held against a control of as many records, and not judged."""
    apart = (*methods, FULL)
    return [
        name
        for name in names
        if name not in (*apart, control_of(name)) and not name.startswith(EQUAL_ARM)
    ]


def equal_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return every method that has random arms of equal cost, with each of them."""
    found = ((equal_of(name), name) for name in names)
    return [(method, name) for method, name in found if method is not None]


def _losses(scored: Sequence[Scored]) -> dict[str, float]:
    """Return the mean over trials of the mean loss over records, by arm."""
    by_arm: dict[str, list[float]] = {}
    for one in scored:
        if one.loss is not None:
            by_arm.setdefault(one.trial.arm.name, []).append(one.loss)
    return {arm: float(np.mean(values)) for arm, values in by_arm.items()}


def _costs(gathered: Gathered, scored: Sequence[Scored], model: ModelRef) -> tuple[ArmCost, ...]:
    nothing = Choosing(Cost(), Took(0.0))
    trained = [_training(gathered, name, scored, model) for name in gathered.names]
    lines = []
    for one in trained:
        chosen = gathered.choosing.get(_method_of(one.arm), nothing)
        if is_round(one.arm) and not one.arm.startswith(CONTROL):
            # Every round measures with another model: nobody counted that.
            lines.append(replace(one, choosing=None, choosing_seconds=None, bill=chosen.bill))
            continue
        seconds = seconds_of(chosen.cost, chosen.took.seconds, trained)
        lines.append(
            replace(
                one,
                choosing=chosen.cost,
                choosing_seconds=seconds,
                choosing_memory=chosen.took.memory,
                bill=chosen.bill,
            )
        )
    return tuple(lines)


def _method_of(arm: str) -> str:
    """Return the method whose choice an arm needs: an ablation costs what its method costs."""
    return arm.partition(", ")[0]


def _training(gathered: Gathered, name: str, scored: Sequence[Scored], model: ModelRef) -> ArmCost:
    mine = [one for one in scored if one.trial.arm.name == name]
    took = [one.outcome.seconds for one in mine if one.outcome is not None]
    trial = mine[0].trial
    items = Items.of(gathered.ground.pool, "record", trial.arm.rows)
    cost = stated_cost(FineTuning(model, trial.recipe), items.holding(np.arange(len(items))))
    seconds = float(np.mean(took)) if took else None
    held = [one.outcome.memory for one in mine if one.outcome and one.outcome.memory]
    records = len(trial.arm.rows)
    return ArmCost(
        name, Cost(), 0.0, cost, seconds, records, training_memory=max(held, default=None)
    )


def _notices(results: Results, scored: Sequence[Scored]) -> list[str]:
    """Return what went otherwise than meant: replies missing, examples left out, unequal steps."""
    said = [
        f"{arm}: {counted(count, 'question')} without an answer, scored 0"
        for arm, count in results.missing().items()
    ]
    steps: dict[str, set[int]] = {}
    for one in scored:
        name, outcome = one.trial.arm.name, one.outcome
        if outcome is None:
            continue
        if name != FULL and not name.startswith(EQUAL_ARM) and control_of(name) == CONTROL:
            steps.setdefault(name, set()).add(outcome.steps)
        if outcome.left_out:
            many = counted(len(outcome.left_out), "record")
            said.append(f"{name}: {many} could not be trained on ({_first(outcome.left_out)})")
    if len(set().union(*steps.values())) > 1:
        told = ", ".join(f"{name} {'/'.join(map(str, sorted(n)))}" for name, n in steps.items())
        said.append(f"arms were not trained for equally many steps: {told}")
    return list(dict.fromkeys(said))


def _first(reasons: Mapping[str, str]) -> str:
    return next(iter(reasons.values()))

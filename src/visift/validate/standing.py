"""What every arm scored, and which tasks can show anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from visift.validate.resampling import FloatArray, Layout, Models
from visift.validate.results import Results
from visift.validate.statistics import compare

#: Standard errors by which the full arm must beat the commonest answer, for a task to count.
MARGIN = 3.0


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """Whether a task can show anything.

    Attributes:
        task: its name.
        full: mean score of the full arm.
        majority: mean score of always giving the commonest answer.
        error: standard error of their difference.
    """

    task: str
    full: float
    majority: float
    error: float

    @property
    def counts(self) -> bool:
        """Return whether the full arm beats the commonest answer by three standard errors."""
        return self.full - self.majority >= MARGIN * self.error and self.full > self.majority


def check_tasks(
    results: Results, full: str = "full", majority: str = "majority", *, seed: int = 0
) -> list[TaskCheck]:
    """Return which tasks count, decided from the full arm alone.

    Args:
        results: with both arms.
        full: the arm trained on the whole pool.
        majority: an arm that gives every task's commonest answer, see `metrics.majority_scores`.
        seed: of the resampling.

    Raises:
        InputError: no such arm.
    """
    compared = compare(results, full, majority, seed=seed)
    layout = Layout.of(results)
    means = [Models.of(results, arm, layout).scores for arm in (full, majority)]
    by_task = layout.statistics(np.array(means))[:, 2:]
    return [
        TaskCheck(task, float(by_task[0, at]), float(by_task[1, at]), compared.tasks[task].error)
        for at, task in enumerate(layout.tasks)
    ]


@dataclass(frozen=True, slots=True)
class ArmScore:
    """What an arm scored; `seed` spreads are standard deviations from one seed to another.

    Attributes:
        arm: its name.
        micro: mean in the mix of tasks, see `statistics.Comparison`.
        macro: mean over tasks.
        tasks: mean of every task.
        models: how many were trained.
        training_spread: of `micro`; None with one seed.
        selection_spread: likewise; None where each training has a selection of its own, so that
            `training_spread` holds both.
    """

    arm: str
    micro: float
    macro: float
    tasks: Mapping[str, float] = field(repr=False)
    models: int
    training_spread: float | None
    selection_spread: float | None


def arm_scores(results: Results, *, shares: Mapping[str, float] | None = None) -> list[ArmScore]:
    """Return what every arm scored; arguments and errors are those of `statistics.compare`."""
    layout = Layout.of(results, shares)
    return [_arm_score(results, name, layout) for name in results.arm_names]


def _arm_score(results: Results, name: str, layout: Layout) -> ArmScore:
    arm = Models.of(results, name, layout)
    micro, macro, *tasks = layout.statistics(arm.scores[None])[0].tolist()
    return ArmScore(
        arm=name,
        micro=micro,
        macro=macro,
        tasks=dict(zip(layout.tasks, tasks, strict=True)),
        models=len(results.of_arm(name)),
        training_spread=_spread(arm.by_training),
        selection_spread=_spread(arm.by_selection),
    )


def _spread(values: FloatArray) -> float | None:
    return float(values[:, 0].std(ddof=1)) if len(values) > 1 else None

"""Drawing anew: image groups by which questions hang together, and seeds.

Weights are those of the Bayesian bootstrap (Rubin 1981), so that no task can lose all its
questions, spread so that the variance of a mean of n values is s²/n also where n is small.
Statistics are K = 2 + T numbers: the mean in the mix of tasks that is asked about, the mean over
tasks, every task. Each is one weighted mean over questions, whatever their tasks: a task with few
images is then drawn with the others, and does not look certain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError
from visift.validate.results import Results

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
#: A source of chance: its name, and (K,) variances and degrees of freedom.
Source = tuple[str, FloatArray, FloatArray]

#: Weights of one block of resamples: 32 MB.
_BLOCK = 4_000_000
#: As many groups as this more than one are still one.
_ROUNDING = 1e-9


# --- questions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Which task and which image group each of Q questions belongs to.

    Attributes:
        tasks: (T,) names, in order.
        task_of: (Q,) which task each question belongs to.
        group_of: (Q,) which image group.
        shares: (T,) of each task in the mix, sum 1.
        weights: (T, K) that a question of each task has in each statistic; those of all questions
            sum to 1.
        groups: how many image groups there are.
    """

    tasks: tuple[str, ...]
    task_of: IntArray
    group_of: IntArray
    shares: FloatArray
    weights: FloatArray
    groups: int

    @classmethod
    def of(cls, results: Results, shares: Mapping[str, float] | None = None) -> Layout:
        """Read the layout of some results.

        Args:
            results: the results.
            shares: how much of the mix each task is, in any unit (records of the pool, say); tasks
                without questions do not count. Numbers of questions by default.

        Raises:
            InputError: a task has no share, or none has one above 0.
        """
        names, task_of = np.unique(results.tasks, return_inverse=True)
        groups, group_of = np.unique(results.groups, return_inverse=True)
        tasks = tuple(map(str, names))
        sizes = np.bincount(task_of)
        mix = sizes / sizes.sum() if shares is None else _mix(tasks, shares)
        even = np.full(len(tasks), 1 / len(tasks))
        return cls(
            tasks=tasks,
            task_of=task_of,
            group_of=group_of,
            shares=mix,
            weights=np.column_stack([mix, even, np.eye(len(tasks))]) / sizes[:, None],
            groups=len(groups),
        )

    def statistics(self, scores: FloatArray) -> FloatArray:
        """Return (n, K) statistics of (n, Q) scores."""
        sums = np.array([np.bincount(self.task_of, row) for row in scores])
        return np.asarray(sums @ self.weights)

    def cells(self, values: FloatArray | None = None) -> FloatArray:
        """Return (groups, K) weighted sums of (Q,) values; without values, weights of groups."""
        tasks = len(self.tasks)
        place = self.group_of * tasks + self.task_of
        sums = np.bincount(place, values, minlength=self.groups * tasks)
        return np.asarray(sums.reshape(self.groups, tasks) @ self.weights)

    @property
    def effective_groups(self) -> FloatArray:
        """Return, for each of K statistics, how many image groups of equal weight say as much."""
        return np.asarray(1 / (self.cells() ** 2).sum(axis=0))

    def left_out(self, by_task: FloatArray) -> dict[str, float]:
        """Return the mean of (T,) values in the mix without each task in turn."""
        rest = 1 - self.shares
        means = (self.shares @ by_task - self.shares * by_task) / np.where(rest > 0, rest, np.nan)
        found = zip(self.tasks, means.tolist(), strict=True)
        return {task: mean for task, mean in found if math.isfinite(mean)}


def _mix(tasks: Sequence[str], shares: Mapping[str, float]) -> FloatArray:
    """Return the shares of some tasks, sum 1."""
    lacking = [task for task in tasks if task not in shares]
    if lacking:
        raise InputError(f"nothing says how much of the mix {', '.join(lacking)} is.")
    given = np.array([shares[task] for task in tasks], np.float64)
    if not given.sum() > 0:
        raise InputError(f"{', '.join(tasks)}: none of these tasks is in the mix.")
    return np.asarray(given / given.sum())


def over_groups(
    layout: Layout, difference: FloatArray, resamples: int, rng: np.random.Generator
) -> Source:
    """Return the chance that lies in the questions, from drawing image groups anew.

    Args:
        layout: of the questions.
        difference: (Q,) of two arms.
        resamples: how often to draw.
        rng: of the draws.
    """
    sums, weights = layout.cells(difference), layout.cells()
    block = max(1, _BLOCK // layout.groups)
    drawn = []
    for start in range(0, resamples, block):
        draws = rng.standard_exponential((min(block, resamples - start), layout.groups))
        drawn.append((draws @ sums) / (draws @ weights))
    # One group of many questions says little more than one of few: groups count by their weight.
    there = layout.effective_groups
    known = there > 1 + _ROUNDING
    freedom = np.where(known, there - 1, 1)
    # The weights of n groups vary by (n - 1) / (n + 1); those of a mean's error vary by 1.
    variance = np.concatenate(drawn).var(axis=0) * (there + 1) / freedom
    return "questions", np.where(known, variance, np.inf), np.maximum(freedom, 1)


# --- seeds -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Models:
    """What the models of one arm scored.

    Attributes:
        scores: (Q,) mean over its models.
        training_seeds: of its models, ascending.
        by_training: (training seeds, K) statistics of each.
        by_selection: (selection seeds, K) likewise; empty where each training has a selection of
            its own, so that drawing training seeds draws selections too.
        selections: how many selection seeds there are.
    """

    scores: FloatArray
    training_seeds: tuple[int, ...]
    by_training: FloatArray
    by_selection: FloatArray
    selections: int

    @classmethod
    def of(cls, results: Results, arm: str, layout: Layout) -> Models:
        """Read the scores of an arm; raises `InputError` as `statistics.compare` does."""
        models = results.of_arm(arm)
        trainings, training_of = np.unique(results.training_seeds[models], return_inverse=True)
        selections, selection_of = np.unique(results.selection_seeds[models], return_inverse=True)
        crossed = len(models) == len(trainings) * len(selections)
        paired = len(models) == len(selections)
        if not crossed and not paired:
            raise InputError(
                f'the seeds of arm "{arm}" are neither crossed nor paired: {len(selections)} '
                f"selection seeds, {len(trainings)} training seeds, {len(models)} models.",
                fix="Train every selection with every seed, or each with a seed of its own.",
            )
        scores = results.scores[models]
        by_training = _means(scores, training_of)
        by_selection = layout.statistics(_means(scores, selection_of))
        return cls(
            scores=by_training.mean(axis=0),
            training_seeds=tuple(trainings.tolist()),
            by_training=layout.statistics(by_training),
            by_selection=by_selection if crossed else by_selection[:0],
            selections=len(selections),
        )


def _means(scores: FloatArray, of: IntArray) -> FloatArray:
    return np.array([scores[of == number].mean(axis=0) for number in range(int(of.max()) + 1)])


def paired(ours: Models, theirs: Models, matched: bool) -> list[FloatArray]:
    """Return what training seeds are drawn from: differences seed by seed, or each arm's own."""
    if matched:
        return [ours.by_training - theirs.by_training]
    return [ours.by_training, theirs.by_training]


def over_seeds(
    name: str, units: Sequence[FloatArray], resamples: int, rng: np.random.Generator
) -> list[Source]:
    """Return the chance that lies in seeds, from drawing them anew.

    Args:
        name: of the source of chance.
        units: (n, K) statistics of n seeds each; one seed alone says nothing of its chance.
        resamples: how often to draw.
        rng: of the draws.
    """
    found = []
    for values in units:
        if (count := len(values)) > 1:
            drawn = _weights(resamples, count, rng) @ values / count
            freedom = np.full(values.shape[1], count - 1.0)
            found.append((name, drawn.var(axis=0), freedom))
    return found


def _weights(resamples: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return (resamples, count) weights of mean 1 and variance 1 that sum to `count`."""
    drawn = rng.standard_exponential((resamples, count))
    shares = drawn * (count / drawn.sum(axis=1, keepdims=True))
    return np.asarray(1 + (shares - 1) * math.sqrt((count + 1) / (count - 1)))


def task_error(values: Sequence[float], resamples: int, rng: np.random.Generator) -> float | None:
    """Return the standard error of a mean over tasks, from drawing tasks anew."""
    if len(values) < 2:
        return None
    drawn = _weights(resamples, len(values), rng) @ np.array(values) / len(values)
    return float(drawn.std())

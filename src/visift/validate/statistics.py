"""How far an arm is from its control, and how sure that is.

A difference has three sources of chance: which rows a selection seed drew, which model a training
seed made of them, and which images the questions are about. Each is resampled on its own, whole
units at a time, and the variances are added [ours]. The chance of a single answer, of one model on
one question, is then in every source: intervals are a little wider than they need to be. They are
Student's, with the degrees of freedom of Satterthwaite: with five seeds the percentiles of a
bootstrap are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from visift.validate.resampling import (
    FloatArray,
    Layout,
    Models,
    Source,
    over_groups,
    over_seeds,
    paired,
    task_error,
)
from visift.validate.results import Results

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference of mean scores; 0.02 is two points.

    Attributes:
        value: method minus control.
        error: its standard error, over everything that was resampled.
        freedom: degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        """Return how often chance alone makes a difference this large, in either direction."""
        from scipy.special import stdtr

        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return the interval that misses the true difference with probability alpha."""
        from scipy.special import stdtrit

        reach = float(stdtrit(self.freedom, 1 - alpha / 2)) * self.error
        return self.value - reach, self.value + reach

    def detectable(self, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the smallest true difference that such an error finds with a given power."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, [1 - alpha / 2, power]).sum()) * self.error


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm against its control, on the same questions.

    Attributes:
        method: the arm.
        control: what it is compared with.
        micro: difference in the mix of tasks, see `shares`.
        macro: difference of the mean over tasks, each counting the same.
        tasks: difference of every task.
        shares: of every task in the mix, sum 1.
        errors: standard error of `micro` from `selection seeds`, `training seeds` and `questions`;
            what was drawn once only is not there.
        task_error: standard error of `macro` if other tasks had been asked, None with one task.
        left_out: `micro` without each task in turn; empty with one task.
        matched: whether both arms were trained with the same seeds, and compared seed by seed.
        training_seeds: how many each of the two arms has, the smaller number.
        selection_seeds: how many method and control have.
        questions: how many.
        groups: image groups that they are about.
        effective_groups: how many image groups of equal weight say as much about `micro`.
    """

    method: str
    control: str
    micro: Estimate
    macro: Estimate
    tasks: Mapping[str, Estimate] = field(repr=False)
    shares: Mapping[str, float] = field(repr=False)
    errors: Mapping[str, float]
    task_error: float | None
    left_out: Mapping[str, float] = field(repr=False)
    matched: bool
    training_seeds: int
    selection_seeds: tuple[int, int]
    questions: int
    groups: int
    effective_groups: float

    @property
    def worst(self) -> str:
        """Return the task in which the method falls furthest behind, or leads the least."""
        return min(self.tasks, key=lambda task: self.tasks[task].value)

    @property
    def left_out_range(self) -> tuple[float, float] | None:
        """Return the smallest and largest `micro` without one task; None with one task."""
        values = self.left_out.values()
        return (min(values), max(values)) if values else None


def compare(
    results: Results,
    method: str,
    control: str,
    *,
    shares: Mapping[str, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare an arm with its control.

    Args:
        results: with both arms.
        method: an arm.
        control: another one.
        shares: how much of the mix each task is, in any unit (records of the pool, say); tasks
            without questions do not count. Numbers of questions by default.
        resamples: how often each source of chance is drawn anew.
        seed: of the draws.

    Raises:
        InputError: no such arm, one whose seeds are neither crossed nor paired, or a task without
            a share.
    """
    layout = Layout.of(results, shares)
    ours, theirs = Models.of(results, method, layout), Models.of(results, control, layout)
    difference = ours.scores - theirs.scores
    rng = np.random.default_rng(seed)
    matched = ours.training_seeds == theirs.training_seeds
    sources = [
        over_groups(layout, difference, resamples, rng),
        *over_seeds("training seeds", paired(ours, theirs, matched), resamples, rng),
        *over_seeds("selection seeds", [ours.by_selection, theirs.by_selection], resamples, rng),
    ]
    values = layout.statistics(difference[None])[0]
    estimates = _estimates(values, sources)
    variances: dict[str, float] = {}
    for name, variance, _ in sources:
        variances[name] = variances.get(name, 0.0) + float(variance[0])
    by_task = dict(zip(layout.tasks, estimates[2:], strict=True))
    return Comparison(
        method=method,
        control=control,
        micro=estimates[0],
        macro=estimates[1],
        tasks=by_task,
        shares=dict(zip(layout.tasks, layout.shares.tolist(), strict=True)),
        errors={name: math.sqrt(variance) for name, variance in variances.items()},
        task_error=task_error([one.value for one in by_task.values()], resamples, rng),
        left_out=layout.left_out(values[2:]),
        matched=matched,
        training_seeds=min(len(ours.training_seeds), len(theirs.training_seeds)),
        selection_seeds=(ours.selections, theirs.selections),
        questions=len(results.questions),
        groups=layout.groups,
        effective_groups=float(layout.effective_groups[0]),
    )


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the chance of any false finding stays the same (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may be smaller than
    one that came before, or larger than 1.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in adjusted]


def _estimates(values: FloatArray, sources: Sequence[Source]) -> list[Estimate]:
    """Put statistics and the variances of their sources together (Satterthwaite 1946)."""
    total = sum((variance for _, variance, _ in sources), np.zeros(len(values)))
    squares = sum((v * v / freedom for _, v, freedom in sources), np.zeros(len(values)))
    return [
        Estimate(float(value), math.sqrt(variance), _freedom(float(variance), float(square)))
        for value, variance, square in zip(values, total, squares, strict=True)
    ]


def _freedom(variance: float, square: float) -> float:
    if not math.isfinite(variance):
        return 1.0
    return variance * variance / square if square > 0 else 1.0

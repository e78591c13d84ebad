"""Better, no evidence, or worse: what follows from the statistics, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from visift.amounts import counted
from visift.validate.results import Results
from visift.validate.statistics import RESAMPLES, Comparison, Estimate, compare, holm

Word = Literal["better", "no evidence", "worse"]

#: Training seeds that a verdict needs: with three, a spread of 1.1 points from seed to seed hides
#: anything below 2.5 points.
TRAINING_SEEDS = 5
#: Draws of the control that a verdict needs: with one, its own luck passes for the method's merit.
SELECTION_SEEDS = 3
#: Image groups of equal weight that a verdict needs.
GROUPS = 3
#: Chance of a false verdict among all methods that are tested together, at one budget.
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of a method.

    Attributes:
        word: better, no evidence or worse.
        reasons: why there is no evidence, as clauses; empty otherwise.
        comparison: what it follows from.
        p: of `comparison.micro`, adjusted for the number of methods (Holm).
        alpha: at which `comparison.micro` was judged, after the methods that come before.
        methods: how many were tested together.
    """

    word: Word
    reasons: tuple[str, ...]
    comparison: Comparison
    p: float
    alpha: float
    methods: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the adjusted interval of the difference over all questions."""
        return self.comparison.micro.interval(self.alpha)

    @property
    def sentence(self) -> str:
        """Return the verdict as a sentence."""
        here = self.comparison
        low, high = self.interval
        measured = (
            f"{points(here.micro.value)} points ({points(low)} to {points(high)}), "
            f"{points(here.macro.value)} as a mean of {counted(len(here.tasks), 'task')}"
        )
        if self.word == "no evidence":
            return (
                f"No evidence that {here.method} is better or worse than {here.control}: "
                f"{measured}; {'; '.join(self.reasons)}."
            )
        return (
            f"{here.method} is {self.word} than {here.control}: {measured}, with "
            f"{counted(here.training_seeds, 'training seed')}{_among(self.methods, ', ')}."
        )

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values, differences as fractions of 1, for JSON."""
        here = self.comparison
        low, high = self.interval
        spread = here.left_out_range
        return {
            "method": here.method,
            "control": here.control,
            "verdict": self.word,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "micro": {**_facts(here.micro), "adjusted_interval": finite([low, high])},
            "adjusted_p": self.p,
            "methods_tested": self.methods,
            "macro": _facts(here.macro),
            "macro_error_over_tasks": here.task_error,
            "worst_task": here.worst,
            "tasks": {task: _facts(one) for task, one in here.tasks.items()},
            "shares": dict(here.shares),
            "without_one_task": dict(here.left_out),
            "without_one_task_range": None if spread is None else list(spread),
            "errors": {name: finite([error])[0] for name, error in here.errors.items()},
            "training_seeds": here.training_seeds,
            "selection_seeds": list(here.selection_seeds),
            "matched_training_seeds": here.matched,
            "questions": here.questions,
            "image_groups": here.groups,
            "effective_image_groups": here.effective_groups,
        }


def verdicts(
    results: Results,
    methods: Sequence[str],
    control: str,
    *,
    shares: Mapping[str, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Verdict]:
    """Judge methods against a control, all of them together, at one budget.

    A method is better if it was trained with at least five seeds and its control drawn at least
    three times, if the interval of its difference, adjusted for the number of methods, lies above
    0, and if the mean over tasks does not point the other way; worse likewise. Otherwise there is
    no evidence.

    Args:
        results: with the questions of tasks that count only, see `standing.check_tasks`.
        methods: arms to judge.
        control: the arm to judge them by.
        shares: see `statistics.compare`.
        resamples: likewise.
        seed: of the resampling.

    Raises:
        InputError: see `statistics.compare`.
    """
    compared = [
        compare(results, method, control, shares=shares, resamples=resamples, seed=seed)
        for method in methods
    ]
    raw = [one.micro.p for one in compared]
    rank = {at: place for place, at in enumerate(sorted(range(len(raw)), key=raw.__getitem__))}
    return [
        judge(one, p, ALPHA / (len(raw) - rank[at]), len(raw))
        for at, (one, p) in enumerate(zip(compared, holm(raw), strict=True))
    ]


def judge(comparison: Comparison, p: float, alpha: float, methods: int) -> Verdict:
    """Judge one comparison; the arguments are those of `Verdict`."""
    reasons = tuple(_reasons(comparison, p, alpha, methods))
    up = comparison.micro.value > 0
    word: Word = "no evidence" if reasons else "better" if up else "worse"
    return Verdict(word, reasons, comparison, p, alpha, methods)


def _reasons(comparison: Comparison, p: float, alpha: float, methods: int) -> list[str]:
    """Return what stands against a verdict."""
    reasons = []
    seeds, micro, macro = comparison.training_seeds, comparison.micro, comparison.macro
    if seeds < TRAINING_SEEDS:
        reasons.append(f"{counted(seeds, 'training seed')}; a verdict needs {TRAINING_SEEDS}")
    if (draws := comparison.selection_seeds[1]) < SELECTION_SEEDS:
        often = "once" if draws == 1 else "twice"
        reasons.append(f"{comparison.control} was drawn {often}; a verdict needs {SELECTION_SEEDS}")
    if comparison.effective_groups < GROUPS:
        reasons.append(
            f"questions on few images ({comparison.effective_groups:.1f} of equal weight); a "
            f"verdict needs {GROUPS}"
        )
    if p > ALPHA:
        reasons.append(_within_chance(micro, alpha, methods))
    if micro.value * macro.value < 0:
        reasons.append("all questions together and the mean of tasks point different ways")
    return reasons


def _within_chance(micro: Estimate, alpha: float, methods: int) -> str:
    low, high = micro.interval(alpha)
    if not low <= 0 <= high:  # Holm stops at the first method that is not significant
        return "a method with a clearer difference is within chance already"
    least = micro.detectable(alpha)
    known = least > 0 and math.isfinite(least)
    reach = f" (less than {100 * least:.1f} points may be missed)" if known else ""
    return f"that is within chance{_among(methods)}{reach}"


def _among(methods: int, before: str = " ") -> str:
    return f"{before}among {methods} methods at one budget" if methods > 1 else ""


def task_line(comparison: Comparison) -> str | None:
    """Return how much hangs on single tasks, as a sentence; None with one task."""
    spread = comparison.left_out_range
    if spread is None:
        return None
    worst = comparison.worst
    low, high = map(points, spread)
    return (
        f"Worst task: {worst} ({points(comparison.tasks[worst].value)} points); without one task "
        f"in turn: {low} to {high} points."
    )


def caveats(comparison: Comparison) -> list[str]:
    """Return what an interval leaves out, one sentence each."""
    told = []
    for arm, count in zip(
        (comparison.method, comparison.control), comparison.selection_seeds, strict=True
    ):
        if count == 1:
            told.append(
                f"{arm} was selected once: what another selection seed would change is not in the "
                "interval."
            )
    if not comparison.matched and comparison.training_seeds > 1:
        told.append(
            f"{comparison.method} and {comparison.control} were trained with different seeds, so "
            "they are not compared seed by seed."
        )
    if comparison.questions == comparison.groups:
        told.append("Every question is about an image of its own, as far as the results say.")
    return told


def points(difference: float) -> str:
    """Return a difference in points, with its sign: +2.1, −0.4."""
    if not math.isfinite(difference):
        return "∞" if difference > 0 else "−∞"
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _facts(estimate: Estimate) -> dict[str, Any]:
    error, low, high = finite([estimate.error, *estimate.interval()])
    return {
        "difference": estimate.value,
        "standard_error": error,
        "interval": [low, high],
        "p": estimate.p,
    }


def finite(values: Sequence[float]) -> list[float | None]:
    """Return numbers as JSON can hold them: None for one that is not finite."""
    return [value if math.isfinite(value) else None for value in values]

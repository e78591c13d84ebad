"""What an evaluation can show at all: printed before anything else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from visift.amounts import counted

#: Share of questions on which two arms are not equally right, and likeness of questions on one
#: image, where nothing is known yet [ours].
DISCORDANT = 0.3
LIKENESS = 0.2
#: Variance of a question's difference between two arms, where nothing is known
#: (arXiv:2411.00640, section 5).
QUESTION_VARIANCE = 1 / 9


def effective_size(sizes: Sequence[int]) -> float:
    """Return the size of the image group that a question is in, on average over questions.

    Args:
        sizes: number of questions of each image group.
    """
    return sum(size * size for size in sizes) / sum(sizes)


def detectable_effect(
    sizes: Sequence[int],
    *,
    discordant: float = DISCORDANT,
    likeness: float = LIKENESS,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the smallest true difference between two arms that is found with a given power.

    Questions alone: the noise of training comes on top, see `hidden_by_seeds`.

    Args:
        sizes: number of questions of each image group.
        discordant: share of questions on which the arms are not equally right.
        likeness: intraclass correlation of the differences of questions on one image.
        alpha: of the two-sided test.
        power: probability with which the difference is found.

    Returns:
        A difference of mean scores: 0.046 is 4.6 points.
    """
    inflation = 1 + (effective_size(sizes) - 1) * likeness
    return _factor(alpha, power) * math.sqrt(discordant * inflation / sum(sizes))


def questions_needed(
    effect: float,
    *,
    variance: float = QUESTION_VARIANCE,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Return how many independent questions find a difference with a given power.

    Args:
        effect: difference of mean scores: 0.03 is 3 points.
        variance: of a question's difference between two arms.
        alpha: of the two-sided test.
        power: probability with which the difference is found.
    """
    return math.ceil(variance * (_factor(alpha, power) / effect) ** 2)


def hidden_by_seeds(spread: float, first: int, second: int, *, alpha: float = 0.05) -> float:
    """Return the largest difference of two arms that seeds alone may make (Student's test).

    Args:
        spread: standard deviation of an arm's score from one training seed to another.
        first: trainings of one arm.
        second: trainings of the other.
        alpha: of the two-sided test.

    Returns:
        In the unit of `spread`; infinite where fewer than three models were trained.
    """
    from scipy.special import stdtrit

    freedom = first + second - 2
    if freedom < 1:
        return math.inf
    quantile = float(stdtrit(freedom, 1 - alpha / 2))
    return quantile * spread * math.sqrt(1 / first + 1 / second)


def power_line(sizes: Sequence[int], *, methods: int = 1) -> str:
    """Return one sentence that says what questions like these can show.

    Args:
        sizes: number of questions of each image group.
        methods: how many are tested at once.
    """
    total = sum(sizes)
    least = 100 * detectable_effect(sizes, alpha=0.05 / max(methods, 1))
    among = f" for one of {methods} methods" if methods > 1 else ""
    return (
        f"{counted(total, 'question')} in {counted(len(sizes), 'image group')} find a difference "
        f"of {least:.1f} points{among} four times of five (if {DISCORDANT:.0%} of the answers "
        f"differ and questions on one image are alike by {LIKENESS:g}); the noise of training "
        "comes on top."
    )


def _factor(alpha: float, power: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(1 - alpha / 2) + ndtri(power))

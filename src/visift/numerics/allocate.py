"""Share a budget among groups: Webster's divisor method (Sainte-Laguë) with caps and floors.

Seat j (counted from 1) of group i has priority (j - 1/2) / w_i; the smallest priorities win, equal
ones go to the group with the lower index, and no group goes beyond its cap. That a budget is shared
this way, and all conventions on zero weights, floors and ties, are [ours].

The method is house-monotone: one more row never takes one away from a group. So there is one order
of all seats (`seat_order`), and every allocation (`allocate`) is a prefix of it.

Priorities are compared as exact fractions, so equal ones are really equal, and a group's share
depends neither on the scale of the weights nor on the machine.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from visift.errors import InfeasibleBudget, InputError
from visift.numerics.groups import (
    Counts,
    Groups,
    IntArray,
    Stage,
    Weights,
    as_fraction,
    turns_of_floors,
)


def allocate(total: int, weights: Weights, caps: Counts, floors: Counts | None = None) -> IntArray:
    """Return how many of `total` rows each group gets.

    Floors come first, one row a group in turn; they count as the group's first seats. Groups of
    weight zero get nothing more until all others are at their caps; what is left then is shared
    among them with weights = caps.

    Args:
        total: rows to share, 0 <= total <= sum(caps).
        weights: (G,) not negative, on any scale. Floats stand for the decimal number they print as.
        caps: (G,) the most a group can give.
        floors: (G,) rows every group gets first, cut down to its cap. Default: none.

    Returns:
        (G,) int64, summing to `total`; never above `caps`.

    Raises:
        InputError: a weight is negative or not finite, a count is negative or not whole, lengths
            differ, or `total` is negative.
        InfeasibleBudget: `total` is above sum(caps), which the message names.
    """
    groups = Groups.read(weights, caps, floors)
    left = _feasible(total, sum(groups.caps.tolist()))
    turns = turns_of_floors(np.minimum(groups.taken, left))
    counts = np.bincount(turns[:left], minlength=len(groups.caps)).astype(np.int64)
    left -= int(counts.sum())
    for stage in groups.stages():
        share = min(left, sum((stage.caps - stage.taken).tolist()))
        if share:
            counts[stage.members] = _webster(share + int(stage.taken.sum()), stage)
            left -= share
    return counts


def power(weights: Weights, exponent: float) -> list[Fraction]:
    """Return (w_i / max w) ** exponent, for weights that are raised to a power.

    The division by the maximum [ours] keeps large exponents from overflowing. A whole exponent is
    exact; any other is computed in float64 and stands for the decimal number it prints as. An
    exponent of 0 makes all groups equal, those of weight 0 too.

    Args:
        weights: (G,) as for `allocate`.
        exponent: any finite number; negative only where no weight is 0.

    Returns:
        (G,) fractions, weights for `allocate` and `seat_order`.

    Raises:
        InputError: a weight is negative or not finite, the exponent is not finite, a weight of 0
            meets a negative exponent, or the result is above the range of float64.
    """
    exact = [as_fraction(i, weight) for i, weight in enumerate(weights)]
    if not math.isfinite(exponent):
        raise InputError(f"the exponent of the weights is {exponent}", fix="Use a finite number.")
    if exponent < 0 and 0 in exact:
        raise InputError(
            f"group {exact.index(Fraction(0))} has weight 0, the exponent is {exponent}",
            fix="Leave out groups of weight 0, or use an exponent of 0 or more.",
        )
    largest = max(exact, default=Fraction(0)) or Fraction(1)
    return [_raise(weight / largest, exponent) for weight in exact]


def _raise(ratio: Fraction, exponent: float) -> Fraction:
    if exponent == int(exponent):
        return Fraction(ratio ** int(exponent))
    try:
        return Fraction(str(float(ratio) ** exponent))
    except (ZeroDivisionError, OverflowError):
        raise InputError(
            f"the weights span too much for the exponent {exponent}",
            fix="Use an exponent nearer to 0, or weights nearer to one another.",
        ) from None


def _feasible(total: int, most: int) -> int:
    total = operator.index(total)
    if total < 0:
        raise InputError(f"the number of rows to share is {total}", fix="Ask for 0 or more.")
    if total > most:
        raise InfeasibleBudget(
            f"{total} rows were asked for, but all groups together hold {most}",
            fix=f"Ask for at most {most}.",
        )
    return total


def _webster(total: int, stage: Stage) -> list[int]:
    """Return the G counts of a stage: sum(taken) < total <= sum(caps), taken seats included."""
    largest = max(stage.weights)
    ratios = [weight / largest for weight in stage.weights]
    table = [
        (ratio.numerator, ratio.denominator, cap, low)
        for ratio, cap, low in zip(ratios, stage.caps.tolist(), stage.taken.tolist(), strict=True)
    ]

    def counts(threshold: Fraction) -> list[int]:
        # Seat j has a priority of at most p/q where (j - 1/2) d/n <= p/q, n/d being the weight.
        p, q = threshold.numerator, threshold.denominator
        return [min(cap, max(low, (2 * p * n + q * d) // (2 * q * d))) for n, d, cap, low in table]

    beyond = max(math.ceil(cap * d / Fraction(n)) for n, d, cap, _ in table).bit_length()
    lower, upper = _bracket(total, counts, beyond, len(table))
    return _settle(total, ratios, counts(lower), counts(upper))


def _bracket(
    total: int, counts: Callable[[Fraction], list[int]], beyond: int, groups: int
) -> tuple[Fraction, Fraction]:
    """Return two thresholds around the last seat, with at most about two seats a group between.

    First the power of two, then that many equal steps of its interval that one step adds no more
    than one seat a group by its width, and one by where it lies. All seats lie below 2 ** beyond.
    """
    exponent = bisect_left(range(beyond), total, key=lambda e: sum(counts(Fraction(2**e))))
    low = Fraction(2**exponent // 2)
    steps = 1 << (total // groups + 1).bit_length()
    step = (2**exponent - low) / steps
    last = bisect_left(range(steps), total, key=lambda t: sum(counts(low + t * step)))
    return low + (last - 1) * step, low + last * step


def _settle(total: int, weights: list[Fraction], lower: list[int], upper: list[int]) -> list[int]:
    """Give the seats above `lower` by exact priority; the sort is stable: ties by lower index."""
    open_seats = [
        (Fraction(2 * j + 1) / weight, group)
        for group, weight in enumerate(weights)
        for j in range(lower[group], upper[group])
    ]
    open_seats.sort(key=operator.itemgetter(0))
    counts = list(lower)
    for _, group in open_seats[: total - sum(lower)]:
        counts[group] += 1
    return counts

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.errors import InfeasibleBudget, InputError

Weight = int | float | Fraction | Decimal
Weights = Sequence[Weight] | NDArray[Any]
Counts = Sequence[int] | NDArray[Any]
IntArray = NDArray[np.int64]

# Two rational priorities a/b and c/d differ by a part in max(ad, bc); below 2**51 that is at least
# two units in the last place, so different priorities are different floats.
_FLOATS_TELL_APART = 2**51
# A weight rounded once (to within 2**-51 where it is subnormal, but its quotient still finite) and
# a quotient rounded once: two float priorities are off by less than this, relative to each other.
_NEAR = 2.0**-49
_PAIRS_AT_ONCE = 1 << 18


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
    groups = _Groups.read(weights, caps, floors)
    left = _feasible(total, sum(groups.caps.tolist()))
    turns = _turns(np.minimum(groups.taken, left))
    counts = np.bincount(turns[:left], minlength=len(groups.caps)).astype(np.int64)
    left -= int(counts.sum())
    for stage in groups.stages():
        share = min(left, sum((stage.caps - stage.taken).tolist()))
        if share:
            counts[stage.members] = _webster(share + int(stage.taken.sum()), stage)
            left -= share
    return counts


def seat_order(weights: Weights, caps: Counts, floors: Counts | None = None) -> NDArray[np.int32]:
    """Return, seat by seat, the group whose turn it is, until every group is at its cap.

    The first n entries hold every group exactly `allocate(n, ...)` times, for every n.

    Args:
        weights: (G,) as for `allocate`.
        caps: (G,) as for `allocate`; their sum below 2**31.
        floors: (G,) as for `allocate`; these seats come first and count as taken.

    Returns:
        (sum(caps),) int32 of group indices.

    Raises:
        InputError: as `allocate`.
    """
    groups = _Groups.read(weights, caps, floors)
    parts = [_turns(groups.taken), *(_by_priority(stage) for stage in groups.stages())]
    return np.concatenate(parts)


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
    exact = [_as_fraction(i, weight) for i, weight in enumerate(weights)]
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


@dataclass(frozen=True, slots=True)
class _Stage:
    """Groups that compete with one another: index, weight > 0, cap, seats taken; in index order."""

    members: IntArray
    weights: list[Fraction]
    caps: IntArray
    taken: IntArray


@dataclass(frozen=True, slots=True)
class _Groups:
    """The validated input: weights as exact fractions, caps, and the floors clipped to the caps."""

    weights: list[Fraction]
    caps: IntArray
    taken: IntArray

    @classmethod
    def read(cls, weights: Weights, caps: Counts, floors: Counts | None) -> _Groups:
        exact = [_as_fraction(i, weight) for i, weight in enumerate(weights)]
        most = _whole_numbers("cap", caps, len(exact))
        least = (
            np.zeros_like(most) if floors is None else _whole_numbers("floor", floors, len(exact))
        )
        return cls(exact, most, np.minimum(least, most))

    def stages(self) -> Iterator[_Stage]:
        """Yield the groups of positive weight, then the others with their caps as weights."""
        positive = np.array([weight > 0 for weight in self.weights], dtype=bool)
        yield self._stage(np.flatnonzero(positive), self.weights)
        yield self._stage(
            np.flatnonzero(~positive & (self.caps > 0)), [Fraction(c) for c in self.caps.tolist()]
        )

    def _stage(self, members: IntArray, weights: list[Fraction]) -> _Stage:
        chosen = [weights[i] for i in members]
        return _Stage(members, chosen, self.caps[members], self.taken[members])


def _as_fraction(group: int, weight: Weight | np.number[Any]) -> Fraction:
    """Return a weight exactly; a float, of any width, as the decimal number it prints as."""
    try:
        if isinstance(weight, float | np.floating):
            exact = Fraction(str(weight))
        elif isinstance(weight, np.integer):  # left as it is, the fraction would overflow
            exact = Fraction(int(weight))
        else:
            exact = Fraction(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        exact = Fraction(-1)
    if exact < 0:
        raise InputError(
            f"group {group} (counted from 0) has weight {weight}",
            fix="Weights must be finite numbers, 0 or more.",
        )
    return exact


def _whole_numbers(name: str, values: Counts, groups: int) -> IntArray:
    if len(values) != groups:
        raise InputError(f"there are {groups} weights but {len(values)} values of `{name}`")
    for group, value in enumerate(values):
        if not isinstance(value, int | np.integer) or value < 0:
            raise InputError(
                f"group {group} (counted from 0) has {name} {value}",
                fix=f"Every {name} must be a whole number, 0 or more.",
            )
    return np.array(values, dtype=np.int64)


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


def _turns(floors: IntArray) -> NDArray[np.int32]:
    """Return the order of the floors' seats: one row a group in turn, until each has its floor."""
    group, seat = _seats(np.arange(len(floors)), np.zeros_like(floors), floors)
    order = np.argsort(seat, kind="stable")
    return group[order]


def _seats(
    groups: IntArray, taken: IntArray, caps: IntArray
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """List the open seats group after group: its position in `groups`, and the seats before it."""
    sizes = caps - taken
    group = np.repeat(np.arange(len(groups), dtype=np.int32), sizes)
    offset = (np.cumsum(sizes) - sizes - taken).astype(np.int32)
    return group, np.arange(len(group), dtype=np.int32) - offset[group]


# --- allocate: find a threshold, settle what is left ---------------------------------------------


def _webster(total: int, stage: _Stage) -> list[int]:
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


# --- seat_order: sort by floats, compare exactly where floats are too close ----------------------


def _by_priority(stage: _Stage) -> NDArray[np.int32]:
    """Return the open seats of a stage in order of priority, as group indices."""
    if not len(stage.members):
        return np.empty(0, dtype=np.int32)
    whole = _small_integers(stage)
    order = _float_order(stage, whole) if whole is not None else _exact_order(stage)
    return stage.members.astype(np.int32)[order]


def _small_integers(stage: _Stage) -> IntArray | None:
    """Return the weights as whole numbers so small that floats order all seats, if they are."""
    limit = _FLOATS_TELL_APART // max(1, 2 * int(stage.caps.max()))
    largest, scale = max(stage.weights), 1
    ratios = [weight / largest for weight in stage.weights]
    for ratio in ratios:
        scale = math.lcm(scale, ratio.denominator)  # in the end the largest whole number
        if scale > limit:
            return None
    return np.array([int(ratio * scale) for ratio in ratios], dtype=np.int64)


def _float_order(stage: _Stage, whole: IntArray) -> NDArray[np.int32]:
    """Order seats whose priorities are equal as floats only where they are equal."""
    group, seat = _seats(stage.members, stage.taken, stage.caps)
    order = np.argsort((2.0 * seat + 1.0) / whole[group], kind="stable")
    return group[order]


def _exact_order(stage: _Stage) -> NDArray[np.int32]:
    """Order seats by floats, then settle every run of floats too close to be told apart.

    Among seats with the same number the larger weight goes first, so groups are laid out by
    descending weight: a stable sort then leaves nearly all of these runs in the right order.
    """
    layout = np.array(
        sorted(range(len(stage.weights)), key=lambda i: (-stage.weights[i], i)), dtype=np.int64
    )
    weights = [stage.weights[i] for i in layout]
    group, seat = _seats(layout, stage.taken[layout], stage.caps[layout])
    keys = _float_keys(weights, group, seat)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    with np.errstate(over="ignore"):
        near = keys[1:] <= keys[:-1] * (1.0 + _NEAR)
    del keys
    seats = _Seats(weights, layout, group[order], seat[order])
    for start, stop in _runs(near, seats.misplaced(np.flatnonzero(near))):
        seats.sort(start, stop)
    return layout.astype(np.int32)[seats.group]


def _float_keys(
    weights: list[Fraction], group: NDArray[np.int32], seat: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return (2 seat + 1) / weight, up to a common factor; infinity where floats end."""
    ratios = np.array([float(weight / weights[0]) for weight in weights])
    with np.errstate(divide="ignore", over="ignore"):  # equal infinities are settled like any run
        return np.asarray((2.0 * seat + 1.0) / ratios[group])


def _runs(near: NDArray[np.bool_], misplaced: IntArray) -> Iterator[tuple[int, int]]:
    """Yield start and stop of every run of near neighbours that holds a misplaced pair."""
    breaks = np.concatenate(([-1], np.flatnonzero(~near), [len(near)]))
    ends = np.unique(np.searchsorted(breaks, misplaced))
    for end in ends.tolist():
        yield int(breaks[end - 1]) + 1, int(breaks[end]) + 1


@dataclass(frozen=True, slots=True)
class _Seats:
    """Seats in an order that is being corrected: (S,) position of the group, (S,) seats before.

    `weights` (descending) and `index` (the group's index, for ties) are listed by position.
    """

    weights: list[Fraction]
    index: IntArray
    group: NDArray[np.int32]
    seat: NDArray[np.int32]

    def misplaced(self, pairs: IntArray) -> IntArray:
        """Return those of `pairs` (p stands for seats p and p + 1) that are in the wrong order."""
        top = np.array([weight.numerator for weight in self.weights], dtype=object)
        bottom = np.array([weight.denominator for weight in self.weights], dtype=object)
        # Equal seats of equal weights, by far the most frequent ties, are in order by the layout.
        kind = np.cumsum([0, *(a != b for a, b in pairwise(self.weights))])
        wrong = [np.empty(0, dtype=np.int64)]
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):  # objects are large: some at a time
            p = pairs[start : start + _PAIRS_AT_ONCE]
            a, b = self.group[p], self.group[p + 1]
            differ = (kind[a] != kind[b]) | (self.seat[p] != self.seat[p + 1])
            p, a, b = p[differ], a[differ], b[differ]
            first = (2 * self.seat[p].astype(object) + 1) * (bottom[a] * top[b])
            second = (2 * self.seat[p + 1].astype(object) + 1) * (bottom[b] * top[a])
            late = (first == second) & (self.index[a] > self.index[b])
            wrong.append(p[(first > second) | late])
        return np.concatenate(wrong)

    def sort(self, start: int, stop: int) -> None:
        """Put the seats start <= s < stop into exact order, in place."""
        group, seat = self.group[start:stop].tolist(), self.seat[start:stop].tolist()
        keys = [
            ((2 * s + 1) / self.weights[g], int(self.index[g]))
            for g, s in zip(group, seat, strict=True)
        ]
        order = sorted(range(stop - start), key=keys.__getitem__)
        self.group[start:stop] = [group[i] for i in order]
        self.seat[start:stop] = [seat[i] for i in order]

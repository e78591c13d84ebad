"""All seats of Webster's method in order: whose turn it is, row by row (see `allocate`).

Sorted by floats; compared exactly where floats are too close to tell priorities apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from visift.numerics.groups import (
    Counts,
    Groups,
    IntArray,
    Stage,
    Weights,
    open_seats,
    turns_of_floors,
)

# Two rational priorities a/b and c/d differ by a part in max(ad, bc); below 2**51 that is at least
# two units in the last place, so different priorities are different floats.
_FLOATS_TELL_APART = 2**51
# A weight rounded once (to within 2**-51 where it is subnormal, but its quotient still finite) and
# a quotient rounded once: two float priorities are off by less than this, relative to each other.
_NEAR = 2.0**-49
_PAIRS_AT_ONCE = 1 << 18


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
    groups = Groups.read(weights, caps, floors)
    parts = [turns_of_floors(groups.taken), *(_by_priority(stage) for stage in groups.stages())]
    return np.concatenate(parts)


def _by_priority(stage: Stage) -> NDArray[np.int32]:
    """Return the open seats of a stage in order of priority, as group indices."""
    if not len(stage.members):
        return np.empty(0, dtype=np.int32)
    whole = _small_integers(stage)
    order = _float_order(stage, whole) if whole is not None else _exact_order(stage)
    return stage.members.astype(np.int32)[order]


def _small_integers(stage: Stage) -> IntArray | None:
    """Return the weights as whole numbers so small that floats order all seats, if they are."""
    limit = _FLOATS_TELL_APART // max(1, 2 * int(stage.caps.max()))
    largest, scale = max(stage.weights), 1
    ratios = [weight / largest for weight in stage.weights]
    for ratio in ratios:
        scale = math.lcm(scale, ratio.denominator)  # in the end the largest whole number
        if scale > limit:
            return None
    return np.array([int(ratio * scale) for ratio in ratios], dtype=np.int64)


def _float_order(stage: Stage, whole: IntArray) -> NDArray[np.int32]:
    """Order seats whose priorities are equal as floats only where they are equal."""
    group, seat = open_seats(stage.members, stage.taken, stage.caps)
    order = np.argsort((2.0 * seat + 1.0) / whole[group], kind="stable")
    return group[order]


def _exact_order(stage: Stage) -> NDArray[np.int32]:
    """Order seats by floats, then settle every run of floats too close to be told apart.

    Among seats with the same number the larger weight goes first, so groups are laid out by
    descending weight: a stable sort then leaves nearly all of these runs in the right order.
    """
    layout = np.array(
        sorted(range(len(stage.weights)), key=lambda i: (-stage.weights[i], i)), dtype=np.int64
    )
    weights = [stage.weights[i] for i in layout]
    group, seat = open_seats(layout, stage.taken[layout], stage.caps[layout])
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

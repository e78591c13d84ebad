"""Near-duplicate images: perceptual hashes that differ in few bits.

No pair of hashes is looked at that has not some bits in common: 64 bits are cut into bands, more
of them than bits may differ, so that two near hashes agree in some of the bands (the pigeonhole
principle). Hashes that agree there are found by sorting. For 4 bits a million hashes take seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError

IntArray = NDArray[np.int64]
Hashes = NDArray[np.uint64]

BITS = 64
#: Differing bits above which hashes of unrelated pictures begin to meet.
MOST_DIFFERENT = 10

_FIRST_ROUND = 4096
_PAIRS_AT_ONCE = 4_000_000
#: Sorting one number costs about as much as comparing so many pairs of hashes.
_SORTING = 30
_MOST_AGREEING = 4


def near_duplicates(
    hashes: Hashes, keys: NDArray[np.uint64], threshold: int, there: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Return the items that are nearly equal to another one, and for each the one that stays.

    Items are looked at in the order of their keys: one stays unless an item that stays, with a
    lower key, differs from it in at most `threshold` bits. So the result depends on hashes and
    keys alone, and no chain of small steps takes the ends of a film together.

    Args:
        hashes: (n,) perceptual hashes, see `visift.signals.hashes`; items without one are left out.
        keys: (n,) tie keys; of equal keys the first item counts as the lower one.
        threshold: bits that may differ, 0 to `MOST_DIFFERENT`.
        there: items that stay whatever they are, and before all others.

    Returns:
        Near-duplicates, ascending, and the item that each of them is near: of several the one with
        the lowest key.

    Raises:
        InputError: a threshold out of range.
    """
    if not 0 <= threshold <= MOST_DIFFERENT:
        raise InputError(
            f"near-duplicates may differ in 0 to {MOST_DIFFERENT} of {BITS} bits, not in "
            f"{threshold}.",
            fix="For example: 4",
        )
    stays_first = np.zeros(len(hashes), bool)
    if there is not None:
        stays_first[there] = True
    order = np.lexsort((keys, ~stays_first))
    found = _first_near(hashes[order], threshold, int(stays_first.sum()))
    near = np.flatnonzero(found >= 0)
    items, stay = order[near], order[found[near]]
    by_item = np.argsort(items)
    return items[by_item], stay[by_item]


def _first_near(hashes: Hashes, threshold: int, certain: int) -> IntArray:
    """Return, for each of n hashes in order, the first kept one that is near it, -1 if it is kept.

    Args:
        hashes: (n,) in the order they are looked at.
        threshold: bits that may differ.
        certain: how many at the start are kept in any case.
    """
    near = np.full(len(hashes), -1, np.int64)
    _, there = np.unique(hashes[:certain], return_index=True)
    _, first, inverse = np.unique(hashes[certain:], return_index=True, return_inverse=True)
    first += certain
    _mark_near(hashes, there, np.sort(first), threshold, near)
    equal = first[inverse]
    copies = np.flatnonzero(equal < np.arange(certain, len(hashes)))
    of = equal[copies]
    # What is near the first of equal hashes is near all of them.
    near[certain + copies] = np.where(near[of] >= 0, near[of], of)
    return near


def _mark_near(
    hashes: Hashes, kept: IntArray, distinct: IntArray, threshold: int, near: IntArray
) -> None:
    """Fill `near` for hashes that all differ, in rounds that double what is known.

    Most of what is near anything is found near what earlier rounds kept; only the rest of a round
    is compared with itself, so that thousands of nearly equal hashes do not meet in all pairs.

    Args:
        hashes: (n,) in the order they are looked at.
        kept: positions before all of `distinct` that are kept in any case.
        distinct: positions of hashes that all differ, ascending.
        threshold: bits that may differ.
        near: see `_first_near`.
    """
    start, size = 0, max(_FIRST_ROUND, len(kept))
    while start < len(distinct):
        some = distinct[start : start + size]
        for one, other in _near_pairs(hashes, kept, some, threshold):
            known = near[other]
            near[other] = np.where(known < 0, len(hashes), known)
            np.minimum.at(near, other, one)
        rest = some[near[some] < 0]
        _mark_among(hashes, rest, threshold, near)
        kept = np.concatenate([kept, rest[near[rest] < 0]])
        start, size = start + size, 2 * size


def _mark_among(hashes: Hashes, some: IntArray, threshold: int, near: IntArray) -> None:
    """Fill `near` for hashes that are near none before them but perhaps each other."""
    empty = np.empty((2, 0), np.int64)
    pairs = [np.stack(pair) for pair in _near_pairs(hashes, some, some, threshold)]
    one, other = np.concatenate([empty, *pairs], axis=1)
    one, other = one[one < other], other[one < other]
    order = np.argsort(one, kind="stable")
    firsts, starts = np.unique(one[order], return_index=True)
    ends = np.append(starts, len(one))[1:]
    for first, start, end in zip(firsts, starts, ends, strict=True):
        if near[first] < 0:
            others = other[order[start:end]]
            near[others[near[others] < 0]] = first


def _near_pairs(
    hashes: Hashes, ones: IntArray, others: IntArray, threshold: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield pairs of positions whose hashes are near, some of them several times.

    Args:
        hashes: all hashes.
        ones: positions of the first of a pair.
        others: positions of the second.
        threshold: bits that may differ.
    """
    if not len(ones) or not len(others):
        return
    for mask in _masks(threshold, len(ones), len(others)):
        seen = hashes[ones] & mask
        order = np.argsort(seen)
        asked = hashes[others] & mask
        low = np.searchsorted(seen, asked, "left", sorter=order)
        counts = np.searchsorted(seen, asked, "right", sorter=order) - low
        for part in _parts(counts):
            many = counts[part]
            ends = np.cumsum(many)
            inside = np.arange(int(many.sum())) - np.repeat(ends - many, many)
            one = ones[order[np.repeat(low[part], many) + inside]]
            other = np.repeat(others[part], many)
            close = np.bitwise_count(hashes[one] ^ hashes[other]) <= threshold
            yield one[close], other[close]


def _parts(counts: IntArray) -> Iterator[slice]:
    """Cut positions into runs whose counts come to about `_PAIRS_AT_ONCE`."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, "right"))
        yield slice(start, max(end, start + 1))
        start = max(end, start + 1)


def _masks(threshold: int, ones: int, others: int) -> list[np.uint64]:
    """Return masks of bits: two hashes that are near agree in all bits of at least one of them.

    Of b bands at most `threshold` differ, so that b - threshold agree; every choice of so many is
    a mask. More bands mean fewer chance meetings and more masks: the cheapest number is taken.
    """

    def cost(agreeing: int) -> float:
        bands = threshold + agreeing
        meetings = ones * others / 2.0 ** (BITS * agreeing // bands)
        return math.comb(bands, agreeing) * (_SORTING * (ones + others) + meetings)

    agreeing = min(range(1, _MOST_AGREEING + 1), key=cost)
    edges = np.linspace(0, BITS, threshold + agreeing + 1).astype(int).tolist()
    bands = [(1 << high) - (1 << low) for low, high in itertools.pairwise(edges)]
    return [np.uint64(sum(some)) for some in itertools.combinations(bands, agreeing)]

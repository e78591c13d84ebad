"""Near-duplicate images: perceptual hashes that differ in few bits.

No pair of hashes is looked at that has not some bits in common: 64 bits are cut into bands, more
of them than bits may differ, so that two near hashes agree in some of the bands (the pigeonhole
principle). Hashes that agree there are found by sorting. A million hashes take seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError

IntArray = NDArray[np.int64]
Hashes = NDArray[np.uint64]

BITS = 64
#: Differing bits above which hashes of unrelated pictures begin to meet.
MOST_DIFFERENT = 12

_FIRST_ROUND = 4096
_PAIRS_AT_ONCE = 4_000_000
#: Sorting one number costs about as much as comparing so many pairs of hashes.
_SORTING = 30


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
    values, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    copies = first[inverse]
    again = copies < np.arange(len(hashes))
    again[:certain] = False
    near[again] = copies[again]
    if threshold:
        distinct = np.sort(first)
        _mark_near(hashes, distinct, threshold, certain, near)
    # A copy of what is near a kept one is near that one as well.
    followed = near[copies] >= 0
    near[again & followed] = near[copies][again & followed]
    return near


def _mark_near(
    hashes: Hashes, distinct: IntArray, threshold: int, certain: int, near: IntArray
) -> None:
    """Fill `near` for hashes that all differ, in rounds that double what is known.

    Most of what is near anything is found near what earlier rounds kept; only the rest of a round
    is compared with itself, so that thousands of nearly equal hashes do not meet in all pairs.
    """
    start, size = 0, max(_FIRST_ROUND, int(np.searchsorted(distinct, certain)))
    kept = distinct[:0]
    while start < len(distinct):
        some = distinct[start : start + size]
        for one, other in _near_pairs(hashes, kept, some, threshold):
            np.minimum.at(near, other[other >= certain], one[other >= certain])
        # unsigned trick is not needed: -1 is restored below
        start, size = start + size, 2 * size
        kept = np.concatenate([kept, some])

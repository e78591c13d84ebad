"""How far two rankings agree: Spearman's rho and Kendall's tau-b, exact, with ties, in n log n."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def average_ranks(values: FloatArray) -> FloatArray:
    """Return (n,) ranks from 1, ascending; equal values share the mean of their ranks.

    Args:
        values: (n,) numbers, none of them NaN.
    """
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[code])


def spearman(x: FloatArray, y: FloatArray) -> float | None:
    """Return Spearman's rho: Pearson's correlation of the average ranks.

    Args:
        x: (n,) numbers, none of them NaN.
        y: (n,) likewise.

    Returns:
        From -1 to 1; None where it is not defined: fewer than two items, or all of one value.
    """
    a, b = average_ranks(x), average_ranks(y)
    a, b = a - (len(a) + 1) / 2, b - (len(b) + 1) / 2
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return None if scale == 0 else max(-1.0, min(1.0, float(a @ b) / scale))


def kendall(x: FloatArray, y: FloatArray) -> float | None:
    """Return Kendall's tau-b: (C - D) / sqrt((P - Tx) (P - Ty)).

    Of the P = n (n - 1) / 2 pairs, C are in the same order in both and D in opposite order; Tx and
    Ty are tied in x and in y.

    Args:
        x: (n,) numbers, none of them NaN.
        y: (n,) likewise.

    Returns:
        From -1 to 1; None where it is not defined: fewer than two items, or all of one value.
    """
    _, a = np.unique(x, return_inverse=True)
    _, b = np.unique(y, return_inverse=True)
    pairs = len(a) * (len(a) - 1) // 2
    tied_x, tied_y, tied_both = _tied_pairs(a), _tied_pairs(b), _tied_pairs(a * (len(b) + 1) + b)
    # Sorted by x, and by y among equals, pairs tied in x are in order: what is left is D.
    opposite = inversions(b[np.lexsort((b, a))].astype(np.int64))
    same = pairs - tied_x - tied_y + tied_both - opposite
    scale = math.sqrt((pairs - tied_x) * (pairs - tied_y))
    return None if scale == 0 else max(-1.0, min(1.0, (same - opposite) / scale))


def inversions(values: IntArray) -> int:
    """Return how many pairs i < j have values[i] > values[j].

    A merge sort from below, all blocks of one width at a time.

    Args:
        values: (n,) whole numbers.
    """
    count, width = 0, 1
    order, place = values, np.arange(len(values))
    while width < len(values):
        block = place // (2 * width)
        right = place % (2 * width) >= width
        by_value = np.lexsort((order, block))  # stable: among equals the left half comes first
        from_right = right[by_value]
        # A value of the right half is passed by those of the left half that come after it.
        left_before = np.cumsum(~from_right)
        left_until_end = np.minimum((block[by_value] + 1) * 2 * width, len(values))
        left_all = left_before[left_until_end - 1]
        count += int((left_all - left_before)[from_right].sum())
        order, width = order[by_value], 2 * width
    return count


def _tied_pairs(codes: NDArray[np.integer]) -> int:
    counts = np.unique(codes, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())

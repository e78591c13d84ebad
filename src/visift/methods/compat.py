"""Arithmetic of official programs where it differs from ours, defects included.

For parity tests only, behind `compat=official`. Written from descriptions of what the programs do.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InputError

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: One round of PreSel's program buys so much of the pool.
PRESEL_ROUND = Fraction(1, 20)
PRESEL_KMEANS_SEED = 12345


def presel_new_rows(budget: Budget, pool_rows: int) -> int:
    """Return how many rows PreSel's program adds to the reference: (f / 5 % - 1) floor(0.05 N).

    Raises:
        InputError: the budget is no share that is a multiple of 5 %, or not more than that.
    """
    rounds = budget.amount / PRESEL_ROUND
    if budget.unit != "fraction" or rounds.denominator != 1 or rounds < 2:
        raise InputError(
            f"a budget of {budget.text} under compat=official.",
            fix="The program knows multiples of 5 % from 10 % on.",
        )
    return (int(rounds) - 1) * int(PRESEL_ROUND * pool_rows)


def presel_llava_shares(w: Float, n: int) -> IntArray:
    """Return the rows of each task: floors, and what is left to the largest weight; no caps."""
    shares = np.floor(w * n).astype(np.int64)
    shares[int(np.argmax(w))] += n - int(shares.sum())
    return shares


def presel_vision_flan_shares(w: Float, n: int, sizes: IntArray) -> IntArray:
    """Return the rows of each task: floors capped at its full size, then one each in turn.

    Turns go round by falling fraction and pass over tasks that are full, until nothing is left.
    """
    exact = w * n
    shares = np.minimum(np.floor(exact).astype(np.int64), sizes)
    order = np.argsort(-(exact - np.floor(exact)))
    left = n - int(shares.sum())
    while left > 0 and bool((shares < sizes).any()):
        for task in order.tolist():
            if left and shares[task] < sizes[task]:
                shares[task] += 1
                left -= 1
    return shares


def presel_quota(n: int, available: IntArray, full: IntArray) -> IntArray:
    """Return the rows of each cluster: rounded half to even, capped, and one pass of repair.

    Args:
        n: rows of the task.
        available: (C,) rows of each cluster outside the reference.
        full: (C,) all its rows, by which the pass goes.
    """
    total = int(available.sum())
    if not total:
        return np.zeros_like(available)
    quota = np.minimum(np.rint(n * available / total).astype(np.int64), available)
    left = n - int(quota.sum())
    order = np.argsort(full)
    for cluster in (order[::-1] if left > 0 else order).tolist():
        if left > 0 and quota[cluster] < available[cluster]:
            quota[cluster] += 1
            left -= 1
        elif left < 0 and quota[cluster] > 0:
            quota[cluster] -= 1
            left += 1
    return quota

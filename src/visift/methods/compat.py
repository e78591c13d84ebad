"""Arithmetic of official programs where it differs from ours, defects included.

For parity tests only, behind `compat=official`. Written from descriptions of what the programs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InputError

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: What TIVE's program draws with, and leaves out.
TIVE_Q = 0.001
TIVE_EXCLUDED = ("textcaps",)

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


def tive_counts(a: Float, share: float, base_rows: int) -> Float:
    """Return (T,) n(t) of TIVE's program, not yet truncated: share(t) (p N), p N multiplied first.

    Args:
        a: (T,) values of the tasks.
        share: p; or a number of rows, with `base_rows` 1.
        base_rows: N.
    """
    return np.asarray(a / np.sum(a) * (share * base_rows))


def tive_draw(
    tasks: Sequence[IntArray], weights: Sequence[Float], counts: Float, seed: int
) -> list[IntArray]:
    """Return the rows that TIVE's program draws of each task, whole copies of it first.

    One random state runs through all tasks, as the program's global one would.

    Args:
        tasks: the rows of each, in pool order.
        weights: of these rows, summing to 1.
        counts: (T,) n(t), truncated here.
        seed: of the random state.

    Raises:
        InputError: weights are so uneven that most of them are 0.
    """
    state = np.random.RandomState(seed)
    drawn = []
    for rows, w, count in zip(tasks, weights, counts.tolist(), strict=True):
        whole = int(count / len(rows)) if len(rows) else 0
        rest = int(count % len(rows)) if whole else int(count)
        if rest > np.count_nonzero(w):
            raise InputError(
                f"only {np.count_nonzero(w):,} of {len(rows):,} records of a task have a weight.",
                fix="Use a smaller q: --set q=10",
            )
        some = state.choice(rows, size=rest, replace=False, p=w)
        drawn.append(np.concatenate([*([rows] * whole), some]).astype(np.int64))
    return drawn

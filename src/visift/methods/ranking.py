"""Ranking across groups: the order of `numerics.seats`, filled with each group's best.

Because the order does not depend on the budget, every budget is a prefix of it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visift.pool.pool import Pool

IntArray = NDArray[np.int64]


def tie_order(pool: Pool, seed: int, tie: Literal["hash", "uid"]) -> NDArray[np.uint64]:
    """Return (N,) uint64, what settles equal scores: the seeded tie keys, or the pool's order."""
    return pool.tie_keys(seed) if tie == "hash" else np.arange(len(pool), dtype=np.uint64)


def by_key(rows: IntArray, keys: NDArray[np.uint64]) -> IntArray:
    """Return rows in the order of their tie keys.

    Args:
        rows: (n,) rows.
        keys: (N,) tie keys of the pool.
    """
    return rows[np.argsort(keys[rows], kind="stable")]


def rank_within(group: IntArray, *keys: NDArray[np.generic]) -> IntArray:
    """Return the items sorted by group, then by keys (first key first), ascending."""
    return np.lexsort((*reversed(keys), group))


def fill_seats(seats: NDArray[np.int32], group: IntArray, *keys: NDArray[np.generic]) -> IntArray:
    """Return the items in rank order: seat by seat, the best one left of the group in turn.

    Args:
        seats: (S,) group whose turn it is; every group at most as often as it has items.
        group: (I,) group of each item.
        *keys: (I,) what the items of a group are sorted by, ascending, first key first.

    Returns:
        (S,) items; those without a seat are left out.
    """
    ranked = rank_within(group, *keys)
    seated = (
        places_within(group[ranked])
        < np.bincount(seats, minlength=group.max(initial=0) + 1)[group[ranked]]
    )
    order = np.empty(len(seats), np.int64)
    order[np.argsort(seats, kind="stable")] = ranked[seated]
    return order


def places_within(groups: NDArray[np.integer[Any]]) -> IntArray:
    """Return, for entries sorted by group, how many entries of its group stand before each."""
    starts = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff([*starts, len(groups)]))


def seats_left(seats: NDArray[np.int32], taken: IntArray) -> NDArray[np.int32]:
    """Return the seats without the first `taken[g]` of each group g: somebody sits there already.

    Args:
        seats: (S,) group whose turn it is.
        taken: (G,) seats of each group that kept rows fill.
    """
    order = np.argsort(seats, kind="stable")
    left = np.empty(len(seats), bool)
    left[order] = places_within(seats[order]) >= taken[seats[order]]
    return seats[left]


def tau_counts(tau: float, sizes: IntArray) -> IntArray:
    """Return floor(tau n + 1/2) for each group size n: the seats with (j - 1/2)/n <= tau [ours]."""
    share = Fraction(repr(tau))
    return np.array([int(share * int(n) + Fraction(1, 2)) for n in sizes], np.int64)


def interleave(cost: IntArray, extra: int) -> IntArray:
    """Return where `extra` single rows belong among ranked items: their share in every prefix.

    The outer seat order of two groups, counted in rows: row j of the extra ones has the key
    (j - 1/2)/extra, an item that starts after c rows has (c + 1/2)/sum(cost) [ours]. With items of
    one row each this is Webster's rule; ties go to the items.

    Args:
        cost: (I,) rows each item brings, in rank order.
        extra: rows to spread among them.

    Returns:
        (I + extra,) int64: item number, or -1 - j for extra row j.
    """
    total = int(cost.sum())
    starts = np.cumsum(cost) - cost
    # Keys over the common denominator 2 * total * extra stay exact in int64 up to 1e9 rows a side.
    items = (2 * starts + 1) * max(extra, 1)
    extras = (2 * np.arange(extra) + 1) * max(total, 1)
    merged = np.concatenate([np.arange(len(cost)), -1 - np.arange(extra)])
    return merged[np.argsort(np.concatenate([items, extras]), kind="stable")]


def new_images(sets: list[IntArray]) -> IntArray:
    """Return how many images each item shows that no earlier one does."""
    counts = np.array([len(s) for s in sets], np.int64)
    flat = np.concatenate(sets) if sets else np.empty(0, np.int64)
    first = np.zeros(len(flat), np.int64)
    first[np.unique(flat, return_index=True)[1]] = 1
    return np.add.reduceat(np.append(first, 0), np.cumsum(counts) - counts) * (counts > 0)

"""Who is chosen when in PreSel: tasks in turn by their shares, clusters by size, images by NC."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.methods.cells import Cells, entrants, in_turns
from visift.methods.compat import (
    presel_llava_shares,
    presel_quota,
    presel_vision_flan_shares,
)
from visift.methods.entrants import Entrants
from visift.methods.grouping import TEXT_ONLY
from visift.methods.ranking import places_within
from visift.methods.typicality import Typical
from visift.numerics.allocate import allocate
from visift.numerics.groups import Weight, as_fraction
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

Fill = Literal["by_weight", "random", "none"]
Variant = Literal["llava", "vision_flan"]


def ranking(
    typical: Typical,
    w: Float,
    always: IntArray,
    text: IntArray,
    held: IntArray,
    draw: NDArray[np.uint64],
    keys: NDArray[np.uint64],
) -> tuple[Entrants, IntArray]:
    """Return all rows with their cells, and all of them in rank order.

    Args:
        typical: the clusters of every task.
        w: (T,) shares of the tasks, on any scale.
        always: rows that come first.
        text: rows without an image that take turns in the pool's share; empty where none do.
        held: (T,) seats of each task that rows which are in anyway fill.
        draw: (N,) order of the rows of a cluster.
        keys: (N,) tie keys.
    """
    cells: list[Cells] = list(typical.cells)
    weights: list[Weight] = [as_fraction(t, share) for t, share in enumerate(w.tolist())]
    if len(text):
        visual = sum(len(one.rows) for one in cells)
        total = sum(map(float, w.tolist()))
        cells.append(Cells(text, np.zeros_like(text), (TEXT_ONLY,), [Fraction(1)]))
        weights.append(as_fraction(len(w), total * len(text) / max(visual, 1)))
        held = np.append(held, 0)
    order = in_turns([one.in_turn(draw) for one in cells], held, weights)
    return entrants(always, cells, keys), np.concatenate([always, order])


def held_by_task(
    pool: Pool, kept: IntArray, labels: Sequence[str], label: str = "task"
) -> IntArray:
    """Return (T,) how many kept rows each task has.

    Args:
        pool: what rows refer to.
        kept: rows that are in anyway.
        labels: (T,) the tasks.
        label: what tasks are taken from, `task` or `source`; kept rows belong to no other.
    """
    if label not in ("task", "source"):
        return np.zeros(len(labels), np.int64)
    names = pool.index[label].take(kept).to_pylist()
    return np.array([names.count(label) for label in labels], np.int64)


def first_by_quota(order: IntArray, group: IntArray, quota: IntArray) -> NDArray[np.bool_]:
    """Return, for rows in rank order, which are among the first `quota` of their group.

    Args:
        order: (n,) rows.
        group: (n,) group of each.
        quota: (G,) rows of each group.
    """
    by_group = np.argsort(group, kind="stable")
    inside = np.empty(len(order), bool)
    inside[by_group] = places_within(group[by_group]) < quota[group[by_group]]
    return inside


def filled(
    order: IntArray, inside: NDArray[np.bool_], fill: Fill, keys: NDArray[np.uint64]
) -> IntArray:
    """Return rows by quota, then what fills up the budget: others at random, or nothing.

    Args:
        order: (n,) rows in rank order.
        inside: (n,) which have their place by quota.
        fill: `random`, or `none`.
        keys: (N,) of the draw that fills up.
    """
    rest = order[~inside]
    rest = rest[np.argsort(keys[rest], kind="stable")] if fill == "random" else rest[:0]
    return np.concatenate([order[inside], rest])


def shared_once(w: Float, n: int) -> IntArray:
    """Return (T,) rows of each task by its share alone, whether it has them or not."""
    return allocate(n, w, np.full(len(w), n))


def official_quota(
    typical: Typical, w: Float, n: int, sizes: IntArray, variant: Variant
) -> IntArray:
    """Return the rows of every cluster of every task, by the arithmetic of PreSel's program.

    Args:
        typical: the clusters.
        w: (T,) shares, summing to 1.
        n: rows to add to the reference.
        sizes: (T,) all rows of each task.
        variant: which of its two programs.
    """
    if variant == "llava":
        shares = presel_llava_shares(w, n)
    else:
        shares = presel_vision_flan_shares(w, n, sizes)
    quotas = [
        presel_quota(int(share), np.bincount(cells.of, minlength=len(full)), full)
        for share, cells, full in zip(shares, typical.cells, typical.full, strict=True)
    ]
    return np.concatenate(quotas)

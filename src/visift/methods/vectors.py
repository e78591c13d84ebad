"""Items with their unit vectors, as methods read them: a group at a time, or in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.measured import Measured
from visift.methods.cutting import priced, row_costs
from visift.methods.grouping import EVERYTHING, Labelled
from visift.methods.image_ranking import ImageItems, Singles, TextOnly, budget_limit
from visift.numerics.neighbours import unit_rows
from visift.pool.pool import Pool
from visift.signals.embeddings import EMBEDDING

Float = NDArray[np.float64]
IntArray = NDArray[np.int64]
Vectors = NDArray[np.float32]

#: Items whose vectors are in memory at a time where they are read in blocks.
BLOCK_ITEMS = 8192
#: Images that greedy methods compare [ours]: each step passes over all of them.
CAP = 200_000


@dataclass(frozen=True, slots=True)
class Space:
    """Items with their vectors.

    Attributes:
        items: M items.
        labels: the group each is ranked in.
        groups: (G,) the items of each group in tie-key order.
        singles: kept and text-only rows.
        there: rows that are kept or had and have a vector, in tie-key order.
        embeddings: of the rows of all of them.
    """

    items: ImageItems
    labels: Labelled
    groups: Sequence[IntArray]
    singles: Singles
    there: IntArray
    embeddings: Measured

    def __len__(self) -> int:
        return len(self.items.first)

    def vectors(self, items: IntArray) -> Vectors:
        """Return (m, d) unit vectors of m items."""
        return self.of_rows(self.items.first[items])

    def of_rows(self, rows: IntArray) -> Vectors:
        """Return (n, d) unit vectors of n rows."""
        return unit_rows(self.embeddings.take(EMBEDDING, rows))

    def blocks(self, items: IntArray) -> Iterator[tuple[IntArray, Vectors]]:
        """Yield some items and their vectors, a block at a time."""
        for start in range(0, len(items), BLOCK_ITEMS):
            some = items[start : start + BLOCK_ITEMS]
            yield some, self.vectors(some)

    def mean(self, items: IntArray) -> Float:
        """Return (d,) the mean vector of some items."""
        sums = [vectors.sum(axis=0, dtype=np.float64) for _, vectors in self.blocks(items)]
        return np.asarray(np.sum(sums, axis=0) / len(items))

    def named(self, group: int, count: int) -> str:
        """Return how some images of a group are spoken of: `1,234 coco images`."""
        label = self.labels.labels[group]
        return f"{count:,} {'' if label == EVERYTHING else f'{label} '}images"


def most_items(pool: Pool, space: Space, text: IntArray, policy: TextOnly, budget: Budget) -> int:
    """Return a number of items that a budget allows at most, the cheapest ones taken.

    Args:
        pool: what rows refer to.
        space: the items.
        text: text-only rows.
        policy: what becomes of them.
        budget: the budget.
    """
    if budget.unit == "images":
        return len(space)  # items may share images, and cost nothing then
    budget = priced(pool, budget, None)
    limit = budget_limit(pool, space.items.rows, text, policy, budget)
    costs = row_costs(pool, space.items.rows, budget)
    sums = np.sort(np.add.reduceat(costs, space.items.starts[:-1]))
    return int(np.searchsorted(np.cumsum(sums), limit, side="right"))


def groups_of_rows(pool: Pool, space: Space, rows: IntArray) -> IntArray:
    """Return (n,) the group of items each of some other rows belongs to, -1 for none."""
    if space.labels.labels == (EVERYTHING,):
        return np.zeros(len(rows), np.int64)
    number = {label: g for g, label in enumerate(space.labels.labels)}
    names = pool.index["source"].take(pa.array(rows)).to_pylist()
    return np.array([number.get(name, -1) for name in names], np.int64)


def ranks_after(order: IntArray, count: int) -> IntArray:
    """Return (count,) ranks: some items in their order, then all others in theirs.

    Args:
        order: (n,) numbers of the items that come first.
        count: of all items.
    """
    rest = np.setdiff1d(np.arange(count), order, assume_unique=True)
    rank = np.empty(count, np.int64)
    rank[np.concatenate([order, rest])] = np.arange(count)
    return rank


def beyond_cap(space: Space, cap: int) -> dict[str, Any]:
    """Return the notice that not all images were compared, where that is so."""
    over = sum(max(len(mine) - cap, 0) for mine in space.groups)
    if not over:
        return {}
    said = f"{len(space) - over:,} of {len(space):,} images were compared"
    return {"notices": [f"{said}; the others come after them, at random (--set cap=…)."]}

"""SemDeDup: leave out what is nearly the same as another image (arXiv 2303.09540).

From the formula only. Kept and had images come before all others, so that what is like them goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from visift.budget import Budget
from visift.methods.cuts import CutTable
from visift.methods.embedded import ByEmbedding, Inputs, Ranked
from visift.methods.method import param
from visift.methods.ranking import tie_order
from visift.methods.vectors import Float, IntArray, Space
from visift.numerics.cluster import kmeans_by_group
from visift.numerics.neighbours import unit_rows
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice

#: Images a cluster has on average [code].
CLUSTER_ITEMS = 1000
#: Similarity of an image that nothing comes before.
NOTHING_BEFORE = -1.0
_BLOCK_ROWS = 1024
_HALVINGS = 20


@dataclass(frozen=True, slots=True)
class Queue:
    """The images of one cluster in their order.

    Attributes:
        there: rows that come before all others.
        items: the items.
    """

    there: IntArray
    items: IntArray


@dataclass(frozen=True, slots=True)
class SemDeDup(ByEmbedding):
    """Images without near-duplicates."""

    name: ClassVar[str] = "semdedup"
    summary: ClassVar[str] = (
        "near-duplicates out: images least like an earlier one of their cluster"
    )
    paper: ClassVar[str] = "2303.09540"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = False
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    eps: float = param(
        0.05,
        origin="ours",
        doc="without a budget: images whose cosine to an earlier one is above 1 - eps go",
        low=0,
        high=2,
    )
    chain: Literal["all", "kept"] = param(
        "all", origin="code", doc="earlier images: all of them, or those that stay (not nested)"
    )
    keep: Literal["hard", "easy", "random"] = param(
        "hard", origin="code", doc="which stay: far from the centre of their cluster, near, or any"
    )
    clusters: int | None = param(
        None, origin="code", doc="clusters; one for every 1,000 images by default", low=1
    )
    score_digits: int = param(6, origin="ours", doc="significant digits that rank", low=1, high=17)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Rank images by their largest cosine to one that comes before them in their cluster."""
        space = self.space(pool, inputs)
        queues = self._queues(pool, space)
        if budget is None:
            level = self._levels(space, queues, self.eps if self.chain == "kept" else None)
            stay = (level <= 1.0 - self.eps).sum() + space.singles.held
            return self._chosen(pool, inputs, space, queues, level, stay)
        level = self._levels(space, queues, None)
        choice = self._chosen(pool, inputs, space, queues, level, budget)
        if self.chain == "all":
            return choice
        eps = self._eps_that_keeps(
            space, queues, int(np.isin(space.items.first, choice.rows).sum())
        )
        level = self._levels(space, queues, eps)
        choice = self._chosen(pool, inputs, space, queues, level, budget)
        return replace(choice, facts={**choice.facts, "nested": False, "eps": eps})

    def _queues(self, pool: Pool, space: Space) -> list[Queue]:
        """Cluster items and rows that are there; bring those of each cluster into their order."""
        items, there = len(space), space.there
        keys = np.concatenate([space.items.key, tie_order(pool, self.seed, self.tie)[there]])
        rows = np.concatenate([space.items.first, there])
        order = np.argsort(keys, kind="stable")
        count = self.clusters or max(1, len(rows) // CLUSTER_ITEMS)
        (found,) = kmeans_by_group(
            lambda some: space.of_rows(rows[some]), [order], [count], self.seed
        )
        centres = unit_rows(found.centres)
        by_cluster = order[np.argsort(found.of, kind="stable")]
        queues = []
        for k, mine in enumerate(np.split(by_cluster, np.cumsum(np.bincount(found.of))[:-1])):
            own = mine[mine < items]
            if len(own):
                own = own[in_order(space.vectors(own) @ centres[k], self.keep)]
                queues.append(Queue(there[mine[mine >= items] - items], own))
        return queues

    def _levels(self, space: Space, queues: Sequence[Queue], eps: float | None) -> Float:
        """Return (M,) the rounded similarity of each item to what comes before it."""
        value = np.empty(len(space))
        for queue in queues:
            rows = np.concatenate([queue.there, space.items.first[queue.items]])
            X = space.of_rows(rows)
            value[queue.items] = similarity_to_earlier(X, eps, len(queue.there))
        return significant(value, self.score_digits)

    def _eps_that_keeps(self, space: Space, queues: Sequence[Queue], wanted: int) -> float:
        """Return, by bisection, about the largest eps that keeps so many items."""
        low, high = 0.0, 2.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            kept = int((self._levels(space, queues, middle) <= 1.0 - middle).sum())
            low, high = (middle, high) if kept >= wanted else (low, middle)
        return low

    def _chosen(
        self,
        pool: Pool,
        inputs: Inputs,
        space: Space,
        queues: Sequence[Queue],
        level: Float,
        wanted: Budget | IntArray,
    ) -> Choice:
        size = np.empty(len(space), np.int64)
        for queue in queues:
            size[queue.items] = len(queue.items)

        def reason(cuts: CutTable, item: int) -> str:
            if level[item] == NOTHING_BEFORE:
                return f"the first of the {size[item]:,} images of its cluster"
            return (
                f"at most {level[item]:.3g} similar to an earlier one of the {size[item]:,} images "
                f"of its cluster (median of all {cuts.median[0]:.3g})"
            )

        return self.take(
            pool, inputs, space, Ranked(level, level, "lowest first", reason, level), wanted
        )


def in_order(cosine: NDArray[Any], keep: Literal["hard", "easy", "random"]) -> IntArray:
    """Return the order of the images of a cluster, which come by tie key.

    Args:
        cosine: (n,) of each to the centre.
        keep: which come first: far from it, near to it, or as they come.
    """
    if keep == "random":
        return np.arange(len(cosine))
    sign = 1.0 if keep == "hard" else -1.0
    return np.argsort(sign * significant(cosine.astype(np.float64)), kind="stable")


def similarity_to_earlier(X: NDArray[Any], eps: float | None = None, there: int = 0) -> Float:
    """Return (n - there,) the largest cosine of each vector to an earlier one.

    Args:
        X: (n, d) unit vectors in their order.
        eps: only those count that stay: whose own value is at most 1 - eps; None counts all.
        there: how many of the first ones stay in any case, and need no value.
    """
    value = np.full(len(X), NOTHING_BEFORE)
    stays = np.ones(len(X), bool)
    every = X.astype(np.float64)
    with threadpool_limits(1, user_api="blas"):
        for start in range(0, len(X), _BLOCK_ROWS):
            cosines = every[start : start + _BLOCK_ROWS] @ every.T
            for at, row in enumerate(cosines, start):
                if at < there:
                    continue
                value[at] = row[:at][stays[:at]].max(initial=NOTHING_BEFORE)
                stays[at] = eps is None or value[at] <= 1.0 - eps
    return value[there:]

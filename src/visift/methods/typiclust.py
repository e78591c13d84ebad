"""TypiClust: from every cluster the images whose neighbours are nearest (arXiv 2202.02794).

From the formula only. typicality(i) = 1 / mean distance of i to its k nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.budget import Budget
from visift.methods.cuts import CutTable
from visift.methods.embedded import InGroups, Inputs, Ranked
from visift.methods.method import param
from visift.methods.ranking import fill_seats, places_within
from visift.methods.vectors import Float, IntArray, Space
from visift.numerics.cluster import kmeans_by_group
from visift.numerics.neighbours import mean_distance
from visift.numerics.rounding import significant
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.selection import Choice

#: Images a cluster has on average [ours]: the paper makes one cluster for every row it chooses,
#: which is for budgets of tens; so few clusters do not depend on the budget.
CLUSTER_ITEMS = 100
#: Largest typicality: neighbours that are all copies have no distance.
MOST_TYPICAL = 1e6


@dataclass(frozen=True, slots=True)
class TypiClust(InGroups):
    """The most typical images of every cluster, clusters by their size."""

    name: ClassVar[str] = "typiclust"
    summary: ClassVar[str] = "most typical images of every cluster; remove duplicates first"
    paper: ClassVar[str] = "2202.02794"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[Literal["source"]] = "source"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    per_source: bool = param(
        True, origin="ours", doc="cluster and rank inside every source, in the pool's mixture"
    )
    k: int = param(20, origin="paper", doc="nearest neighbours that typicality looks at", low=1)
    clusters: int | None = param(
        None, origin="ours", doc="clusters of a source; one for every 100 images by default", low=1
    )
    score_digits: int = param(6, origin="ours", doc="significant digits that rank", low=1, high=17)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Cluster every source; clusters take turns by size, their most typical images first."""
        space = self.space(pool, inputs)
        counts = [self.clusters or max(1, len(mine) // CLUSTER_ITEMS) for mine in space.groups]
        found = kmeans_by_group(space.vectors, space.groups, counts, self.seed)
        cell, starts = np.empty(len(space), np.int64), 0
        for mine, clusters in zip(space.groups, found, strict=True):
            cell[mine] = starts + clusters.of
            starts += len(clusters)
        distance = distances(space, cell, self.k)
        level = significant(distance, self.score_digits)
        rank, place = in_turn(space, cell, level)
        value = typicality(distance)
        sizes = np.bincount(cell)

        def reason(cuts: CutTable, item: int) -> str:
            there = space.named(int(space.labels.of[item]), int(sizes[cell[item]]))
            return (
                f"typicality {value[item]:.3g}, number {place[item] + 1:,} of the {there} "
                "of its cluster"
            )

        ranked = Ranked(rank, value, "highest first", reason, level, cell, self._facts(distance))
        return self.take(pool, inputs, space, ranked, budget)

    def _facts(self, distance: Float) -> dict[str, Any]:
        copies = int((distance == 0).sum())
        if not copies:
            return {}
        said = f"{counted(copies, 'image')} with copies as all {self.k} neighbours rank first"
        return {"notices": [f"{said}: remove duplicates before (semdedup finds near ones)."]}


def typicality(distance: Float) -> Float:
    """Return 1 / mean distance: 0 for an image alone in its cluster, at most `MOST_TYPICAL`."""
    return np.asarray(1.0 / np.maximum(distance, 1.0 / MOST_TYPICAL))


def distances(space: Space, cell: IntArray, k: int) -> Float:
    """Return (M,) the mean distance of each item to its k nearest neighbours in its cluster.

    Args:
        space: M items.
        cell: (M,) cluster of each.
        k: how many neighbours.
    """
    out = np.empty(len(space))
    order = np.lexsort((space.items.key, cell))
    for mine in np.split(order, np.cumsum(np.bincount(cell))[:-1]):
        out[mine] = mean_distance(space.vectors(mine), k)
    return out


def in_turn(space: Space, cell: IntArray, level: NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Return (M,) the rank of each item in its group and in its cluster.

    Clusters of a group take turns by seat order, weighted by their sizes.

    Args:
        space: M items.
        cell: (M,) cluster of each.
        level: (M,) what ranks the items of a cluster before their tie keys, ascending.
    """
    rank, place = np.empty(len(space), np.int64), np.empty(len(space), np.int64)
    for mine in space.groups:
        _, of = np.unique(cell[mine], return_inverse=True)
        sizes = np.bincount(of)
        order = mine[fill_seats(seat_order(sizes, sizes), of, level[mine], space.items.key[mine])]
        rank[order] = np.arange(len(order))
        by_cluster = order[np.argsort(cell[order], kind="stable")]
        place[by_cluster] = places_within(cell[by_cluster])
    return rank, place

"""Self-supervised prototypes: how far an image is from the nearest cluster centre.

Sorscher et al. (arXiv 2206.14486), from the formula only: hard images, far from every prototype,
where data are plentiful, easy ones where they are scarce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.methods.cuts import CutTable
from visift.methods.embedded import InGroups, Inputs, Ranked
from visift.methods.method import param
from visift.methods.vectors import Float
from visift.numerics.cluster import kmeans_by_group
from visift.numerics.neighbours import unit_rows
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice

#: Clusters of a pool [ours]: so many a million images, and at least so many.
PER_MILLION, AT_LEAST = 100, 10


@dataclass(frozen=True, slots=True)
class Prototypes(InGroups):
    """Images far from (or near) the nearest of K prototypes."""

    name: ClassVar[str] = "prototypes"
    summary: ClassVar[str] = "images far from every cluster centre, or near one"
    paper: ClassVar[str] = "2206.14486"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    order: Literal["hard", "easy"] = param(
        "hard", origin="paper", doc="hard: far from the prototypes first; easy: near ones"
    )
    clusters: int | None = param(
        None, origin="ours", doc="prototypes; 100 for a million images, at least 10", low=1
    )
    score_digits: int = param(6, origin="ours", doc="significant digits that rank", low=1, high=17)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Cluster the images; those farthest from their prototype first, or the nearest."""
        space = self.space(pool, inputs)
        counts = [self.clusters or cluster_count(len(mine)) for mine in space.groups]
        found = kmeans_by_group(space.vectors, space.groups, counts, self.seed)
        value = np.empty(len(space))
        for group, clusters in zip(space.groups, found, strict=True):
            for some, vectors in space.blocks(group):
                value[some] = prototype_distance(vectors, clusters.centres)
        level = significant(value, self.score_digits)
        sign = -1.0 if self.order == "hard" else 1.0
        word = "farthest" if self.order == "hard" else "nearest"

        def reason(cuts: CutTable, item: int) -> str:
            g = int(space.labels.of[item])
            share, there = cuts.chosen[g] / cuts.size[g], space.named(g, int(cuts.size[g]))
            return (
                f"among the {word} {share:.1%} of {there} from their prototype "
                f"(distance {value[item]:.3g}, median {sign * cuts.median[g]:.3g})"
            )

        direction: Literal["highest first", "lowest first"]
        direction = "highest first" if self.order == "hard" else "lowest first"
        ranked = Ranked(sign * level, value, direction, reason, level)
        return self.take(pool, inputs, space, ranked, budget)


def cluster_count(items: int) -> int:
    """Return K: 100 for a million items, at least 10."""
    return max(AT_LEAST, items * PER_MILLION // 1_000_000)


def prototype_distance(vectors: NDArray[Any], centres: NDArray[Any]) -> Float:
    """Return (n,) 1 - cosine of each vector to the nearest of K centres.

    Args:
        vectors: (n, d) unit vectors.
        centres: (K, d) of any length.
    """
    cosines = vectors.astype(np.float64) @ unit_rows(centres).astype(np.float64).T
    return np.asarray(1.0 - cosines.max(axis=1))

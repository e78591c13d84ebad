"""Herding: images whose mean stays nearest to the mean of all (Welling 2009).

From the formula only. It keeps what is typical, the opposite bias of PRISM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from visift.budget import Budget
from visift.methods.cuts import CutTable
from visift.methods.embedded import InGroups, Inputs, Ranked
from visift.methods.method import param
from visift.methods.vectors import CAP, Float, IntArray, beyond_cap, most_items, ranks_after
from visift.pool.pool import Pool
from visift.selection import Choice


@dataclass(frozen=True, slots=True)
class Herding(InGroups):
    """Images that together have the mean of the pool, or of their source."""

    name: ClassVar[str] = "herding"
    summary: ClassVar[str] = "images whose mean stays nearest to the mean of all; typical ones"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    cap: int = param(
        CAP, origin="ours", doc="images compared, of each source if per_source; others come last",
        low=1,
    )  # fmt: skip

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Add, one after the other, the image that brings the mean nearest to that of all."""
        space = self.space(pool, inputs)
        count = len(space)
        if budget is not None:
            count = most_items(pool, space, inputs.text, self.text_only, budget)
        rank, near = np.empty(len(space), np.int64), np.full(len(space), np.nan)
        for mine in space.groups:
            sample = mine[: self.cap]
            X = space.vectors(sample)
            order, distance = herd(X, space.mean(mine), min(count, len(sample)))
            rank[mine] = ranks_after(order, len(mine))
            near[sample[order]] = distance

        def reason(cuts: CutTable, item: int) -> str:
            if np.isnan(near[item]):
                return f"drawn at random: beyond the {self.cap:,} images that are compared"
            g = int(space.labels.of[item])
            whole = space.named(g, len(space.groups[g]))
            return f"brings the mean of those chosen to {near[item]:.3g} from that of {whole}"

        # What a step brings says nothing of an image by itself, so that there is no score.
        none = np.full(len(space), np.nan)
        ranked = Ranked(rank, none, "none", reason, facts=beyond_cap(space, self.cap))
        return self.take(pool, inputs, space, ranked, budget)


def herd(X: NDArray[Any], mean: Float, count: int) -> tuple[IntArray, Float]:
    """Return the herding order and how near the running mean comes.

    Step t adds the x that maximises <mean * (t + 1) - sum of those chosen, x> - |x|^2 / 2.

    Args:
        X: (n, d) points; ties go to the lower number.
        mean: (d,) to come near to.
        count: how many to order, at most n.

    Returns:
        (count,) numbers of points, and (count,) distance of the mean of those chosen so far.
    """
    half = np.einsum("ij,ij->i", X, X).astype(np.float64) / 2
    towards, along = np.zeros(len(X)), np.zeros(len(X))
    total = np.zeros(X.shape[1])
    order, distance = np.empty(count, np.int64), np.empty(count)
    with threadpool_limits(1, user_api="blas"):
        towards += X @ mean.astype(X.dtype)
        for step in range(count):
            at = int(np.argmax((step + 1) * towards - along - half))
            order[step] = at
            total += X[at]
            distance[step] = np.linalg.norm(mean - total / (step + 1))
            along += X @ X[at]
            half[at] = np.inf  # never twice
    return order, distance

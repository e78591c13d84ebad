"""k-center greedy: always the image farthest from what is chosen (arXiv 1708.00489).

From the formula only. Kept and had images are chosen from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from visift.budget import Budget
from visift.methods.cuts import CutTable
from visift.methods.embedded import InGroups, Inputs, Ranked
from visift.methods.method import param
from visift.methods.vectors import (
    CAP,
    Float,
    IntArray,
    Space,
    beyond_cap,
    groups_of_rows,
    most_items,
    ranks_after,
)
from visift.pool.pool import Pool
from visift.selection import Choice

#: Squared distances below this share of the squared lengths are rounding noise of float32.
_SAME = 5e-7
_POINTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class KCenter(InGroups):
    """Images that leave none far from a chosen one."""

    name: ClassVar[str] = "kcenter"
    summary: ClassVar[str] = "always the image farthest from those chosen; finds outliers, too"
    paper: ClassVar[str] = "1708.00489"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    first: Literal["mean", "key"] = param(
        "mean", origin="ours", doc="where nothing is there yet: nearest the mean, or lowest tie key"
    )
    drop_outliers: float = param(
        100,
        origin="ours",
        doc="percentile of the distance to the mean beyond which images come last",
        above=0,
        high=100,
    )
    cap: int = param(
        CAP, origin="ours", doc="images compared, of each source if per_source; others come last",
        low=1,
    )  # fmt: skip

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Go through every group from what is there to what is farthest from it."""
        space = self.space(pool, inputs)
        count = len(space)
        if budget is not None:
            count = most_items(pool, space, inputs.text, self.text_only, budget)
        group = groups_of_rows(pool, space, space.there)
        rank, value = np.empty(len(space), np.int64), np.full(len(space), np.nan)
        began: dict[int, int] = {}
        for g, mine in enumerate(space.groups):
            there = space.there[group == g]
            found = self._greedy(space, mine, there, count)
            rank[mine], value[mine] = found
            if not len(there):
                began[int(mine[np.argmin(found[0])])] = len(mine)

        def reason(cuts: CutTable, item: int) -> str:
            g = int(space.labels.of[item])
            if item in began:
                how = "nearest the mean" if self.first == "mean" else "lowest tie key"
                return f"the first: {how} of {space.named(g, began[item])}"
            if np.isnan(value[item]):
                return f"drawn at random: beyond the {self.cap:,} images that are compared"
            return f"farthest from what was chosen before it (distance {value[item]:.3g})"

        ranked = Ranked(rank, value, "highest first", reason, facts=beyond_cap(space, self.cap))
        return self.take(pool, inputs, space, ranked, budget)

    def _greedy(
        self, space: Space, mine: IntArray, there: IntArray, count: int
    ) -> tuple[IntArray, Float]:
        """Return (m,) rank and distance of the items of one group."""
        X = space.vectors(mine[: self.cap])
        away = _squared(X, space.mean(mine)[None].astype(X.dtype))[:, 0]
        inner = np.flatnonzero(away <= np.percentile(away, self.drop_outliers))
        first = int(np.argmin(away[inner])) if self.first == "mean" else 0
        begun = space.of_rows(there) if len(there) else None
        points = X if len(inner) == len(X) else X[inner]
        order, distance = farthest_first(points, min(count, len(inner)), first, begun)
        value = np.full(len(mine), np.nan)
        value[inner] = distance
        return ranks_after(inner[order], len(mine)), value


def farthest_first(
    X: NDArray[Any], count: int, first: int = 0, there: NDArray[Any] | None = None
) -> tuple[IntArray, Float]:
    """Return the k-center greedy order and the distances it leaves.

    Args:
        X: (n, d) points; equal distances go to the lower number.
        count: how many to order, at most n.
        first: where to begin, if nothing is there.
        there: (m, d) points that are chosen already.

    Returns:
        (count,) numbers of points, and (n,) distance of each to what was chosen before it, or of
        those not chosen to all that was; NaN for `first`, where nothing was.
    """
    lengths = np.einsum("ij,ij->i", X, X).astype(np.float64)
    nearest, left = np.full(len(X), np.inf), np.full(len(X), np.nan)
    order = np.empty(count, np.int64)
    begun = X[:0] if there is None else there

    def come_closer(points: NDArray[Any]) -> None:
        np.minimum(nearest, _squared(X, points, lengths).min(axis=1), out=nearest)

    with threadpool_limits(1, user_api="blas"):
        for start in range(0, len(begun), _POINTS_AT_ONCE):
            come_closer(begun[start : start + _POINTS_AT_ONCE])
        for step in range(count):
            begins = step == 0 and np.isinf(nearest).all()
            at = first if begins else int(np.argmax(nearest))
            order[step] = at
            left[at] = np.nan if begins else np.sqrt(nearest[at])
            come_closer(X[at : at + 1])
            nearest[at] = -1.0
    others = nearest >= 0
    left[others] = np.sqrt(nearest[others])
    return order, left


def _squared(
    X: NDArray[Any], points: NDArray[Any], lengths: Float | None = None
) -> NDArray[np.float64]:
    """Return (n, m) squared distances of n vectors to m points; rounding noise is 0.

    Args:
        X: (n, d).
        points: (m, d).
        lengths: (n,) squared lengths of X, where they are known.
    """
    if lengths is None:
        lengths = np.einsum("ij,ij->i", X, X).astype(np.float64)
    own = np.einsum("ij,ij->i", points, points).astype(np.float64)
    squared = lengths[:, None] + own - 2.0 * (X @ points.T)
    return np.where(squared < _SAME * (lengths[:, None] + own), 0.0, squared)

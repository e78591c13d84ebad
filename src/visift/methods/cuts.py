"""Where each group's ranking was cut, and how sure that cut is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.methods.grouping import Labelled

#: Differences between devices that DESIGN's determinism allows: float32 and bfloat16. Relative to
#: the cut or to the spread of the scores, see `_near`.
NOISE = {"float32": 1e-5, "bfloat16": 2e-2}


@dataclass(frozen=True, slots=True)
class CutTable:
    """One entry a group of items ranked by a score, lowest first.

    Attributes:
        labels: (G,) group names.
        size: (G,) items.
        chosen: (G,) items chosen.
        median: (G,) median score.
        last: (G,) score of the last item chosen, NaN where none is.
        following: (G,) score of the first item not chosen, NaN where all are.
        inside: by dtype, (G,) items within `noise * max(|cut|, sd)` of the cut, so near that
            another device might rank them differently; the cut is half way between `last` and
            `following`, sd the standard deviation of the group's scores [ours].
        tied: (M,) chosen items whose score equals that of one not chosen in their group.
    """

    labels: tuple[str, ...]
    size: NDArray[np.int64]
    chosen: NDArray[np.int64]
    median: NDArray[np.float64]
    last: NDArray[np.float64]
    following: NDArray[np.float64]
    inside: dict[str, NDArray[np.int64]]
    tied: NDArray[np.bool_]

    def facts(self) -> list[dict[str, Any]]:
        """Return the table as plain data, one dictionary a group; None for what does not exist."""
        return [
            {
                "group": label,
                "items": int(self.size[g]),
                "chosen": int(self.chosen[g]),
                "median": _number(self.median[g]),
                "cut": _number(self.last[g]),
                "margin": _number(self.following[g] - self.last[g]),
                "near_the_cut": {dtype: int(count[g]) for dtype, count in self.inside.items()},
            }
            for g, label in enumerate(self.labels)
        ]


def cut_table(labels: Labelled, score: NDArray[np.float64], chosen: NDArray[np.bool_]) -> CutTable:
    """Look at the cut in every group.

    Args:
        labels: group of each of M items.
        score: (M,) as ranked (rounded), lowest first.
        chosen: (M,) which items are in.
    """
    groups = len(labels.labels)
    size = np.bincount(labels.of, minlength=groups)
    kept = np.bincount(labels.of[chosen], minlength=groups)
    last, following, median = (np.full(groups, np.nan) for _ in range(3))
    inside = {dtype: np.zeros(groups, np.int64) for dtype in NOISE}
    tied = np.zeros(len(score), bool)
    for g in range(groups):
        mine = labels.of == g
        inner, outer = score[mine & chosen], score[mine & ~chosen]
        median[g] = np.median(score[mine]) if size[g] else np.nan
        last[g] = inner.max(initial=-np.inf) if len(inner) else np.nan
        following[g] = outer.min() if len(outer) else np.nan
        tied |= mine & chosen & (score == following[g])
        if len(inner) and len(outer):
            for dtype, count in _near(score[mine], (last[g] + following[g]) / 2).items():
                inside[dtype][g] = count
    return CutTable(labels.labels, size, kept, median, last, following, inside, tied)


def _near(score: NDArray[np.float64], cut: float) -> dict[str, int]:
    """Count, by dtype, the items of one group that lie near its cut.

    Scores may lie around zero (correlations, differences), where a share of the cut alone would be
    no band at all; their spread says how large a small difference is.
    """
    scale = max(abs(cut), float(score.std()))
    away = np.abs(score - cut)
    return {dtype: int((away <= noise * scale).sum()) for dtype, noise in NOISE.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""The mix of a pool, of what was chosen from it, and of the two random arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visift.pool.pool import Groups
from visift.report.outcome import encoded

if TYPE_CHECKING:
    from visift.finished import Run

_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Part:
    """One source (or task) in four mixes, in records.

    Attributes:
        name: its label; `merged` parts have none in the pool.
        pool: before.
        chosen: after.
        control: in the twin.
        random: in the source-proportional random arm.
    """

    name: str
    pool: int
    chosen: int
    control: int
    random: int


@dataclass(frozen=True, slots=True)
class Mixture:
    """How records are shared over the values of a label, largest part of the pool first.

    Attributes:
        kind: `source` or `task`.
        parts: the largest, and the rest as one.
        total: all parts together.
    """

    kind: str
    parts: tuple[Part, ...]
    total: Part

    @property
    def widest(self) -> float:
        """The largest share of any part, as a fraction."""
        arms = (("pool", self.total.pool), ("chosen", self.total.chosen))
        shares = [getattr(p, name) / total for p in self.parts for name, total in arms if total]
        return max(shares, default=1.0)


def mixtures(run: Run) -> list[Mixture]:
    """Return the mix by source and, where tasks say something else, by task."""
    source, task = (run.selection.scores[name] for name in ("source", "task"))
    found = [_mixture(run, "source", encoded(source))]
    if not task.equals(source):
        found.append(_mixture(run, "task", encoded(task)))
    return found


def _mixture(run: Run, kind: str, labels: Groups) -> Mixture:
    bare = len(labels.labels)
    of_row = np.where(labels.of_row >= 0, labels.of_row, bare + ~run.pool.text_only)
    names = (*labels.labels, "text-only", f"no {kind}")
    offered = np.flatnonzero(run.pool.offered)
    arms = [_count(of_row[rows], bare + 2) for rows in (offered, run.rows, run.control, run.random)]
    table = np.stack(arms, axis=1)
    order = [int(g) for g in np.argsort(-table[:, 0], kind="stable") if table[g].any()]
    shown = order if len(order) <= _SHOWN else order[: _SHOWN - 1]
    parts = [_part(names[g], table[g]) for g in shown]
    if rest := order[len(shown) :]:
        parts.append(_part(f"{len(rest):,} smaller {kind}s", table[rest].sum(axis=0)))
    return Mixture(kind, tuple(parts), _part("all", table.sum(axis=0)))


def _count(codes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(codes, minlength=size)


def _part(name: str, counts: Sequence[int] | NDArray[np.int64]) -> Part:
    return Part(name, *(int(n) for n in counts))

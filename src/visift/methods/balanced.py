"""The default: exact duplicates out, the pool's mixture kept, one record an image first.

No model and no paper: everything here is [ours].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Lab
from visift.methods.entrants import Entrants
from visift.methods.grouping import TEXT_ONLY, Labelled, label_groups
from visift.methods.method import param
from visift.methods.ranking import by_key, places_within
from visift.pool.duplicates import exact_duplicates
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows; nothing is measured."""

    rows: IntArray


@dataclass(frozen=True, slots=True)
class Balanced:
    """The mixture of the pool, every image once before any twice."""

    name: ClassVar[str] = "balanced"
    summary: ClassVar[str] = "exact duplicates out, mixture kept, one record an image first"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[Literal["source"]] = "source"
    coverage: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    seed: int = 0
    floor: float = param(
        0.001, origin="ours", doc="share of all rows a small source weighs at least", low=0, high=1
    )
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for nothing."""
        rows = pool.rows("candidate")
        label_groups(pool, rows, "source", self.unlabelled)
        return Inputs(rows)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take turns by source; inside one, records of images shown least come first."""
        keys = pool.tie_keys(self.seed)
        there = np.concatenate([by_key(pool.rows(role), keys) for role in ("kept", "have")])
        repeats, stays = exact_duplicates(pool, inputs.rows, keys, there)
        rows = np.setdiff1d(inputs.rows, repeats, assume_unique=True)
        found = Entrants.of(pool, rows, keys, lambda some: _groups(pool, some, self.unlabelled))
        times = times_shown(pool, rows, there, keys)
        order = found.ranked(mixture(found.sizes, self.floor), times)
        uids = pool.uids(stays)
        return found.choose(
            pool,
            order,
            budget,
            _reason(found, times),
            status={row: f"duplicate: of {uid}" for row, uid in zip(repeats, uids, strict=True)},
            facts={"duplicates": len(repeats)},
        )


def mixture(sizes: IntArray, floor: float) -> list[Fraction]:
    """Return the weight of each group: its rows, or `floor` of all rows if that is more."""
    least = Fraction(repr(floor)) * int(sizes.sum())
    return [max(Fraction(int(size)), least) for size in sizes]


def times_shown(pool: Pool, rows: IntArray, there: IntArray, keys: NDArray[np.uint64]) -> IntArray:
    """Return, for each row, how many rows of its source show the same images before it does.

    Before it are the rows that are there already, and those with a lower tie key. Text-only rows
    have 0.

    Args:
        pool: what rows refer to.
        rows: (n,) rows that can be chosen.
        there: kept rows, and rows trained on already.
        keys: (N,) tie keys.
    """
    everything = np.concatenate([there, rows]).astype(np.int64)
    rank = np.repeat([0, 1], [len(there), len(rows)])
    shown = pool.groups("image").of_row[everything].astype(np.int64)
    source = pool.groups("source").of_row[everything]
    order = np.lexsort((keys[everything], rank, source, shown))
    pair = np.stack([shown[order], source[order]], axis=1)
    new = np.append(True, (np.diff(pair, axis=0) != 0).any(axis=1))[: len(order)]
    times = np.empty(len(order), np.int64)
    times[order] = places_within(np.cumsum(new))
    times[shown < 0] = 0
    return times[len(there) :]


def _groups(pool: Pool, rows: IntArray, unlabelled: str | None) -> Labelled:
    """Group rows by source, and all text-only rows as one more group, the last."""
    text = pool.text_only[rows]
    visual = label_groups(pool, rows[~text], "source", unlabelled)
    labels = (*visual.labels, TEXT_ONLY) if text.any() else visual.labels
    of = np.full(len(rows), len(visual.labels), np.int64)
    of[~text] = visual.of
    return Labelled(labels, of)


def _reason(found: Entrants, times: IntArray) -> Callable[[int, int], str]:
    ordinals = {0: "first", 1: "second", 2: "third"}
    shares = found.sizes / max(int(found.sizes.sum()), 1)
    keeps = [
        f"{name} keeps its {share:.1%}"
        for name, share in zip(found.labels.labels, shares, strict=True)
    ]

    def reason(at: int, group: int) -> str:
        if found.labels.labels[group] == TEXT_ONLY:
            return f"text-only; {keeps[group]}"
        time = int(times[at])
        which = ordinals.get(time, f"{time + 1}th")
        return f"{which} record of its image; {keeps[group]}"

    return reason

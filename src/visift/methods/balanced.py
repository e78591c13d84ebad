"""The default: exact duplicates out, the pool's mixture kept, one record an image first.

No model and no paper: everything here is [ours].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        """Ask for nothing; labels are looked at before anything else is measured."""
        rows = pool.rows("candidate")
        _groups(pool, np.concatenate([pool.rows("kept"), rows]), self.unlabelled)
        return Inputs(rows)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take turns by source; inside one, records of images shown least come first."""
        keys = pool.tie_keys(self.seed)
        there = np.concatenate([by_key(pool.rows(role), keys) for role in ("kept", "have")])
        repeats, stays = exact_duplicates(pool, inputs.rows, keys, there)
        rows = np.setdiff1d(inputs.rows, repeats, assume_unique=True)
        found = Entrants.of(pool, rows, keys, lambda some: _groups(pool, some, self.unlabelled))
        times = times_shown(pool, rows, there, keys)
        weights = mixture(found.sizes, self.floor)
        order = found.ranked(weights, times)
        uids = pool.uids(stays)
        return found.choose(
            pool,
            order,
            budget,
            _reason(found, weights, times, pool.text_only[rows]),
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


def _reason(
    found: Entrants, weights: Sequence[Fraction], times: IntArray, text: NDArray[np.bool_]
) -> Callable[[int, int], str]:
    total = int(found.sizes.sum())
    shares = [
        f"{name} keeps its {size / total:.1%}"
        if weight == size
        else f"{name} counts as {float(100 * weight / total):.2g}% of all records, being small"
        for name, size, weight in zip(
            found.labels.labels, found.sizes.tolist(), weights, strict=True
        )
    ]

    def reason(at: int, group: int) -> str:
        what = "text-only" if text[at] else f"{ordinal(int(times[at]) + 1)} record of its image"
        return f"{what}; {shares[group]}"

    return reason


def ordinal(number: int) -> str:
    """Return a place in words: first, second, third, 4th, 11th, 21st."""
    words = {1: "first", 2: "second", 3: "third"}
    endings = {1: "st", 2: "nd", 3: "rd"}
    teens = number % 100 in (11, 12, 13)
    ending = "th" if teens else endings.get(number % 10, "th")
    return words.get(number, f"{number}{ending}")

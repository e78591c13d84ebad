"""Choosing images, with the rows that show them and the text-only rows in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InfeasibleBudget
from visift.methods.cuts import CutTable, cut_table
from visift.methods.grouping import EVERYTHING, TEXT_ONLY, Labelled
from visift.methods.ranking import fill_seats, interleave, new_images
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]
ItemUnit = Literal["image", "row"]
TextOnly = Literal["proportional", "keep", "drop"]


@dataclass(frozen=True, slots=True)
class ImageItems:
    """M things to choose from: image groups, or single rows.

    Attributes:
        first: (M,) the row that stands for an item: its first in the pool.
        key: (M,) uint64 tie key: the lowest of its rows, so that the pool's order does not matter.
        rows: the rows of all items, item after item, in tie-key order inside each.
        starts: (M + 1,) the rows of item m are `rows[starts[m]:starts[m + 1]]`.
    """

    first: IntArray
    key: NDArray[np.uint64]
    rows: IntArray
    starts: IntArray

    @property
    def sizes(self) -> IntArray:
        """(M,) rows of each item."""
        return np.diff(self.starts)


def budget_limit(
    pool: Pool, visual: IntArray, text: IntArray, policy: TextOnly, budget: Budget
) -> int:
    """Return the rows (or images) a budget allows, of the rows that can be chosen.

    Args:
        pool: what rows refer to.
        visual: rows with images.
        text: text-only rows.
        policy: what becomes of them.
        budget: the budget.

    Raises:
        InfeasibleBudget: nothing, too much, or less than the text-only rows that are kept.
    """
    held = 0 if policy == "drop" else len(text)
    limit = budget.limit(len(visual) + held, len(pool.images.of_rows(visual)))
    if policy == "keep" and budget.unit != "images" and limit < len(text):
        raise InfeasibleBudget(
            f"Budget {budget.text} is {limit:,} rows, fewer than the {len(text):,} "
            "text-only rows that are kept.",
            fix="Ask for more, or: --set text_only=proportional",
        )
    return limit


def image_items(pool: Pool, rows: IntArray, unit: ItemUnit, keys: NDArray[np.uint64]) -> ImageItems:
    """Return the image groups of some rows (or the rows themselves), by first appearance.

    Args:
        pool: what rows refer to.
        rows: rows with images, ascending.
        unit: `image`: rows that show the same images are one item; `row`: each is one.
        keys: (N,) tie keys of the pool's rows.
    """
    groups = pool.groups("image").of_row[rows] if unit == "image" else np.arange(len(rows))
    _, at, inverse = np.unique(groups, return_index=True, return_inverse=True)
    place = np.empty(len(at), np.int64)
    place[np.argsort(at)] = np.arange(len(at))
    item = place[inverse]
    order = np.lexsort((keys[rows], item))
    starts = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=len(at)))])
    ordered = rows[order]
    return ImageItems(rows[np.sort(at)], keys[ordered[starts[:-1]]], ordered, starts)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Items and text-only rows in one order, of which every budget takes a prefix.

    Attributes:
        items: what item numbers refer to.
        text: text-only rows, in their order.
        entries: item m as m, text-only row j as -1 - j.
    """

    items: ImageItems
    text: IntArray
    entries: IntArray

    @classmethod
    def of(cls, items: ImageItems, order: IntArray, text: IntArray, policy: TextOnly) -> Ranking:
        """Merge ranked items with text-only rows.

        Args:
            items: the items.
            order: (M,) items in rank order.
            text: (T,) text-only rows in tie-key order.
            policy: `proportional` keeps their share in every prefix, `keep` ranks all of them
                first, `drop` leaves them out.
        """
        if policy == "drop":
            return cls(items, text[:0], order)
        if policy == "keep":
            return cls(items, text, np.concatenate([-1 - np.arange(len(text)), order]))
        merged = interleave(items.sizes[order], len(text))
        if not len(order):
            return cls(items, text, merged)
        return cls(items, text, np.where(merged < 0, merged, order[np.maximum(merged, 0)]))

    def usable(self) -> int:
        """Return how many rows are ranked in all."""
        return len(self.items.rows) + len(self.text)

    def cut_to(self, pool: Pool, budget: Budget, policy: TextOnly) -> IntArray:
        """Return the entries that a budget takes: whole items, up to the first that does not fit.

        Raises:
            InfeasibleBudget: nothing, too much, or less than the text-only rows that are kept.
        """
        limit = budget_limit(pool, self.items.rows, self.text, policy, budget)
        numbers = np.maximum(self.entries, 0)
        if budget.unit == "images":
            none = np.empty(0, np.int64)
            shown = [
                pool.images.of_row(int(self.items.first[m])) if m >= 0 else none
                for m in self.entries.tolist()
            ]
            return self.entries[: budget.cut(new_images(shown), limit)]
        rows = np.where(self.entries >= 0, self.items.sizes[numbers], 1)
        return self.entries[: budget.cut(rows, limit)]

    def after_items(self, count: int) -> IntArray:
        """Return the entries up to and including the `count` best items."""
        nth = np.flatnonzero(np.cumsum(self.entries >= 0) >= count)
        if count and len(nth):
            return self.entries[: nth[0] + 1]
        return self.entries[self.entries < 0] if count == 0 else self.entries

    def chosen_items(self, entries: IntArray) -> NDArray[np.bool_]:
        """Return (M,) which items are among some entries."""
        chosen = np.zeros(len(self.items.first), bool)
        chosen[entries[entries >= 0]] = True
        return chosen

    def rows(self, entries: IntArray) -> IntArray:
        """Return the rows of entries, in rank order."""
        parts = [
            self.items.rows[self.items.starts[e] : self.items.starts[e + 1]]
            if e >= 0
            else self.text[-1 - e : -e]
            for e in entries.tolist()
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Scored:
    """Items with their scores; the lowest is the best.

    Attributes:
        items: M items.
        labels: the group each is ranked in.
        raw: (M,) the method's score.
        score: (M,) the same, rounded as it ranks.
    """

    items: ImageItems
    labels: Labelled
    raw: NDArray[np.float64]
    score: NDArray[np.float64]


def choose_items(
    pool: Pool,
    scored: Scored,
    text: IntArray,
    policy: TextOnly,
    wanted: Budget | IntArray,
    floors: IntArray,
    reason: Callable[[Scored, CutTable, int], str],
    signal: Sequence[Mapping[str, float | bool]],
    seed: int,
) -> Choice:
    """Rank items inside their groups, groups by seat order, and take what is wanted.

    Args:
        pool: what rows refer to.
        scored: items, groups and scores.
        text: text-only rows in tie-key order.
        policy: where they rank, see `Ranking.of`.
        wanted: a budget, or (G,) the number of items of each group.
        floors: (G,) items every group gets first.
        reason: says why an item was chosen.
        signal: (G,) facts about each group's scores; `noise` says that they rank nothing.
        seed: of the order of text-only rows, for their reason.
    """
    labels = scored.labels
    sizes = np.bincount(labels.of, minlength=len(labels.labels))
    seats = seat_order(sizes.tolist(), sizes.tolist(), floors.tolist())
    order = fill_seats(seats, labels.of, scored.score, scored.items.key)
    ranking = Ranking.of(scored.items, order, text, policy)
    if isinstance(wanted, Budget):
        entries = ranking.cut_to(pool, wanted, policy)
    else:
        entries = ranking.after_items(int(np.maximum(wanted, floors).sum()))
    cuts = cut_table(labels, scored.score, ranking.chosen_items(entries))
    drawn = f"text-only: one of {int((entries < 0).sum()):,} drawn from {len(text):,} (seed {seed})"
    facts = {
        "direction": "lowest first",
        "nested": True,
        "usable": ranking.usable(),
        "groups": [{**cut, **more} for cut, more in zip(cuts.facts(), signal, strict=True)],
        "sources_without_images": _imageless(pool, text, labels),
        "notices": [
            f"{label}: the ranking is noise (sd {one['sd']:.2g} over {size:,})."
            for label, size, one in zip(labels.labels, sizes, signal, strict=True)
            if one["noise"]
        ],
    }
    said = partial(reason, scored, cuts)
    return _named(pool, ranking, entries, scored, cuts.tied, said, drawn, facts)


def _named(
    pool: Pool,
    ranking: Ranking,
    entries: IntArray,
    scored: Scored,
    tied: NDArray[np.bool_],
    reason: Callable[[int], str],
    drawn: str,
    facts: Mapping[str, Any],
) -> Choice:
    """Return the rows of the chosen entries with their scores, groups and reasons."""
    items, rows = scored.items, ranking.rows(entries)
    item_of = np.full(len(pool), -1, np.int64)
    item_of[items.rows] = np.repeat(np.arange(len(items.first)), items.sizes)
    names = np.array([*scored.labels.labels, None], dtype=object)
    group = names[np.where(item_of >= 0, scored.labels.of[item_of], -1)]
    group[ranking.text] = TEXT_ONLY
    chosen = item_of[rows]
    return Choice(
        rows=rows,
        reasons=[reason(item) if item >= 0 else drawn for item in chosen.tolist()],
        score=np.where(item_of >= 0, scored.raw[item_of], np.nan),
        group=group.tolist(),
        status=[None] * len(pool),
        tied=np.where(chosen >= 0, tied[chosen], False),
        facts=facts,
    )


def _imageless(pool: Pool, text: IntArray, labels: Labelled) -> list[str]:
    """Return the labelled sources that have no image: their records rank as text-only ones."""
    sources = pool.index["source"].take(pa.array(text)).unique().to_pylist()
    if EVERYTHING in labels.labels:
        return []
    return sorted({*sources} - {*labels.labels, None})

"""Image groups and single rows in one order, of which every budget takes a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InfeasibleBudget
from visift.methods.cutting import fitting, limit_of, row_costs
from visift.methods.grouping import EVERYTHING, Labelled
from visift.methods.ranking import by_key, interleave, new_images
from visift.pool.pool import Pool

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
    always = [pool.rows("kept"), *([text] if policy == "keep" else [])]
    rows = [*always, visual, *([text] if policy == "proportional" else [])]
    limit = limit_of(pool, np.concatenate(rows), budget)
    held = int(sum(row_costs(pool, some, budget).sum() for some in always))
    if held > limit and budget.counted:
        unit = budget.unit if budget.unit == "tokens" else "rows"
        own = "--keep and of " if len(always[0]) else ""
        raise InfeasibleBudget(
            f"Budget {budget.text} is {limit:,} {unit}, fewer than the {held:,} of {own}the "
            f"{len(text):,} text-only rows that are kept.",
            fix="Ask for more, or: --set text_only=proportional",
        )
    return limit


@dataclass(frozen=True, slots=True)
class Singles:
    """Rows that rank one by one, beside the items.

    Attributes:
        kept: (K,) rows that are always in, in tie-key order; they rank first.
        text: (T,) text-only rows in tie-key order.
        held: (G,) items that kept rows stand for, by group.
    """

    kept: IntArray
    text: IntArray
    held: IntArray

    @property
    def rows(self) -> IntArray:
        """(K + T,) all of them."""
        return np.concatenate([self.kept, self.text])


def held_apart(
    pool: Pool,
    text: IntArray,
    keys: NDArray[np.uint64],
    labels: Labelled,
    kind: Literal["source"] | None,
    unit: ItemUnit,
) -> Singles:
    """Return the rows that rank one by one; kept rows with images count in their group's quota.

    Args:
        pool: what rows refer to.
        text: text-only rows that can be chosen.
        keys: (N,) tie keys.
        labels: the groups of the items; kept rows of other groups count in none.
        kind: the label that groups them; None where all are one group.
        unit: whether kept rows of the same images are one item.
    """
    kept = by_key(pool.rows("kept"), keys)
    shown = kept[~pool.text_only[kept]]
    if unit == "image":
        _, first = np.unique(pool.groups("image").of_row[shown], return_index=True)
        shown = shown[first]
    sources = pool.index["source"].take(pa.array(shown)).to_pylist()
    names = sources if kind and EVERYTHING not in labels.labels else [EVERYTHING] * len(shown)
    held = [names.count(label) for label in labels.labels]
    return Singles(kept, by_key(text, keys), np.array(held, np.int64))


@dataclass(frozen=True, slots=True)
class Ranking:
    """Items and single rows in one order, of which every budget takes a prefix.

    Attributes:
        items: what item numbers refer to.
        singles: kept rows, then text-only rows, in their order.
        entries: item m as m, single row j as -1 - j.
    """

    items: ImageItems
    singles: IntArray
    entries: IntArray

    @classmethod
    def of(
        cls,
        pool: Pool,
        items: ImageItems,
        order: IntArray,
        singles: Singles,
        policy: TextOnly,
    ) -> Ranking:
        """Merge ranked items with single rows.

        Args:
            pool: what rows refer to.
            items: the items.
            order: (M,) items in rank order.
            singles: kept and text-only rows.
            policy: `proportional` keeps the share of text-only rows in every prefix, `keep` ranks
                all of them first, `drop` leaves them out.
        """
        first = -1 - np.arange(len(singles.kept))
        rows = singles.rows if policy != "drop" else singles.kept
        text = -1 - np.arange(len(singles.kept), len(rows))
        if policy != "proportional":
            return cls(items, rows, np.concatenate([first, text, order]))
        there = int(pool.text_only[singles.kept].sum())
        begun = len(singles.kept) - there
        costs = np.concatenate([np.ones(begun, np.int64), items.sizes[order]])
        merged = interleave(costs, there + len(text))
        merged = merged[(merged >= begun) | (merged < -there)]
        after = np.concatenate([text, order])  # place 0 of `order` is item `begun` of `merged`
        places = np.where(merged < 0, -1 - merged - there, merged - begun + len(text))
        return cls(items, rows, np.concatenate([first, after[places]]))

    def usable(self) -> int:
        """Return how many rows are ranked in all."""
        return len(self.items.rows) + len(self.singles)

    def cut_to(self, pool: Pool, budget: Budget, limit: int) -> IntArray:
        """Return the entries that fit: whole items, up to the first that does not.

        Args:
            pool: what rows refer to.
            budget: the budget.
            limit: from `budget_limit`.

        Raises:
            InfeasibleBudget: not even the first fits.
        """
        return self.entries[: fitting(budget, self._costs(pool, budget), limit)]

    def _costs(self, pool: Pool, budget: Budget) -> IntArray:
        """Return what each entry adds, in the unit of the budget."""
        if budget.unit == "images":
            shows = np.concatenate([self.items.first, self.singles[::-1]])  # -1 is single row 0
            return new_images([pool.images.of_row(int(shows[e])) for e in self.entries])
        alone = row_costs(pool, self.singles, budget)
        within = row_costs(pool, self.items.rows, budget)
        sums = np.concatenate([[0], np.cumsum(within)])
        whole = sums[self.items.starts[1:]] - sums[self.items.starts[:-1]]
        return np.concatenate([whole, alone[::-1]])[self.entries]

    def after_items(self, count: int, always: int) -> IntArray:
        """Return the entries up to and including the `count` best items, or what is before all.

        Args:
            count: how many items.
            always: how many entries come first in any case.
        """
        places = np.flatnonzero(self.entries >= 0)
        if count >= len(places):
            return self.entries
        end = int(places[count - 1]) + 1 if count else int(places[0])
        return self.entries[: max(end, always)]

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
            else self.singles[-1 - e : -e]
            for e in entries.tolist()
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

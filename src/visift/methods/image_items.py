"""Choosing images, with the rows that show them and the text-only rows in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InfeasibleBudget
from visift.methods.cuts import CutTable, cut_table
from visift.methods.cutting import priced
from visift.methods.entrants import KEPT
from visift.methods.grouping import EVERYTHING, TEXT_ONLY, Labelled
from visift.methods.image_ranking import ImageItems, Ranking, Singles, TextOnly, budget_limit
from visift.methods.ranking import fill_seats, seats_left
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]


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
    singles: Singles,
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
        singles: kept and text-only rows.
        policy: where text-only rows rank, see `Ranking.of`.
        wanted: a budget, or (G,) the number of items of each group.
        floors: (G,) items every group gets first.
        reason: says why an item was chosen.
        signal: (G,) facts about each group's scores; `noise` says that they rank nothing.
        seed: of the order of text-only rows, for their reason.

    Raises:
        InfeasibleBudget: the budget cannot be met, or no item is wanted and no other row is in.
    """
    labels, held, text = scored.labels, singles.held, singles.text
    sizes = np.bincount(labels.of, minlength=len(labels.labels))
    caps = sizes + held
    seats = seat_order(caps.tolist(), caps.tolist(), np.maximum(held, floors).tolist())
    order = fill_seats(seats_left(seats, held), labels.of, scored.score, scored.items.key)
    ranking = Ranking.of(pool, scored.items, order, singles, policy)
    if isinstance(wanted, Budget):
        wanted = priced(pool, wanted, None)
        limit = budget_limit(pool, scored.items.rows, text, policy, wanted)
        entries = ranking.cut_to(pool, wanted, limit)
    else:
        items = np.maximum(np.maximum(wanted, floors) - held, 0)
        entries = ranking.after_items(int(items.sum()), len(singles.kept))
    if not len(entries):
        raise InfeasibleBudget(
            f"the method's own share of {len(scored.items.first):,} items selects nothing.",
            fix="Set a larger one, or a budget: --budget 15%",
        )
    cuts = cut_table(labels, scored.score, ranking.chosen_items(entries))
    drawn = int((entries < 0).sum()) - len(singles.kept)
    said = f"text-only: one of {drawn:,} drawn from {len(text):,} (seed {seed})"
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
    kept = set(singles.kept.tolist())

    def say(row: int, item: int) -> str:
        return reason(scored, cuts, item) if item >= 0 else KEPT if row in kept else said

    return _named(pool, ranking, entries, scored, cuts.tied, say, facts)


def _named(
    pool: Pool,
    ranking: Ranking,
    entries: IntArray,
    scored: Scored,
    tied: NDArray[np.bool_],
    reason: Callable[[int, int], str],
    facts: Mapping[str, Any],
) -> Choice:
    """Return the rows of the chosen entries with their scores, groups and reasons."""
    items, rows = scored.items, ranking.rows(entries)
    item_of = np.full(len(pool), -1, np.int64)
    item_of[items.rows] = np.repeat(np.arange(len(items.first)), items.sizes)
    names = np.array([*scored.labels.labels, None], dtype=object)
    group = names[np.where(item_of >= 0, scored.labels.of[item_of], -1)]
    single = ranking.singles
    group[single[pool.text_only[single]]] = TEXT_ONLY
    chosen = item_of[rows]
    return Choice(
        rows=rows,
        reasons=[reason(r, item) for r, item in zip(rows.tolist(), chosen.tolist(), strict=True)],
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

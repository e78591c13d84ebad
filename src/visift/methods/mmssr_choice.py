"""mmSSR's selection, named: a reason, a bin and ratings for every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.methods.entrants import KEPT
from visift.methods.grouping import TEXT_ONLY
from visift.methods.mmssr_order import Order
from visift.methods.mmssr_ratings import Rated
from visift.methods.mmssr_sampling import Bins
from visift.pool.pool import Pool
from visift.selection import Choice

#: Why a text-only row is in that nobody rated.
TEXT_KEPT = "text-only: all of them are kept"
TEXT_DRAWN = "text-only: drawn at random, in the pool's share"


def choice_of(
    pool: Pool,
    rated: Rated,
    shown: Rated,
    bins: Bins,
    order: Order,
    thr: float,
    reason: Callable[[int], str],
    beside: str,
    status: Mapping[int, str],
    facts: Mapping[str, Any],
) -> Choice:
    """Return a selection as a run writes it.

    A row's group is the bin it was picked from, else the one of its first style.

    Args:
        pool: what rows refer to.
        rated: the rows that could be picked.
        shown: the same, with the ratings that are written down.
        bins: theirs.
        order: the selection.
        thr: rows rate more.
        reason: why a pick is in, by its number in the sample.
        beside: why a text-only row is in that was not rated.
        status: by row, why others could not be chosen.
        facts: see `Choice.facts`.
    """
    sample, picks, mine = order.sample, order.picks, order.picks >= 0
    best, score = rated.best, np.full(len(pool), np.nan)
    score[rated.rows] = best
    tied = np.zeros(len(picks), bool)
    tied[mine] = sample.tied[picks[mine]]
    statuses: list[str | None] = [None] * len(pool)
    low = rated.rows[~(best > thr)]
    for row, why in {**dict.fromkeys(low.tolist(), f"no rating above {thr:g}"), **status}.items():
        statuses[row] = why
    kept = pool.has_role("kept")[order.rows].tolist()
    return Choice(
        rows=order.rows,
        reasons=[
            reason(at) if at >= 0 else KEPT if held else beside
            for at, held in zip(picks.tolist(), kept, strict=True)
        ],
        score=score,
        group=_groups(pool, rated, bins, order),
        status=statuses,
        tied=tied,
        facts=facts,
        columns=_columns(len(pool), shown),
    )


def dropped_text(pool: Pool) -> dict[int, str]:
    """Return why text-only rows are left out where all of them are, by row."""
    rows = np.flatnonzero(pool.text_only & pool.has_role("candidate"))
    return dict.fromkeys(rows.tolist(), "text-only: dropped")


def _groups(pool: Pool, rated: Rated, bins: Bins, order: Order) -> list[str | None]:
    names = np.array(bins.names, object)
    group: NDArray[Any] = np.full(len(pool), None, object)
    group[pool.text_only & pool.has_role("candidate")] = TEXT_ONLY
    group[rated.rows] = names[bins.at(0, np.arange(len(rated.rows)))]
    mine = order.picks >= 0
    group[order.rows[mine]] = names[order.sample.bins[order.picks[mine]]]
    found: list[str | None] = group.tolist()
    return found


def _columns(rows: int, rated: Rated) -> dict[str, Any]:
    """Return ratings and styles of all rows of the pool."""
    columns: dict[str, Any] = {}
    for key, score in zip(rated.capabilities, rated.scores, strict=True):
        column = np.full(rows, np.nan, np.float32)
        column[rated.rows] = score
        columns[f"score.{key}"] = column
    styles: list[str | None] = [None] * rows
    for row, name in zip(rated.rows.tolist(), rated.names(), strict=True):
        styles[row] = name or None
    columns["styles"] = styles
    return columns

"""Rows ranked by one number each, some of them left out by the method's own rule.

What `perplexity`, `ifd` and `visnec` share. Rows that are left out keep their score and get a
status; groups keep the shares they had before, so that a mixture does not follow from the score
[ours].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.budget import Budget
from visift.errors import InfeasibleBudget, InputError
from visift.methods.cuts import cut_table
from visift.methods.entrants import Entrants
from visift.methods.grouping import EVERYTHING, Labelled
from visift.methods.ranking import places_within, rank_within
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]
Direction = Literal["lowest first", "highest first", "middle first"]


@dataclass(frozen=True, slots=True)
class RowScores:
    """Scores of n rows.

    Attributes:
        value: (n,) as measured; NaN for rows that have no score and rank by their tie key.
        level: (n,) the same, rounded as it ranks.
        direction: which come first inside a group.
    """

    value: Float
    level: Float
    direction: Direction

    def only(self, rows: IntArray) -> RowScores:
        """Return the scores of some rows, by number."""
        return RowScores(self.value[rows], self.level[rows], self.direction)

    def ranks(self, group: IntArray, keys: NDArray[np.uint64]) -> NDArray[Any]:
        """Return (n,) what sorts the rows of a group before their tie keys, ascending."""
        if self.direction == "middle first":
            return centre_first(group, self.level, keys)
        level = np.where(np.isnan(self.level), 0.0, self.level)
        return -level if self.direction == "highest first" else level


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that a method's own rule rules out.

    Attributes:
        status: by row, `kind: detail`.
        fix: what lets more of them in.
    """

    status: Mapping[int, str]
    fix: str

    def kinds(self) -> dict[str, int]:
        """Count rows by kind."""
        return dict(Counter(why.partition(":")[0] for why in self.status.values()))

    def __str__(self) -> str:
        return ", ".join(f"{counted(n, 'record')}: {kind}" for kind, n in self.kinds().items())


def choose_by_score(
    pool: Pool,
    everyone: Entrants,
    scores: RowScores,
    left_out: LeftOut,
    budget: Budget | None,
    reason: Callable[[int, str], str],
    *,
    first: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Choice:
    """Rank rows inside their groups by score, groups by seat order, and take what a budget allows.

    Args:
        pool: what rows refer to.
        everyone: rows with a value, those left out among them.
        scores: of `everyone.rows`.
        left_out: which of these cannot be chosen.
        budget: the budget.
        reason: called with the number of a row among `everyone.rows` and how its group is spoken
            of (`1,234 coco records (median 0.71)`).
        first: number of a group all of whose rows rank before the others.
        facts: further facts, see `Choice.facts`.

    Raises:
        InputError: all rows with a score are left out.
        InfeasibleBudget: the budget cannot be met by those that are not.
    """
    stays = np.flatnonzero(~np.isin(everyone.rows, list(left_out.status)))
    if left_out.status and np.isnan(scores.value[stays]).all():
        raise InputError(f"nothing is left to choose from ({left_out}).", fix=left_out.fix)
    found, left = _only(everyone, stays), scores.only(stays)
    ranks = left.ranks(found.group, found.keys[found.rows])
    floors = np.where(np.arange(len(found.sizes)) == first, found.sizes, 0)
    order = found.ranked(everyone.sizes.tolist(), ranks, floors=floors)
    said = _spoken_of(found, left)
    with _explaining(left_out):
        choice = found.choose(
            pool,
            order,
            budget,
            lambda at, group: reason(int(stays[at]), said[group]),
            value=left.value,
            ranks=_distinct_where_nan(left.level),
            status=left_out.status,
        )
    value = choice.score.copy()
    value[everyone.rows] = scores.value
    chosen = np.isin(found.rows, choice.rows)
    more = {
        "direction": scores.direction,
        "left_out": left_out.kinds(),
        "groups": cut_facts(found.labels.labels, found.group, left, chosen, ranks),
        **(facts or {}),
    }
    return replace(choice, score=value, facts={**choice.facts, **more})


@contextmanager
def _explaining(left_out: LeftOut) -> Iterator[None]:
    """Say, where a budget is too large, what was left out."""
    try:
        yield
    except InfeasibleBudget as error:
        if not left_out.status:
            raise
        raise InfeasibleBudget(
            f"{error.what} Left out: {left_out}.", fix=f"{error.fix} {left_out.fix}"
        ) from None


def _only(everyone: Entrants, stays: IntArray) -> Entrants:
    """Return the entrants without some rows; groups stay, empty ones too."""
    of = everyone.labels.of
    kept = len(everyone.kept)
    group = np.concatenate([of[:kept], of[kept:][stays]])
    labels = Labelled(everyone.labels.labels, group)
    return Entrants(everyone.kept, everyone.rows[stays], labels, everyone.keys)


def _distinct_where_nan(level: Float) -> IntArray:
    """Return (n,) numbers that are equal where levels are; rows without a score tie with nobody."""
    _, number = np.unique(level, return_inverse=True, equal_nan=False)
    return np.asarray(number, np.int64)


def _spoken_of(found: Entrants, scores: RowScores) -> list[str]:
    """Return how each group is spoken of: its size, its name, its median."""
    said = []
    for g, label in enumerate(found.labels.labels):
        value = scores.value[found.group == g]
        name = "" if label == EVERYTHING else f"{label} "
        median = ""
        if len(value) and not np.isnan(value).any():
            median = f" (median {np.median(value):.3g})"
        said.append(f"{len(value):,} {name}record{'' if len(value) == 1 else 's'}{median}")
    return said


def centre_first(group: IntArray, level: Float, keys: NDArray[np.uint64]) -> IntArray:
    """Return (n,) ranks that begin in the middle of each group and go outwards.

    Of a group of N rows sorted by level and tie key, the first n ranks are the window of n rows
    that starts at floor((N - n)/2). One row more adds one on the left where N - n is even, else
    one on the right: windows are nested. Ranks of rows left of the middle are even.

    Args:
        group: (n,) group of each row.
        level: (n,) scores.
        keys: (n,) tie keys.
    """
    order = rank_within(group, level, keys)
    size = np.bincount(group, minlength=1)[group[order]]
    offset = 2 * places_within(group[order]) - (size - 1)  # twice the way from the middle
    ranks = np.empty(len(group), np.int64)
    ranks[order] = 2 * np.abs(offset) + (offset > 0)
    return ranks


def cut_facts(
    labels: tuple[str, ...],
    group: IntArray,
    scores: RowScores,
    chosen: NDArray[np.bool_],
    ranks: NDArray[Any],
) -> list[dict[str, Any]]:
    """Return, for every group with scores, where it was cut and how sure the cut is.

    Args:
        labels: names of the groups.
        group: (n,) group of each row.
        scores: of the rows.
        chosen: (n,) which are in.
        ranks: (n,) from `RowScores.ranks`.

    Returns:
        Entries as `CutTable.facts` gives them. With the middle first there are two cuts: `cut` is
        the upper one, `margin` the smaller one, `near_the_cut` counts both.
    """
    scored = ~np.isnan(scores.level)
    level, of, chosen = scores.level[scored], group[scored], chosen[scored]
    by_group = Labelled(labels, of)
    if scores.direction == "middle first":
        found = _both_cuts(by_group, level, chosen, ranks[scored])
    else:
        sign = -1.0 if scores.direction == "highest first" else 1.0
        found = cut_table(by_group, sign * level, chosen).facts()
        for one in found:
            for name in ("median", "cut"):
                one[name] = None if one[name] is None else sign * one[name]
    return [one for one in found if one["items"]]


def _both_cuts(
    labels: Labelled, level: Float, chosen: NDArray[np.bool_], ranks: NDArray[Any]
) -> list[dict[str, Any]]:
    """Return the facts of windows that are cut on both sides."""
    left = ranks % 2 == 0  # see `centre_first`; the middle itself is in wherever any row is
    below = ~chosen & left & np.isin(labels.of, labels.of[chosen])
    lower = cut_table(labels, level, below).facts()
    upper = cut_table(labels, level, chosen | below).facts()
    for one, other in zip(upper, lower, strict=True):
        one["chosen"] -= other["chosen"]
        margins = [m for m in (one["margin"], other["margin"]) if m is not None]
        one["margin"] = min(margins, default=None)
        for dtype, count in other["near_the_cut"].items():
            one["near_the_cut"][dtype] += count
    return upper

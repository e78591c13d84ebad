"""Rows that compete inside their groups, after the rows that are always in.

What methods share that rank single rows: kept rows stand first and fill the first seats of their
groups, then groups take turns by seat order, and inside a group the method's own order says who
is next. Because nothing depends on the budget, every budget is a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.budget import Budget
from visift.errors import InfeasibleBudget
from visift.methods.cutting import cut_rows
from visift.methods.grouping import Labelled, label_groups
from visift.methods.ranking import by_key, fill_seats, seats_left
from visift.numerics.groups import Weights
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]

#: Why a row of `--keep` is in.
KEPT = "kept: named with --keep"


@dataclass(frozen=True, slots=True)
class Entrants:
    """Rows to rank.

    Attributes:
        kept: (K,) rows that are always in, in tie-key order.
        rows: (n,) rows that can be chosen.
        labels: the group of each, kept rows first: `labels.of` is (K + n,).
        keys: (N,) tie keys of the pool.
    """

    kept: IntArray
    rows: IntArray
    labels: Labelled
    keys: NDArray[np.uint64]

    @classmethod
    def of(
        cls,
        pool: Pool,
        rows: IntArray,
        keys: NDArray[np.uint64],
        label: Callable[[IntArray], Labelled],
    ) -> Entrants:
        """Return some rows and the kept ones with their groups.

        Args:
            pool: what rows refer to.
            rows: (n,) rows that can be chosen.
            keys: (N,) tie keys.
            label: called with all rows; gives the group of each.
        """
        kept = by_key(pool.rows("kept"), keys)
        return cls(kept, rows, label(np.concatenate([kept, rows])), keys)

    @classmethod
    def labelled(
        cls,
        pool: Pool,
        rows: IntArray,
        keys: NDArray[np.uint64],
        kind: Literal["source", "task"] | None,
        unlabelled: str | None = None,
    ) -> Entrants:
        """Return some rows and the kept ones by a label, see `grouping.label_groups`."""
        return cls.of(pool, rows, keys, lambda some: label_groups(pool, some, kind, unlabelled))

    @property
    def group(self) -> IntArray:
        """(n,) group of each row that can be chosen."""
        return self.labels.of[len(self.kept) :]

    @property
    def taken(self) -> IntArray:
        """(G,) kept rows of each group."""
        return self._count(self.labels.of[: len(self.kept)])

    @property
    def sizes(self) -> IntArray:
        """(G,) rows of each group, kept ones included."""
        return self._count(self.labels.of)

    def _count(self, groups: IntArray) -> IntArray:
        return np.bincount(groups, minlength=len(self.labels.labels))

    def ranked(
        self,
        weights: Weights,
        *within: NDArray[Any],
        caps: IntArray | None = None,
        floors: IntArray | None = None,
    ) -> IntArray:
        """Return rows in rank order: kept ones, then groups in turn.

        Args:
            weights: (G,) of the groups.
            *within: (n,) what the rows of a group are sorted by before their tie keys, ascending.
            caps: (G,) the most rows a group gives, kept ones included; all by default.
            floors: (G,) rows a group gets before others get more, kept ones included.
        """
        taken, sizes = self.taken, self.sizes
        most = sizes if caps is None else np.clip(caps, taken, sizes)
        least = taken if floors is None else np.clip(floors, taken, most)
        seats = seats_left(seat_order(weights, most.tolist(), least.tolist()), taken)
        order = fill_seats(seats, self.group, *within, self.keys[self.rows])
        return np.concatenate([self.kept, self.rows[order]])

    def choose(
        self,
        pool: Pool,
        order: IntArray,
        budget: Budget | None,
        reason: Callable[[int, int], str],
        *,
        value: NDArray[np.float64] | None = None,
        ranks: NDArray[Any] | None = None,
        status: Mapping[int, str] | None = None,
        always: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Choice:
        """Return the prefix of a ranking that a budget allows.

        Args:
            pool: what rows refer to.
            order: from `ranked`; or any order that begins with the kept rows.
            budget: the budget.
            reason: called with the number of a row among `rows` and of its group.
            value: (n,) score of each row, where the method has one.
            ranks: (n,) what ranks the rows of a group before their tie keys, where that is a score:
                chosen rows that rank like one left out are `tied`.
            status: by row, why it could not be chosen.
            always: (K,) why each of the rows that are always in is; kept, all of them, by default.
            facts: further facts, see `Choice.facts`.
        """
        everything = np.concatenate([self.kept, self.rows])
        chosen = cut_rows(pool, order, budget, everything)
        if len(chosen) < len(self.kept):
            raise InfeasibleBudget(
                f"the budget comes to {counted(len(chosen), 'record')} of the {len(everything):,} "
                f"that can be chosen, and {len(self.kept):,} are always in.",
                fix="Ask for more, or for fewer that are always in (a smaller seed or reference).",
            )
        place = np.full(len(pool), -1, np.int64)
        place[self.rows] = np.arange(len(self.rows))
        names: NDArray[Any] = np.full(len(pool), None, dtype=object)
        names[everything] = np.array(self.labels.labels, object)[self.labels.of]
        score = np.full(len(pool), np.nan)
        if value is not None:
            score[self.rows] = value
        picked = place[chosen[len(self.kept) :]]
        tied = np.zeros(len(chosen), bool)
        if ranks is not None:
            tied[len(self.kept) :] = _ties(self.group, ranks, picked)
        groups = self.group.tolist()
        said = [reason(at, groups[at]) for at in picked.tolist()]
        statuses: list[str | None] = [None] * len(pool)
        for row, why in (status or {}).items():
            statuses[row] = why
        known = {"direction": "none", "nested": True, "usable": len(self.kept) + len(self.rows)}
        return Choice(
            rows=chosen,
            reasons=[*(always or [KEPT] * len(self.kept)), *said],
            score=score,
            group=names.tolist(),
            status=statuses,
            tied=tied,
            facts={**known, **(facts or {})},
        )


def _ties(group: IntArray, ranks: NDArray[Any], picked: IntArray) -> NDArray[np.bool_]:
    """Return, for each picked row, whether one of its group that ranks the same is not picked."""
    _, level = np.unique(ranks, return_inverse=True)
    place = group * (int(level.max(initial=0)) + 1) + level
    left = np.ones(len(group), bool)
    left[picked] = False
    return np.isin(place[picked], place[left])

"""How many rows mmSSR's rule is asked for, and what stands before and beside them.

Selections of different sizes are not prefixes of each other. So the size is settled first: rows
that are always in, then the rule's picks and random text-only rows in the pool's shares. A budget
in images or tokens is met by looking for the size that comes to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.budget import Budget
from visift.errors import InfeasibleBudget
from visift.methods.cutting import fitting, limit_of, priced, row_costs
from visift.methods.mmssr_sampling import Sample
from visift.methods.ranking import seats_left
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]

#: A size whose cost is this close above the limit is near enough: the last rows are cut off [ours].
_NEAR = 0.005
_MOST_TRIES = 16

_MORE = "Ask for more, or for fewer that are always in (--keep, text_only)."


@dataclass(frozen=True, slots=True)
class Field:
    """What a selection is made of.

    Attributes:
        always: (A,) rows that are in anyway, in rank order.
        rated: (n,) rows of the pool that the rule may pick from, by its numbers.
        text: (T,) text-only rows in random order, which get the pool's share.
        held: how many of `always` are rated ones, and how many text-only ones, as seats go.
        feasible: how many rows the rule can pick.
        sample: called with how many it shall pick.
    """

    always: IntArray
    rated: IntArray
    text: IntArray
    held: tuple[int, int]
    feasible: int
    sample: Callable[[int], Sample]

    @property
    def usable(self) -> IntArray:
        """All rows of which a budget may mean a share."""
        return np.concatenate([self.always, self.rated, self.text])

    def turns(self) -> NDArray[np.int32]:
        """Return whose turn it is after the rows that are always in: 0 the rule's, 1 text's."""
        held = np.array(self.held, np.int64)
        sizes = held + np.array([len(self.rated), len(self.text)])
        return seats_left(seat_order(sizes.tolist(), sizes.tolist()), held)

    def most(self) -> int:
        """Return the largest selection there is."""
        ours = np.flatnonzero(self.turns() == 0)
        enough = self.feasible >= len(ours)
        rest = len(self.rated) + len(self.text) if enough else int(ours[self.feasible])
        return len(self.always) + rest


@dataclass(frozen=True, slots=True)
class Order:
    """A selection in rank order.

    Attributes:
        rows: (s,) of the pool.
        picks: (s,) which pick of the sample each row is, -1 for others.
        sample: what the rule picked.
    """

    rows: IntArray
    picks: IntArray
    sample: Sample

    def first(self, count: int) -> Order:
        """Return the first ranks."""
        return Order(self.rows[:count], self.picks[:count], self.sample)


def order_of(field: Field, size: int, turns: NDArray[np.int32]) -> Order:
    """Return a selection of some size; picks beyond what was asked for stand at its end.

    Args:
        field: what it is made of.
        size: rows, from all that are always in up to `field.most()`.
        turns: from `field.turns`.
    """
    turns = turns[: size - len(field.always)]
    ours = np.flatnonzero(turns == 0)
    found = field.sample(len(ours))
    more = len(found.rows) - len(ours)
    first = len(field.always)
    rows = np.empty(first + len(turns) + more, np.int64)
    picks = np.full(len(rows), -1, np.int64)
    places = first + np.concatenate([ours, len(turns) + np.arange(more)])
    rows[:first] = field.always
    rows[first + np.flatnonzero(turns == 1)] = field.text[: len(turns) - len(ours)]
    rows[places] = field.rated[found.rows]
    picks[places] = np.arange(len(found.rows))
    return Order(rows, picks, found)


def within_budget(pool: Pool, field: Field, budget: Budget) -> Order:
    """Return the selection that a budget allows.

    Args:
        pool: what rows refer to.
        field: what it is made of.
        budget: the budget.

    Raises:
        InfeasibleBudget: nothing, less than what is always in, or more than the rule can pick:
            names the largest that can be met.
    """
    budget = priced(pool, budget, None)
    limit = limit_of(pool, field.usable, budget)
    if budget.unit not in ("images", "tokens"):
        return in_rows(field, limit, budget)
    return _in_cost(pool, field, budget, limit)


def in_rows(field: Field, size: int, budget: Budget) -> Order:
    """Return a selection of exactly so many rows; see `within_budget`."""
    if size < len(field.always):
        raise InfeasibleBudget(
            f"Budget {budget.text} is {counted(size, 'record')}, and {len(field.always):,} are "
            "always in.",
            fix=_MORE,
        )
    most = field.most()
    if size > most:
        raise InfeasibleBudget(
            f"Budget {budget.text} is {size:,} records, and only {most:,} can be chosen: "
            f"{field.feasible:,} of {len(field.rated):,} are rated above thr in some capability.",
            fix=f"Largest: {most}. Or lower it (--set thr=…), or take more capabilities.",
        )
    return order_of(field, size, field.turns())


def _in_cost(pool: Pool, field: Field, budget: Budget, limit: int) -> Order:
    """Return the selection whose images or tokens come to a limit."""
    turns = field.turns()

    def tried(size: int) -> tuple[Order, IntArray]:
        order = order_of(field, size, turns)
        return order, row_costs(pool, order.rows, budget)

    order, costs = tried(field.most())
    held, most = int(costs[: len(field.always)].sum()), int(costs.sum())
    if held > limit:
        raise InfeasibleBudget(
            f"Budget {budget.text} is {limit:,} {budget.unit}, and "
            f"{counted(len(field.always), 'record')} with {held:,} of them are always in.",
            fix=_MORE,
        )
    if most < limit:
        raise InfeasibleBudget(
            f"Budget {budget.text} is {limit:,}, and all records that can be chosen come to "
            f"{most:,}: the others are rated above thr in no capability.",
            fix=f"Largest: {most}-{budget.unit}. Or lower it: --set thr=…",
        )
    if most > limit:
        order, costs = _nearest(tried, (len(field.always), field.most()), (held, most), limit)
    return order.first(fitting(budget, costs, limit))


def _nearest(
    tried: Callable[[int], tuple[Order, IntArray]],
    sizes: tuple[int, int],
    spends: tuple[int, int],
    limit: int,
) -> tuple[Order, IntArray]:
    """Return a selection that comes to a limit or little more, and what its rows cost.

    Args:
        tried: gives both for a size.
        sizes: the smallest and the largest.
        spends: what these two come to; the first at most `limit`, the second more.
        limit: what is allowed.
    """
    (low, high), (under, spent) = sizes, spends
    held, found = under, None
    for number in range(_MOST_TRIES):
        if spent - held <= (limit - held) * (1 + _NEAR) or high - low <= 1:
            break
        guess = low + int((high - low) * (limit - under) / (spent - under)) + 1
        # Every third time in the middle: costs may grow by leaps.
        size = (low + high) // 2 if number % 3 == 2 else min(guess, high - 1)
        now = tried(size)
        cost = int(now[1].sum())
        if cost < limit:
            low, under = size, cost
        else:
            high, found, spent = size, now, cost
    return tried(high) if found is None else found

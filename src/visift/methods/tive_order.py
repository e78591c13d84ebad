"""Who is chosen when in TIVE: tasks in turn by their shares, rows of a task as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InfeasibleBudget, InputError
from visift.methods.compat import tive_counts, tive_draw
from visift.methods.entrants import KEPT, Entrants
from visift.methods.ranking import seats_left
from visift.methods.tive_values import Temperature, softmax
from visift.numerics.allocate import allocate
from visift.numerics.seats import seat_order
from visift.numerics.ties import gumbel
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

Oversample = Literal["redistribute", "allow", "cap"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What TIVE found out, before a budget says how much of it is chosen.

    Attributes:
        found: the rows with the tasks they compete in.
        norm: (n,) |g_s| of each row.
        v: (n,) its value.
        a: (T,) values of the tasks.
        weights: (T,) shares of the budget, summing to 1.
        heat: (T,) how sharply rows are drawn.
        warmup: (T,) rows the reference model learned from.
    """

    found: Entrants
    norm: Float
    v: Float
    a: Float
    weights: Float
    heat: Sequence[Temperature]
    warmup: IntArray


def wanted_rows(budget: Budget, rows: int, kept: int) -> int:
    """Return how many rows a budget asks for, more than there are included.

    Args:
        budget: in rows, a share of them, or a multiple of the kept ones.
        rows: what it is a share of.
        kept: rows that are in anyway; they count.

    Raises:
        InputError: it counts images or tokens.
        InfeasibleBudget: it is nothing, or less than the kept rows.
    """
    if budget.unit in ("images", "tokens"):
        raise InputError(
            f"a budget of {budget.text} where tasks have fixed numbers of rows.",
            fix="Give it in records: 15%; or --set oversample=redistribute",
        )
    most = max(rows, int(budget.amount)) if budget.unit == "rows" else rows
    wanted = budget.limit(most, kept=kept)
    if wanted < kept:
        raise InfeasibleBudget(
            f"Budget {budget.text} is {wanted:,} records, fewer than the {kept:,} of --keep.",
            fix=f"Smallest: {kept}, which adds nothing to them.",
        )
    return wanted


@dataclass(frozen=True, slots=True)
class Draws:
    """The rows of every task in the order in which they are drawn.

    Attributes:
        kept: rows that are in anyway.
        rows: (T,) arrays of rows.
    """

    kept: IntArray
    rows: Sequence[IntArray]

    @classmethod
    def of(cls, found: Entrants, place: Float) -> Draws:
        """Return the draws of all tasks.

        Args:
            found: rows with the tasks they compete in.
            place: (n,) what sorts the rows of a task, ascending.
        """
        order = np.lexsort((found.keys[found.rows], place, found.group))
        counts = np.bincount(found.group, minlength=len(found.labels.labels))
        return cls(found.kept, np.split(found.rows[order], np.cumsum(counts)[:-1]))

    def in_turn(
        self, weights: Sequence[Fraction], held: IntArray, total: int, oversample: Oversample
    ) -> IntArray:
        """Return rows in rank order where tasks have their shares, whether they can fill them.

        Args:
            weights: (T,) shares of the tasks, on any scale.
            held: (T,) kept rows of each task.
            total: rows wanted, kept ones included.
            oversample: rows of a full task come again (`allow`), or its turns pass (`cap`).
        """
        counts = allocate(total, weights, np.full(len(weights), total), held)
        seats = seats_left(seat_order(weights, counts, held), held)
        order = np.full(len(seats), -1, np.int64)
        for task, rows in enumerate(self.rows):
            mine = np.flatnonzero(seats == task)
            if oversample == "cap":
                mine = mine[: len(rows)]
            if len(rows):
                order[mine] = np.resize(rows, len(mine))
        return np.concatenate([self.kept, order[order >= 0]])


def drawn_first(judged: Judged, keys: NDArray[np.uint64]) -> Float:
    """Return (n,) what sorts rows as they are drawn without replacement: least of -(q v + noise).

    Args:
        judged: n rows with their values, and how sharply they are drawn.
        keys: (N,) keys of this draw.
    """
    found = judged.found
    q = np.array([one.q for one in judged.heat])
    return np.asarray(-(q[found.group] * judged.v + gumbel(keys[found.rows])))


def as_published(
    judged: Judged,
    weights: Sequence[Fraction],
    budget: Budget,
    base_rows: int,
    oversample: Oversample,
    seed: int,
) -> IntArray:
    """Return rows in the order of TIVE's program: task after task, as its random state draws.

    Args:
        judged: the rows with their values.
        weights: (T,) shares of the tasks.
        budget: rows, or a share of `base_rows`.
        base_rows: N of the program.
        oversample: see `fitted`.
        seed: of the random state.

    Raises:
        InputError: the budget counts something else.
    """
    if budget.unit not in ("fraction", "rows"):
        raise InputError(f"a budget of {budget.text} under compat=official.", fix="Say 15%.")
    found = judged.found
    share, base = float(budget.amount), base_rows if budget.unit == "fraction" else 1
    counts = tive_counts(np.array([float(weight) for weight in weights]), share, base)
    sizes = np.bincount(found.group, minlength=len(weights))
    counts = fitted(counts, weights, sizes, oversample)
    mine = [found.rows[found.group == t] for t in range(len(weights))]
    w = [softmax(judged.v[found.group == t], heat.q) for t, heat in enumerate(judged.heat)]
    return np.concatenate([found.kept, *tive_draw(mine, w, counts, seed)])


def fitted(
    counts: Float, weights: Sequence[Fraction], sizes: IntArray, oversample: Oversample
) -> Float:
    """Return (T,) rows of each task in the program's arithmetic, where tasks may be too small.

    Args:
        counts: (T,) its n(t).
        weights: (T,) shares of the tasks.
        sizes: (T,) their rows.
        oversample: `allow` changes nothing, as in the program.
    """
    if oversample == "allow":
        return counts
    whole = np.floor(counts).astype(np.int64)
    if oversample == "redistribute":
        whole = allocate(min(int(whole.sum()), int(sizes.sum())), weights, sizes)
    return np.minimum(whole, sizes).astype(np.float64)


def choose_in_order(
    pool: Pool,
    found: Entrants,
    order: IntArray,
    reason: Callable[[int, int], str],
    value: Float,
) -> Choice:
    """Return all rows of an order, some of which may stand in it more than once.

    Args:
        pool: what rows refer to.
        found: rows with the tasks they compete in.
        order: kept rows, then others.
        reason: as for `Entrants.choose`.
        value: (n,) score of each row of `found.rows`.
    """
    _, first = np.unique(order, return_index=True)
    once = order[np.sort(first)]
    if not len(once):
        raise InfeasibleBudget("no task gets a whole row of this budget.", fix="Use a larger one.")
    choice = found.choose(pool, once, Budget.parse(len(once)), reason, value=value)
    if len(once) == len(order):
        return choice
    said = dict(zip(once.tolist(), choice.reasons, strict=True))
    copies, reasons = dict[int, int](), list[str]()
    for row in order.tolist():
        copies[row] = copies.get(row, 0) + 1
        again = f", copy {copies[row]} of it" if copies[row] > 1 else ""
        reasons.append(said[row] if said[row] == KEPT else said[row] + again)
    return replace(choice, rows=order, reasons=reasons, tied=np.zeros(len(order), bool))

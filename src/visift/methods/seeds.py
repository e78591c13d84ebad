"""Rows drawn before anything is measured: what a seed, reference or warm-up model learns from."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InputError
from visift.methods.cutting import cut_rows
from visift.methods.grouping import Labelled
from visift.methods.ranking import by_key, fill_seats
from visift.numerics.allocate import allocate
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]


def rows_in_budget(pool: Pool, rows: IntArray, budget: Budget) -> int:
    """Return how many rows a budget comes to beside the kept ones, before anything is measured.

    In images or tokens, these are as many as a random selection of that budget has.

    Args:
        pool: what rows refer to.
        rows: rows that can be chosen.
        budget: the budget.

    Raises:
        InfeasibleBudget: it cannot be met.
    """
    kept = pool.rows("kept")
    order = np.concatenate([kept, by_key(rows, pool.tie_keys(0))])
    return len(cut_rows(pool, order, budget, order)) - len(kept)


def seed_size(said: str, name: str, pool_rows: int, budget_rows: int, share: Fraction) -> int:
    """Return how many rows to draw.

    Args:
        said: a number, a percentage of the pool, or `auto`: `share` of the pool, and at most half
            of the budget.
        name: of the parameter, for messages.
        pool_rows: rows of the pool that can be chosen.
        budget_rows: rows of the budget.
        share: see `said`.

    Raises:
        InputError: no such number, or the budget is not larger.
    """
    if budget_rows < 2:
        raise InputError(
            f"a budget of {budget_rows:,} records leaves none to choose beside those drawn first.",
            fix="A budget of at least 2 records.",
        )
    if said == "auto":
        return max(1, min(int(share * pool_rows), budget_rows // 2))
    size = said_size(said, name, pool_rows)
    if not 0 < size < budget_rows:
        raise InputError(
            f"--set {name}={said} is {size:,} of a budget of {budget_rows:,} records.",
            fix=f"It must leave some to choose: from 1 to {budget_rows - 1:,}, or a larger budget.",
        )
    return size


def said_size(said: str, name: str, rows: int) -> int:
    """Return how many rows a number or a percentage of them comes to.

    Args:
        said: as a user writes it.
        name: of the parameter, for the message.
        rows: what a percentage is of.

    Raises:
        InputError: it is neither.
    """
    try:
        wanted = Budget.parse(said)
    except InputError:
        wanted = Budget("", "tokens", Fraction(0))
    if wanted.unit not in ("rows", "fraction"):
        raise InputError(f"--set {name}={said}: a number, a percentage or auto was expected.")
    return int(wanted.amount * (rows if wanted.unit == "fraction" else 1))


def marked_size(size: int, column: str, budget_rows: int) -> None:
    """Raise `InputError` where rows marked with `--signals` leave no budget, or are none.

    Args:
        size: rows marked.
        column: that marks them.
        budget_rows: rows of the budget.
    """
    if not 0 < size < budget_rows:
        raise InputError(
            f"{column} of --signals marks {size:,} of a budget of {budget_rows:,} records.",
            fix=f"Mark from 1 to {max(budget_rows - 1, 1):,} records, or choose a larger budget.",
        )


def drawn(
    pool: Pool, rows: IntArray, size: int, labels: Labelled, seed: int, purpose: bytes
) -> IntArray:
    """Return `size` random rows in key order, groups by their share.

    Args:
        pool: what rows refer to.
        rows: (n,) rows to draw from.
        size: at most n.
        labels: the group of each row; one group for a plain draw.
        seed: of the draw.
        purpose: keeps this draw apart from all others.
    """
    sizes = np.bincount(labels.of, minlength=len(labels.labels))
    quota = allocate(size, sizes, sizes)
    return drawn_by_quota(pool, rows, labels.of, quota, seed, purpose)


def drawn_by_quota(
    pool: Pool, rows: IntArray, of: IntArray, quota: IntArray, seed: int, purpose: bytes
) -> IntArray:
    """Return rows in key order, so many of each group at random.

    Args:
        pool: what rows refer to.
        rows: (n,) rows to draw from.
        of: (n,) group of each.
        quota: (G,) rows of each group, at most what it has.
        seed: of the draw.
        purpose: keeps this draw apart from all others.
    """
    keys = pool.tie_keys(seed, purpose)
    seats = np.repeat(np.arange(len(quota), dtype=np.int32), quota)
    return by_key(rows[fill_seats(seats, of, keys[rows])], keys)

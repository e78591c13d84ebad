"""How far down a ranking of rows a budget reaches; kept rows stand first and count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InfeasibleBudget, InputError
from visift.methods.ranking import new_images
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.signals.tokens import TextTokens, estimated_tokens

IntArray = NDArray[np.int64]


def row_tokens(pool: Pool, budget: Budget) -> IntArray:
    """Return (N,) tokens of every row as a budget counts them.

    Those of the text are as priced, else estimated at one for every four bytes of UTF-8; an image
    counts as many as the budget says, none by default.
    """
    text = estimated_tokens(pool) if budget.costs is None else budget.costs
    return np.asarray(text + budget.image_tokens * np.diff(pool.images.offsets))


def ask_tokens(pool: Pool, lab: Lab, model: ModelRef | None, budget: Budget) -> Measured | None:
    """Ask for exact tokens where a budget counts them and a tokeniser or `--signals` knows them."""
    if budget.unit != "tokens" or (model is None and not lab.given("text_tokens")):
        return None
    rows = np.concatenate([pool.rows("kept"), pool.rows("candidate")])
    return lab.measure(TextTokens(model), Examples(np.sort(rows)))


def priced(pool: Pool, budget: Budget, tokens: Measured | None) -> Budget:
    """Return a budget in tokens with those of every row; any other budget as it is.

    Rows that nobody counted are estimated: numbers handed in for a pool know nothing of `--keep`.
    """
    if budget.unit != "tokens" or budget.costs is not None:
        return budget
    costs = estimated_tokens(pool)
    if tokens is not None:
        rows = np.flatnonzero(pool.offered)
        rows = rows[tokens.ok(rows)]
        costs[rows] = tokens.take("text_tokens", rows)
    return budget.priced(costs)


def row_costs(pool: Pool, order: IntArray, budget: Budget) -> IntArray:
    """Return what each row of a ranking adds, in the unit of the budget."""
    if budget.unit == "images":
        return new_images([pool.images.of_row(row) for row in order.tolist()])
    if budget.unit == "tokens":
        return row_tokens(pool, budget)[order]
    return np.ones(len(order), np.int64)


def limit_of(pool: Pool, rows: IntArray, budget: Budget) -> int:
    """Return how many rows, images or tokens a budget allows of some usable rows.

    Args:
        pool: what rows refer to.
        rows: all rows that can be selected, kept ones included.
        budget: the budget.

    Raises:
        InfeasibleBudget: nothing, more than there is, or less than the kept rows alone; tokens
            that are still to be counted refuse nothing.
    """
    kept = pool.rows("kept")
    images = len(pool.images.of_rows(rows)) if budget.unit == "images" else 0
    tokens = int(row_tokens(pool, budget)[rows].sum()) if budget.unit == "tokens" else 0
    if not budget.counted:
        tokens = max(tokens, int(budget.amount))
    limit = budget.limit(len(rows), images, tokens, len(kept))
    held = int(row_costs(pool, kept, budget).sum())
    if held > limit and budget.counted:
        what, suffix = _nouns(budget)
        noun = what[:-1] if limit == 1 else what
        raise InfeasibleBudget(
            f"Budget {budget.text} is {limit:,} {noun}, fewer than the {held:,} of --keep.",
            fix=f"Smallest: {held}{suffix}, which adds nothing to them.",
        )
    return limit


def must_have_budget(budget: Budget | None) -> Budget:
    """Return the budget; raises `InputError` if there is none."""
    if budget is None:
        raise InputError("this method needs a budget.", fix="For example: --budget 15%")
    return budget


def cut_rows(
    pool: Pool, order: IntArray, budget: Budget | None, rows: IntArray | None = None
) -> IntArray:
    """Return the longest prefix of a ranking that a budget allows.

    Args:
        pool: what rows refer to.
        order: rows in rank order, kept ones first.
        budget: the budget.
        rows: all usable rows, of which a share is meant; those of `order` by default.

    Raises:
        InputError: no budget was given.
        InfeasibleBudget: see `limit_of`; or the ranking ends before the budget does, because
            groups are capped.
    """
    budget = priced(pool, must_have_budget(budget), None)
    limit = limit_of(pool, order if rows is None else rows, budget)
    costs = row_costs(pool, order, budget)
    if rows is not None and len(order) < len(rows) and costs.sum() < limit:
        raise InfeasibleBudget(
            f"Budget {budget.text} is {limit:,}, but the caps of the groups allow {costs.sum():,}.",
            fix=f"Ask for at most {costs.sum()}, or raise them: --set max=…",
        )
    return order[: fitting(budget, costs, limit)]


def fitting(budget: Budget, costs: IntArray, limit: int) -> int:
    """Return how many leading items a budget allows, see `Budget.cut`.

    Raises:
        InfeasibleBudget: not even the first.
    """
    count = budget.cut(costs, limit)
    if len(costs) and not count:
        what, suffix = _nouns(budget)
        first = int(costs[0])
        raise InfeasibleBudget(
            f"Budget {budget.text} selects nothing: what ranks first is {first:,} {what}.",
            fix=f"Smallest: {first}{suffix}.",
        )
    return count


def _nouns(budget: Budget) -> tuple[str, str]:
    """Return what a budget counts, and what follows its number as it is written."""
    named = budget.unit in ("images", "tokens")
    return (budget.unit, f"-{budget.unit}") if named else ("records", "")

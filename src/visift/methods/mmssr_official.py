"""mmSSR's own sampling order where it differs from ours, for parity tests (`compat=official`).

Rows are sorted by score, and bins by size, with pandas' default sort, which keeps no order among
equals: the same rows come only with the same pandas, the same processor and rows in the same
order. Written from a description of what the program does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InfeasibleBudget, InputError
from visift.methods.mmssr_sampling import Bins, Picked, Queue, Sample, pick, sample

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]


def official_rows(budget: Budget, rows: int) -> int:
    """Return int(N ratio) in floating point: 100 times 0.29 is 28.

    Args:
        budget: a share or a number of rows.
        rows: N.

    Raises:
        InputError: the budget counts something else.
        InfeasibleBudget: see `Budget.limit`.
    """
    if budget.unit not in ("fraction", "rows"):
        raise InputError(f"a budget of {budget.text} under compat=official.", fix="Say 10%.")
    limit = budget.limit(rows)
    return int(rows * float(budget.amount)) if budget.unit == "fraction" else limit


def official_sample(
    n: int, scores: Sequence[Float], names: Sequence[str], thr: float, bins: Bins, *, exact: bool
) -> Sample:
    """Return the rows that the program picks, capabilities in the order given.

    Args:
        n: rows wanted.
        scores: (m,) of every capability, NaN for none.
        names: of the capabilities.
        thr: rows must score more.
        bins: of the rows.
        exact: whether picks beyond n are given back; the program keeps them.

    Raises:
        InputError: pandas is not installed.
        InfeasibleBudget: a capability has no row left; the program stops there.
    """
    pandas = _pandas()

    def serve(sizes: IntArray) -> IntArray:
        there = np.flatnonzero(sizes)
        return _numbers(pandas.Series(sizes[there], index=there).sort_values().index)

    def take(c: int, free: NDArray[np.bool_], q: int) -> Picked:
        queue = _queue(pandas, scores[c], thr, bins, free)
        if not len(queue.rows):
            raise InfeasibleBudget(
                f"no record is left for {names[c]}, and the official program stops there.",
                fix="Leave out compat=official, or the capability (--set capabilities=…).",
            )
        return pick(queue, free, q, serve)

    return sample(n, len(bins.kind), len(scores), take, exact=exact)


def _queue(pandas: Any, score: Float, thr: float, bins: Bins, free: NDArray[np.bool_]) -> Queue:
    """Return the free rows of a capability in the order of an unstable sort."""
    rows = np.flatnonzero(free & (score > thr))
    # The sort of whole numbers orders equals otherwise than that of floats, which a gap makes them.
    values = score[rows].astype(np.float64 if np.isnan(score).any() else np.int64)
    frame = pandas.DataFrame({"score": values}, index=rows)
    order = _numbers(frame.sort_values("score", ascending=False).index)
    by_rank = score[order]
    changes = np.zeros(len(order), bool)
    changes[1:] = by_rank[1:] != by_rank[:-1]
    return Queue.of(bins, order, np.cumsum(changes))


def _numbers(index: Any) -> IntArray:
    return np.asarray(index, np.int64)


def _pandas() -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise InputError(
            "compat=official sorts as pandas does.", fix="pip install pandas"
        ) from None
    return pandas

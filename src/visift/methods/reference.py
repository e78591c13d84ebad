"""The reference of PreSel: random rows of every task, for which instructions are bought."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.methods.grouping import Labelled
from visift.methods.seeds import drawn_by_quota, seed_size
from visift.numerics.allocate import allocate
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]

#: Reference rows that a task has at least, if it has them and the budget allows [ours].
LEAST_ROWS = 20
#: A third of the budget is the most that `auto` spends on the reference [ours].
_MOST = 3


def draw_reference(
    pool: Pool, rows: IntArray, tasks: Labelled, budget_rows: int, said: str, seed: int
) -> IntArray:
    """Return reference rows, in key order: about the same share of every task.

    Args:
        pool: what rows refer to.
        rows: (n,) rows to draw from.
        tasks: the task of each.
        budget_rows: rows of the whole budget.
        said: a share such as 5%, a number, or `auto`: 5 %, at most a third of the budget.
        seed: of the draw.

    Raises:
        InputError: no such number, or the budget is not larger.
    """
    share = min(Fraction(1, 20), Fraction(budget_rows, _MOST * max(len(rows), 1)))
    size = seed_size(said, "ref_ratio", len(rows), budget_rows, share)
    sizes = np.bincount(tasks.of, minlength=len(tasks.labels))
    floors = np.minimum(sizes, LEAST_ROWS)
    if said == "auto":
        size = max(size, min(int(floors.sum()), budget_rows // _MOST))
    quota = allocate(size, sizes, sizes, floors)
    return drawn_by_quota(pool, rows, tasks.of, quota, seed, b"reference")

"""Rows in cells that share a budget, cells in parts that share it first: who comes when.

The outer order says whose turn it is, the cells of that part which of them, and the draw which
row. None of the three depends on the budget, so that every budget is a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.methods.entrants import Entrants
from visift.methods.grouping import Labelled
from visift.methods.ranking import fill_seats, seats_left
from visift.numerics.groups import Weights
from visift.numerics.seats import seat_order

IntArray = NDArray[np.int64]

#: Group of the rows that are in whatever the cells say.
ALWAYS = "always in"


@dataclass(frozen=True, slots=True)
class Cells:
    """The rows of one part, in cells.

    Attributes:
        rows: (n,) rows of the pool.
        of: (n,) cell of each.
        names: (C,) of the cells.
        weights: (C,) what shares the budget of the part over them.
    """

    rows: IntArray
    of: IntArray
    names: tuple[str, ...]
    weights: Sequence[Fraction]

    def in_turn(self, draw: NDArray[np.uint64]) -> IntArray:
        """Return the rows in the order in which they are drawn.

        Args:
            draw: (N,) order of the rows inside a cell.
        """
        seats = seat_order(self.weights, np.bincount(self.of, minlength=len(self.names)))
        return self.rows[fill_seats(seats, self.of, draw[self.rows])]


def in_turns(parts: Sequence[IntArray], held: IntArray, weights: Weights | None = None) -> IntArray:
    """Return the rows of all parts in one order, parts in turn by their weight.

    Args:
        parts: the rows of each, in their own order.
        held: seats of each part that rows which are in anyway fill.
        weights: of the parts; their sizes by default.
    """
    sizes = np.array([len(part) for part in parts], np.int64) + held
    seats = seats_left(seat_order(sizes if weights is None else weights, sizes), held)
    order = np.empty(len(seats), np.int64)
    for number, part in enumerate(parts):
        order[seats == number] = part
    return order


def entrants(always: IntArray, cells: Sequence[Cells], keys: NDArray[np.uint64]) -> Entrants:
    """Return all rows with the cells they compete in.

    Args:
        always: rows that are in anyway; they stand in a group of their own.
        cells: of every part.
        keys: (N,) tie keys.
    """
    names = (*(name for part in cells for name in part.names), ALWAYS)
    starts = np.cumsum([0, *(len(part.names) for part in cells)])
    of = [part.of + start for part, start in zip(cells, starts.tolist(), strict=False)]
    last = np.full(len(always), len(names) - 1, np.int64)
    rows = [np.empty(0, np.int64), *(part.rows for part in cells)]
    return Entrants(
        always, np.concatenate(rows), Labelled(names, np.concatenate([last, *of])), keys
    )

"""Measured values as a method reads them: by pool row, in blocks, never all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visift.engine.store import Part
from visift.signals.signal import Column

#: Rows a block holds when values are read, whatever the part files look like.
BLOCK_ROWS = 1024

Rows = NDArray[np.int64]


class Measured(Protocol):
    """The values of one signal for the rows that were asked for.

    The value of a row under an image signal is the mean over its distinct images.
    """

    def ok(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows have a value."""
        ...

    def reasons(self, rows: Rows) -> list[str | None]:
        """Return why a row has no value; None where it has one."""
        ...

    def take(self, column: str, rows: Rows) -> NDArray[Any]:
        """Return the values of rows that are `ok`, (n, *shape), in the order given."""
        ...

    def blocks(self, column: str, rows: Rows) -> Iterator[NDArray[Any]]:
        """Yield `take(column, rows)` in order, `BLOCK_ROWS` rows at a time."""
        ...


class ItemValues(Protocol):
    """Values by item, wherever they lie.

    Attributes:
        fine: (I,) which items have a value.
    """

    @property
    def fine(self) -> NDArray[np.bool_]:
        """(I,) which items have a value."""
        ...

    def why(self, item: int) -> str:
        """Return why an item has no value; -1 is an item that does not exist."""
        ...

    def gather(self, column: str, items: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of items that are fine, (n, *shape)."""
        ...


@dataclass(frozen=True, slots=True)
class ByRow:
    """Values by item, read by row: a row's value is the mean over its items.

    Attributes:
        values: the items.
        starts: (N + 1,) int64; the items of pool row n are `flat[starts[n]:starts[n + 1]]`.
        flat: int64 items, those of a row distinct, -1 for one that does not exist.
    """

    values: ItemValues
    starts: NDArray[np.int64]
    flat: NDArray[np.int64]

    def ok(self, rows: Rows) -> NDArray[np.bool_]:
        """See `Measured.ok`."""
        counts = self.starts[rows + 1] - self.starts[rows]
        items = self._items(rows)
        bad = items < 0
        bad[~bad] = ~self.values.fine[items[~bad]]
        upto = np.concatenate([[0], np.cumsum(bad)])
        ends = np.cumsum(counts)
        return np.asarray((upto[ends] == upto[ends - counts]) & (counts > 0))

    def _items(self, rows: Rows) -> NDArray[np.int64]:
        """Return the items of some rows, row after row."""
        counts = self.starts[rows + 1] - self.starts[rows]
        before = np.cumsum(counts) - counts
        at = np.repeat(self.starts[rows] - before, counts) + np.arange(int(counts.sum()))
        return self.flat[at]

    def reasons(self, rows: Rows) -> list[str | None]:
        """See `Measured.reasons`."""
        fine = self.ok(rows)
        return [None if ok else self._why(int(r)) for ok, r in zip(fine, rows, strict=True)]

    def _why(self, row: int) -> str:
        items = self.flat[self.starts[row] : self.starts[row + 1]]
        bad = (int(i) for i in items if i < 0 or not self.values.fine[i])
        return self.values.why(next(bad, -1))

    def take(self, column: str, rows: Rows) -> NDArray[Any]:
        """See `Measured.take`."""
        counts = self.starts[rows + 1] - self.starts[rows]
        values = self.values.gather(column, self._items(rows))
        if bool((counts == 1).all()):
            return values
        return _means(values, counts)

    def blocks(self, column: str, rows: Rows) -> Iterator[NDArray[Any]]:
        """See `Measured.blocks`."""
        for start in range(0, len(rows), BLOCK_ROWS):
            yield self.take(column, rows[start : start + BLOCK_ROWS])


def _means(values: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of each row's values, float64; most rows have only one, which costs no sum.

    Args:
        values: of the rows' items, row after row.
        counts: items of each row, at least one.
    """
    starts = np.cumsum(counts) - counts
    means = values[starts].astype(np.float64)
    several = np.flatnonzero(counts > 1)
    number = counts[several]
    before = np.cumsum(number) - number
    items = np.repeat(starts[several] - before, number) + np.arange(int(number.sum()))
    sums = np.add.reduceat(values[items].astype(np.float64), before, axis=0)
    means[several] = sums / number.reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray(means)


@dataclass(frozen=True, slots=True)
class StoredItems:
    """Items in a store, read through memory maps (see `ItemValues`).

    Attributes:
        columns: of the signal.
        parts: the files that hold them.
        places: (I, 2) int64, part and row of each item, (-1, -1) where it was not asked for.
        failures: by item, why it has no value.
        fine: (I,) see `ItemValues.fine`.
    """

    columns: tuple[Column, ...]
    parts: list[Part]
    places: NDArray[np.int64]
    failures: dict[int, str]
    fine: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        columns: tuple[Column, ...],
        parts: list[Part],
        places: NDArray[np.int64],
        failures: dict[int, str],
    ) -> StoredItems:
        """Put stored items together; the arguments are the attributes."""
        fine = places[:, 0] >= 0
        fine[list(failures)] = False
        return cls(columns, parts, places, failures, fine)

    def why(self, item: int) -> str:
        """See `ItemValues.why`."""
        return self.failures.get(item, "not asked for")

    def gather(self, column: str, items: NDArray[np.int64]) -> NDArray[Any]:
        """See `ItemValues.gather`; a whole run of one part is a view of the file."""
        wanted = next(c for c in self.columns if c.name == column)
        parts, places = self.places[items, 0], self.places[items, 1]
        order = np.argsort(parts, kind="stable")
        used, first = np.unique(parts[order], return_index=True)
        if len(used) == 1:
            values = self.parts[used[0]].values(wanted)
            run = slice(int(places[0]), int(places[0]) + len(places))
            return np.asarray(values[run if bool((np.diff(places) == 1).all()) else places])
        mine_of = np.split(order, first[1:])
        pieces = [(m, self.parts[p].values(wanted)) for m, p in zip(mine_of, used, strict=False)]
        dtype = np.result_type(*(values.dtype for _, values in pieces)) if pieces else np.float64
        shape = pieces[0][1].shape[1:] if pieces else ()
        out = np.empty((len(items), *shape), dtype)
        for mine, values in pieces:
            out[mine] = values[places[mine]]
        return out

"""Numbers measured elsewhere, handed in with `--signals FILE` (parquet).

A file names its items in one column, `row` (0-based), `uid` or `image`, and holds values in any
others. A signal whose columns are all there is not measured, and needs no model.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.errors import InputError
from visift.files import disk_errors
from visift.pool.pool import Pool
from visift.signals.imported_keys import is_text, read_keys, rows_by_image, rows_by_record
from visift.signals.signal import Column, Unit
from visift.signals.texts import encoded

Key = Literal["row", "uid", "image"]
KEYS: tuple[Key, ...] = ("row", "uid", "image")
NO_VALUE = "no value in --signals"
_BATCH_ROWS = 4096
#: Values beyond this many bytes do not stay in memory.
_HELD_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class SignalFile:
    """One parquet file of values.

    Attributes:
        path: the file.
        key: the column that names the items.
        columns: names of the value columns.
    """

    path: Path
    key: Key
    columns: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path) -> SignalFile:
        """Look at a file's columns.

        Raises:
            InputError: not a parquet file, or without exactly one key column.
        """
        with _readable(Path(path)):
            names = pq.read_schema(path).names
        keys = [key for key in KEYS if key in names]
        if len(keys) != 1:
            raise InputError(
                f"has {len(keys)} key columns, exactly one of row, uid, image was expected.",
                where=str(path),
                fix=f"Its columns are: {', '.join(names)}.",
            )
        return cls(Path(path), keys[0], tuple(name for name in names if name not in KEYS))


@dataclass(frozen=True, slots=True)
class ImportedItems:
    """The rows of a `--signals` file as items (see `engine.measured.ItemValues`).

    Attributes:
        columns: by name, (F, *shape) values.
        fine: (F,) which rows of the file hold a value in every column.
    """

    columns: dict[str, NDArray[Any]]
    fine: NDArray[np.bool_]

    def why(self, item: int) -> str:
        """Return why an item has no value."""
        del item
        return NO_VALUE

    def gather(self, column: str, items: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of items, (n, *shape)."""
        return self.columns[column][items]


@dataclass(frozen=True, slots=True)
class Answer:
    """Imported values and the file rows of each pool row (see `engine.measured.ByRow`)."""

    values: ImportedItems
    starts: NDArray[np.int64]
    flat: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Imported:
    """All files of a run; see `giving`."""

    files: tuple[SignalFile, ...] = ()

    def holds(self, *columns: str) -> bool:
        """Return whether one file has all of some columns."""
        return any(set(columns) <= set(file.columns) for file in self.files)

    def giving(self, wanted: Sequence[Column]) -> SignalFile | None:
        """Return the file that gives a signal's columns, if one has all but extra ones.

        Of several the one with the most extra ones, then the first.
        """
        every = {column.name for column in wanted}
        names = {column.name for column in wanted if not column.extra}
        having = [file for file in self.files if names <= set(file.columns)]
        return max(having, key=lambda file: len(every & set(file.columns)), default=None)

    def answer(
        self, pool: Pool, wanted: Sequence[Column], unit: Unit, folder: Path | None = None
    ) -> Answer | None:
        """Return the values of a signal's columns, or None if no file has all of them.

        Args:
            pool: what the keys refer to.
            wanted: the signal's columns.
            unit: under `image`, rows that show the same images share the value of the first.
            folder: where values that are too many for memory lie meanwhile; by default where
                temporary files do.

        Raises:
            InputError: a key that is not in the pool or is there twice, or values that are not
                numbers, or lists where the signal has single ones (or the reverse).
            StorageError: there is no room for the values in `folder`.
        """
        file = self.giving(wanted)
        if file is None:
            return None
        with _readable(file.path):
            source = pq.ParquetFile(file.path, memory_map=True, pre_buffer=False)
            keys = read_keys(file, source)
            there = [column for column in wanted if column.name in file.columns]
            columns, fine = _columns(file, source, there, folder)
        if file.key == "image":
            starts, flat = rows_by_image(pool, file, keys)
        else:
            starts, flat = rows_by_record(pool, file, keys, unit)
        return Answer(ImportedItems(columns, fine), starts, flat)

    def marked(self, pool: Pool, name: str) -> NDArray[np.int64] | None:
        """Return the rows that a column of true and false names, ascending; None without one.

        Args:
            pool: what the keys refer to.
            name: of the column, `is_seed` or `is_reference`; numbers count as true unless 0.

        Raises:
            InputError: as `answer`; or keys that name images.
        """
        file = next((one for one in self.files if name in one.columns), None)
        if file is None:
            return None
        with _readable(file.path):
            source = pq.ParquetFile(file.path)
            keys = read_keys(file, source)
            column = source.read([name])[name].combine_chunks()
        where = f"{file.path}, column {name}"
        if file.key == "image":
            raise InputError("marks records, and is keyed by image.", where=where, fix="Use uid.")
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        true = _flat_numbers(column, where) != 0
        _, flat = rows_by_record(pool, file, keys, "record")
        return np.flatnonzero((flat >= 0) & true[flat])


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow says of a damaged file into an `InputError`."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(
            "not a readable parquet file (there is no such file).",
            where=str(path),
            fix="Check --signals.",
        ) from None
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"not a readable parquet file ({reason}).", where=str(path), fix="Check --signals."
        ) from None


# --- values ----------------------------------------------------------------------------------


def _columns(
    file: SignalFile, source: pq.ParquetFile, wanted: Sequence[Column], folder: Path | None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Read columns batch by batch; returns them, and which rows hold a value in all of them."""
    names = [column.name for column in wanted]
    for column in wanted:
        _same_rank(column, source.schema_arrow.field(column.name).type, file)
    columns: dict[str, NDArray[Any]] = {}
    fine = np.ones(source.metadata.num_rows, bool)
    at = 0
    for batch in source.iter_batches(_BATCH_ROWS, columns=list(names)):
        here = slice(at, at + len(batch))
        at += len(batch)
        for column in wanted:
            name = column.name
            values, valid = _values(column, batch.column(name), f"{file.path}, column {name}")
            fine[here] &= valid
            if values.ndim > 1 and not valid.any():
                continue
            if name not in columns:
                columns[name] = _room((len(fine), *values.shape[1:]), values.dtype, folder)
            _same_width(file, name, columns[name], values)
            columns[name][here] = values
    empty = {c.name: np.zeros((len(fine), *(0 for _ in c.shape))) for c in wanted}
    return {**empty, **columns}, fine


def _room(shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path | None) -> NDArray[Any]:
    """Return zeros to be filled: in memory, or where they are many in a file without a name.

    The system takes the pages of that file back whenever it wants to, and the file goes with the
    array, however the program ends.

    Raises:
        StorageError: the disk is full.
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= _HELD_BYTES:
        return np.zeros(shape, dtype)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    with disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk would kill the program later
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "w+", shape=shape)


def _same_rank(column: Column, kind: pa.DataType, file: SignalFile) -> None:
    """Raise `InputError` for lists where a signal has single numbers, and the reverse."""
    if column.text:
        return
    rank = 0
    while _is_list(kind):
        rank, kind = rank + 1, kind.value_type
    if rank != len(column.shape):
        words = {0: "single numbers", 1: "lists of numbers"}
        raise InputError(
            f"holds {words.get(rank, 'lists of lists')}, "
            f"{words.get(len(column.shape), 'lists of lists')} were expected.",
            where=f"{file.path}, column {column.name}",
            fix="Check --signals.",
        )


def _values(column: Column, array: pa.Array, where: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of a column in one batch, and which rows have one, see `Column`."""
    if column.text:
        held, valid = _texts(array, int(column.shape[0] or 0), where)
        return held, np.ones(len(array), bool) if column.missing else valid
    values, valid = _numbers(array, where)
    if not column.missing:
        return values, valid
    plain = values.astype(np.float64) if values.dtype.kind in "iu" else values
    return np.where(_along(valid, plain), plain, np.nan), np.ones(len(array), bool)


def _along(rows: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of rows in a shape that fits their values."""
    return rows.reshape(-1, *([1] * (values.ndim - 1)))


def _texts(array: pa.Array, width: int, where: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return texts, or lists of them joined by a comma, as bytes, and which rows have one.

    Raises:
        InputError: something else, or a text that is too long.
    """
    listed = _is_list(array.type)
    if not is_text(array.type.value_type if listed else array.type):
        raise InputError(f"holds {array.type}, texts or lists of them were expected.", where=where)
    said = [
        None if one is None else ", ".join(filter(None, one)) if listed else one
        for one in array.to_pylist()
    ]
    longest = max((len(one.encode()) for one in said if one is not None), default=0)
    if longest > width:
        raise InputError(f"a text of {longest} bytes, at most {width} were expected.", where=where)
    return encoded([one or "" for one in said], width), np.array([one is not None for one in said])


def _numbers(array: pa.Array, where: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return numbers, or equally long lists of them as (n, d), and which rows are whole.

    Raises:
        InputError: something else.
    """
    valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), bool)
    if not _is_list(array.type):
        values = _flat_numbers(array, where)
        return values, valid & np.isfinite(values)
    lists = array.drop_null()
    lengths = np.unique(lists.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise _ragged(where, int(lengths[0]), int(lengths[-1]))
    inside = lists.flatten()
    held = _flat_numbers(inside, where).reshape(len(lists), int(lengths[0]) if len(lengths) else 0)
    there = np.asarray(inside.is_valid().to_numpy(zero_copy_only=False), bool)
    whole = np.isfinite(held).all(axis=1) & there.reshape(held.shape).all(axis=1)
    out = np.zeros((len(array), held.shape[1]), held.dtype)
    out[valid] = held
    valid[valid] = whole
    return out, valid


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _flat_numbers(array: pa.Array, where: str) -> NDArray[Any]:
    kind = array.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise InputError(f"holds {kind}, numbers were expected.", where=where)
    return np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False))


def _same_width(file: SignalFile, name: str, so_far: NDArray[Any], now: NDArray[Any]) -> None:
    if so_far.shape[1:] != now.shape[1:]:
        widths = sorted((so_far.shape[1], now.shape[1]))
        raise _ragged(f"{file.path}, column {name}", *widths)


def _ragged(where: str, shortest: int, longest: int) -> InputError:
    return InputError(
        f"lists of {shortest} to {longest} numbers.",
        where=where,
        fix="All lists of a column must have one length.",
    )

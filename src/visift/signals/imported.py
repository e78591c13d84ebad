"""Numbers measured elsewhere, handed in with `--signals FILE` (parquet).

A file names its items in one column, `row` (0-based), `uid` or `image`, and holds values in any
others. A signal whose columns are all there is not measured, and needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.errors import InputError
from visift.pool.pool import Pool
from visift.signals.signal import Unit

Key = Literal["row", "uid", "image"]
KEYS: tuple[Key, ...] = ("row", "uid", "image")
NO_VALUE = "no value in --signals"


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
        try:
            names = pq.read_schema(path).names
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(
                f"not a readable parquet file ({error}).", where=str(path), fix="Check --signals."
            ) from None
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
    """Imported values and the file rows that belong to each pool row (see `engine.measured.ByRow`)."""

    values: ImportedItems
    starts: NDArray[np.int64]
    flat: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Imported:
    """All files of a run; the first that has the columns gives them."""

    files: tuple[SignalFile, ...] = ()

    def answer(self, pool: Pool, names: Sequence[str], unit: Unit) -> Answer | None:
        """Return the values of a signal's columns, or None if no file has all of them.

        Args:
            pool: what the keys refer to.
            names: the signal's columns.
            unit: under `image`, rows that show the same images share the value of the first.

        Raises:
            InputError: a key beyond the pool, or values that are not numbers.
        """
        file = next((f for f in self.files if set(names) <= set(f.columns)), None)
        if file is None:
            return None
        table = pq.read_table(file.path, columns=[file.key, *names])
        columns = {name: _array(table[name], f"{file.path}, column {name}") for name in names}
        fine = np.logical_and.reduce([_finite(table[n], columns[n]) for n in names])
        keys = table[file.key].to_pylist()
        if file.key == "image":
            starts, flat = _by_image(pool, keys)
        else:
            starts, flat = _by_row(pool, file, keys, unit)
        return Answer(ImportedItems(columns, fine), starts, flat)


def _array(column: pa.ChunkedArray, where: str) -> NDArray[Any]:
    """Return a column of numbers or of equally long lists of numbers; nulls become zeros."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    kind = array.type
    if not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        return _numbers(array, where)
    lengths = np.unique(array.drop_null().value_lengths().to_numpy())
    if len(lengths) > 1:
        raise InputError(
            f"lists of {lengths[0]} to {lengths[-1]} numbers.",
            where=where,
            fix="All lists of a column must have one length.",
        )
    width = int(lengths[0]) if len(lengths) else 0
    held = _numbers(array.drop_null().flatten(), where).reshape(-1, width)
    out = np.zeros((len(array), width), held.dtype)
    out[np.asarray(array.is_valid())] = held
    return out


def _numbers(array: pa.Array, where: str) -> NDArray[Any]:
    kind = array.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise InputError(f"holds {kind}, numbers were expected.", where=where)
    return np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False))


def _finite(column: pa.ChunkedArray, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows are neither null nor contain NaN or infinity."""
    finite = np.isfinite(values)
    whole = finite if finite.ndim == 1 else finite.all(axis=1)
    valid = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)
    return np.asarray(valid & whole)


def _by_row(
    pool: Pool, file: SignalFile, keys: list[Any], unit: Unit
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One file row a pool row; under an image signal, that of the first row of the image group."""
    all_rows = np.arange(len(pool))
    row_of = dict(zip(pool.uids(all_rows), all_rows, strict=True)) if file.key == "uid" else None
    flat = np.full(len(pool), -1, np.int64)
    for place, key in enumerate(keys):
        row = key if row_of is None else row_of.get(key, -1)
        if row is None or not 0 <= row < len(pool):
            raise InputError(
                f"{file.key} {key!r} is not in the pool of {len(pool):,} records.",
                where=str(file.path),
                fix="Rows are 0-based; uids look like pool.json#12.",
            )
        flat[row] = place
    if unit == "image":
        groups = pool.groups("image").of_row
        shown = groups >= 0
        _, first, inverse = np.unique(groups[shown], return_index=True, return_inverse=True)
        flat[shown] = flat[shown][first][inverse]
    return np.arange(len(pool) + 1), flat


def _by_image(pool: Pool, keys: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The file rows of a pool row's images, by path as the records write it."""
    place_of = {path: place for place, path in enumerate(keys)}
    images = pool.images
    by_id = np.array([place_of.get(ref.path, -1) for ref in images.refs] or [-1], np.int64)
    return images.offsets, np.where(images.flat < 0, -1, by_id[images.flat])

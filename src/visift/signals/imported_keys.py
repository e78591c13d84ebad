"""Which rows and images of a pool a `--signals` file speaks of: its key column, looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.errors import InputError
from visift.pool.pool import Pool
from visift.signals.signal import Unit

if TYPE_CHECKING:
    from visift.signals.imported import SignalFile


def read_keys(file: SignalFile, source: pq.ParquetFile) -> pa.Array:
    """Read the key column: whole numbers for `row`, text for the others, each once.

    Raises:
        InputError: another type, an empty key, or one that occurs twice.
    """
    column = source.read([file.key])[file.key]
    wanted = pa.int64() if file.key == "row" else pa.string()
    fits = pa.types.is_integer if file.key == "row" else is_text
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not fits(column.type):
        kind = "whole numbers were" if file.key == "row" else "text was"
        raise InputError(
            f"column {file.key} holds {column.type}, {kind} expected.", where=str(file.path)
        )
    if column.null_count:
        raise InputError(f"column {file.key} has empty cells.", where=str(file.path))
    keys = column.cast(wanted).combine_chunks()
    counts = pc.value_counts(keys)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise InputError(
            f"{file.key} {twice[0].as_py()!r} occurs more than once.", where=str(file.path)
        )
    return keys


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def rows_by_record(
    pool: Pool, file: SignalFile, keys: pa.Array, unit: Unit
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One file row a pool row; under an image signal, that of the first row of the image group."""
    if file.key == "row":
        rows = keys.to_numpy()
    else:
        uids = pa.array(pool.uids(np.arange(len(pool))), pa.string())
        rows = pc.index_in(keys, uids).fill_null(-1).to_numpy()
    beyond = np.flatnonzero((rows < 0) | (rows >= len(pool)))
    if len(beyond):
        raise _not_there(pool, file, keys, int(beyond[0]))
    flat = np.full(len(pool), -1, np.int64)
    flat[rows] = np.arange(len(rows))
    if unit == "image":
        groups = pool.groups("image").of_row
        shown = groups >= 0
        _, first, inverse = np.unique(groups[shown], return_index=True, return_inverse=True)
        flat[shown] = flat[shown][first][inverse]
    return np.arange(len(pool) + 1), flat


def rows_by_image(
    pool: Pool, file: SignalFile, keys: pa.Array
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The file rows of a pool row's images, by path as some record of the pool writes it."""
    written = pool.index["images"].combine_chunks().flatten()
    unknown = np.flatnonzero(~pc.is_in(keys, written).to_numpy(zero_copy_only=False))
    if len(unknown):
        raise _not_there(pool, file, keys, int(unknown[0]))
    images = pool.images
    place = pc.index_in(written, keys).fill_null(-1).to_numpy()
    named = (place >= 0) & (images.flat >= 0)
    pairs = np.unique(np.stack([place[named], images.flat[named]]), axis=1)
    again = np.flatnonzero(np.diff(pairs[0]) == 0)
    if len(again):
        raise InputError(
            f"image {keys[int(pairs[0, again[0]])].as_py()!r} is another one in each joined pool.",
            where=str(file.path),
            fix="Name the records instead: row or uid.",
        )
    by_id = np.full(len(images) + 1, -1, np.int64)  # the last one is for references not found
    by_id[pairs[1]] = pairs[0]
    offsets, flat = images.sets()
    return offsets, by_id[flat]


def _not_there(pool: Pool, file: SignalFile, keys: pa.Array, at: int) -> InputError:
    return InputError(
        f"{file.key} {keys[at].as_py()!r} is not in the pool of {len(pool):,} records.",
        where=str(file.path),
        fix="Rows are 0-based; uids look like pool.json#12; images are as records write them.",
    )

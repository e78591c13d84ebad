"""Exact duplicates: the same images, and the same conversation after NFC and white space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visift.pool.pool import Pool
from visift.pool.record import HASH_BYTES

Rows = NDArray[np.int64]


def exact_duplicates(
    pool: Pool, rows: Rows, keys: NDArray[np.uint64], before: Rows
) -> tuple[Rows, Rows]:
    """Return the rows that repeat another one, and for each the row that stays.

    Images are the same by key: path and size, or bytes where the pool hashes them. Of equal rows
    the one with the lowest tie key stays, but any of `before` stays before them.

    Args:
        pool: what rows refer to.
        rows: (n,) usable rows to look through.
        keys: (N,) tie keys.
        before: further rows, which stay and repeat nobody.

    Returns:
        Repeating rows, ascending, and the row that each of them repeats.
    """
    everything = np.concatenate([before, rows]).astype(np.int64)
    rank = np.repeat([0, 1], [len(before), len(rows)])
    said = _conversations(pool)[everything]
    shown = pool.images.sequence_of_row()[everything]
    order = np.lexsort((keys[everything], rank, said[:, 1], said[:, 0], shown))
    ordered = everything[order]
    same = (np.diff(shown[order]) == 0) & (np.diff(said[order], axis=0) == 0).all(axis=1)
    same = np.concatenate([np.zeros(min(1, len(order)), bool), same])
    stays = ordered[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))]
    repeats = same & (rank[order] == 1)
    by_row = np.argsort(ordered[repeats])
    return ordered[repeats][by_row], stays[repeats][by_row]


def _conversations(pool: Pool) -> NDArray[np.uint64]:
    """Return (N, 2), the hash of what every row says as two numbers."""
    column = pool.index["conversation"].combine_chunks()
    data = np.frombuffer(column.buffers()[1], np.uint8, offset=column.offset * HASH_BYTES)
    return data[: len(column) * HASH_BYTES].view("<u8").reshape(-1, 2)

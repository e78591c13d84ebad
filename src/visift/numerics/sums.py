"""Sums over more rows than fit into memory, the same to the last bit however the rows arrive.

Floating-point sums depend on their order, so rows are cut in fixed places, whatever blocks they
come in: first into chunks, then, group by group, into slabs small enough to stay in a core's
cache. A slab lies in one group, so that sums and products over it are those of a matrix and a
vector. Chunks are worked on side by side and what they give is added in order; BLAS runs on one
thread, because its sums depend on how many it uses.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

CHUNK_ROWS = 1024
SLAB_ROWS = 32
#: Two more than there are cores: they wait for the disk while the others compute.
THREADS = min(16, (os.cpu_count() or 1) + 2)

Array = NDArray[Any]
Float = NDArray[np.float64]
IntArray = NDArray[np.int64]
Result = TypeVar("Result")
#: What is computed from a slab: (group, numbers of its rows, (n, d) values, free to overwrite).
OfSlab = Callable[[int, IntArray, Float], Float]


def group_sums(blocks: Iterable[Array], group: IntArray, groups: int, term: OfSlab) -> Float:
    """Return (groups, d) float64: the sums over each group of what `term` gives for its slabs.

    Args:
        blocks: (n, d) arrays that, put together, are the N rows.
        group: (N,) group of each row, from 0 to groups - 1.
        groups: their number.
        term: a pure function; gives the (d,) sum of a slab.
    """

    def work(start: int, chunk: Array) -> list[tuple[int, Float]]:
        return [(g, term(g, rows, F)) for g, rows, F in slabs(chunk, group, start)]

    total = np.zeros((groups, 0))
    for parts in over_chunks(blocks, work):
        total = total if total.size else np.zeros((groups, len(parts[0][1])))
        for g, part in parts:
            total[g] += part
    return total


def row_values(blocks: Iterable[Array], group: IntArray, value: OfSlab) -> Float:
    """Return (N,) float64: what `value` gives for the n rows of each slab, in the rows' order.

    Args:
        blocks: as for `group_sums`.
        group: (N,) group of each row.
        value: a pure function; gives (n,) numbers for a slab.
    """
    out = np.zeros(len(group))

    def work(start: int, chunk: Array) -> None:
        for g, rows, F in slabs(chunk, group, start):
            out[rows] = value(g, rows, F)

    deque(over_chunks(blocks, work), maxlen=0)
    return out


def slabs(chunk: Array, group: IntArray, start: int) -> Iterator[tuple[int, IntArray, Float]]:
    """Yield (group, row numbers, float64 values) of up to `SLAB_ROWS` rows of one group.

    All values lie in the same memory, which fresh pages would be slower than: they are gone when
    the next slab comes.

    Args:
        chunk: (n, d), rows `start` to `start + n` of all.
        group: (N,) group of each row.
        start: number of its first row.
    """
    mine = group[start : start + len(chunk)]
    order = np.argsort(mine, kind="stable")
    changes = np.flatnonzero(np.diff(mine[order])) + 1
    room = np.empty((SLAB_ROWS, chunk.shape[1]))
    for first, last in pairwise([0, *changes.tolist(), len(chunk)]):
        for at in range(first, last, SLAB_ROWS):
            rows = order[at : min(at + SLAB_ROWS, last)]
            F = room[: len(rows)]
            F[:] = chunk[rows]
            yield int(mine[rows[0]]), start + rows, F


def over_chunks(blocks: Iterable[Array], work: Callable[[int, Array], Result]) -> Iterator[Result]:
    """Yield `work(number of the first row, chunk)` for every chunk, in order.

    Args:
        blocks: arrays whose first axes, put together, are the rows.
        work: a pure function; runs in another thread, with one BLAS thread.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
        pending: deque[Future[Result]] = deque()
        start = 0
        for chunk in in_chunks(blocks):
            pending.append(pool.submit(work, start, chunk))
            start += len(chunk)
            if len(pending) > THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def in_chunks(blocks: Iterable[Array], rows: int = CHUNK_ROWS) -> Iterator[Array]:
    """Cut blocks of any sizes into chunks of `rows` rows; only the last may be shorter."""
    rest: list[Array] = []
    held = 0
    for block in blocks:
        start = 0
        while start < len(block):
            piece = block[start : start + rows - held]
            start += len(piece)
            held += len(piece)
            rest.append(piece)
            if held == rows:
                yield _joined(rest)
                rest, held = [], 0
    if held:
        yield _joined(rest)


def _joined(pieces: list[Array]) -> Array:
    """Return pieces as one array; a single one as it is, so that a mapped file is not copied."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

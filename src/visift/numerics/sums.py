"""Sums over more rows than fit into memory, the same to the last bit however the rows arrive.

Floating-point sums depend on their order, so rows are first cut into chunks of a fixed size,
whatever blocks they come in; chunks may be worked on side by side, their results are added in
order. BLAS runs on one thread, because its sums depend on how many it uses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

CHUNK_ROWS = 256
#: Chunks in work at a time, on as many threads.
SIDE_BY_SIDE = 2

Array = NDArray[Any]
Float = NDArray[np.float64]
Result = TypeVar("Result")


def in_chunks(blocks: Iterable[Array], rows: int = CHUNK_ROWS) -> Iterator[Array]:
    """Cut blocks of any sizes into chunks of `rows` rows; only the last may be shorter."""
    rest: list[Array] = []
    held = 0
    for block in blocks:
        start = 0
        if held:
            start = min(rows - held, len(block))
            rest.append(block[:start])
            held += start
            if held == rows:
                yield np.concatenate(rest)
                rest, held = [], 0
        stop = start + (len(block) - start) // rows * rows
        for at in range(start, stop, rows):
            yield block[at : at + rows]
        if stop < len(block):
            rest.append(block[stop:])
            held += len(block) - stop
    if held:
        yield np.concatenate(rest)


def over_chunks(
    blocks: Iterable[Array], work: Callable[[int, Array], Result], rows: int = CHUNK_ROWS
) -> Iterator[Result]:
    """Yield `work(first row, chunk)` for every chunk, in order, computed side by side.

    Args:
        blocks: arrays whose first axes, put together, are the rows.
        work: a pure function; runs in another thread, with one BLAS thread.
        rows: chunk size.
    """
    with threadpool_limits(1), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        pending: deque[Future[Result]] = deque()
        start = 0
        for chunk in in_chunks(blocks, rows):
            pending.append(pool.submit(work, start, chunk))
            start += len(chunk)
            if len(pending) > SIDE_BY_SIDE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def group_sums(values: Float, group: NDArray[np.int64], weights: Float | None = None) -> Groups:
    """Return the groups present in a chunk and their sums of (weighted) rows.

    Args:
        values: (n, d) float64.
        group: (n,) group of each row.
        weights: (n,) factor of each row, 1 by default.

    Returns:
        (groups, sums): (k,) int64 ascending, (k, d) float64.
    """
    present, inverse = np.unique(group, return_inverse=True)
    share = np.zeros((len(present), len(group)))
    share[inverse, np.arange(len(group))] = 1.0 if weights is None else weights
    return present, share @ values


Groups = tuple[NDArray[np.int64], Float]


def add_up(parts: Iterable[Groups], groups: int, width: int) -> Float:
    """Add the sums of chunks, in order, to (groups, width) float64."""
    total = np.zeros((groups, width))
    for present, sums in parts:
        total[present] += sums
    return total

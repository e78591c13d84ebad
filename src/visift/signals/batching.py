"""Measuring items in batches: decode ahead, and one bad item never takes others along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visift.errors import ImageError, ModelError, StorageError
from visift.signals.signal import Column, Values

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")

#: Batches decoded ahead of the model.
AHEAD = 2


def measure_in_batches(
    items: Sequence[Item],
    load: Callable[[Item], Loaded],
    compute: Callable[[list[Loaded]], dict[str, NDArray[Any]]],
    columns: Sequence[Column],
    width: int,
    batch_size: int,
) -> Values:
    """Measure items in batches formed in order, loading the next ones while one is computed.

    An item that cannot be loaded is left out of its batch. If a whole batch fails, its items are
    computed one by one, so that only those at fault have no value.

    Args:
        items: n items.
        load: decodes one item, in another thread; raises `ImageError` with the reason.
        compute: gives the columns of a batch of loaded items, in order.
        columns: of the signal.
        width: what None stands for in the shape of a column.
        batch_size: most items a batch holds.

    Returns:
        The values of all items, zeros and a reason where there is none.
    """
    reasons: list[str | None] = [None] * len(items)
    out = {
        c.name: np.zeros((len(items), *(width if s is None else s for s in c.shape)), np.float32)
        if c.scaled
        else np.zeros((len(items), *(width if s is None else s for s in c.shape)), c.dtype)
        for c in columns
    }
    for start, loaded in _load_ahead(items, load, batch_size):
        fine = [start + i for i, one in enumerate(loaded) if not isinstance(one, ImageError)]
        for i, one in enumerate(loaded):
            if isinstance(one, ImageError):
                reasons[start + i] = one.what
        good = [one for one in loaded if not isinstance(one, ImageError)]
        for positions, values in _compute(fine, good, compute, reasons):
            for name, array in values.items():
                out[name][positions] = array
    return Values(out, reasons)


def _load_ahead(
    items: Sequence[Item], load: Callable[[Item], Loaded], batch_size: int
) -> Iterator[tuple[int, list[Loaded | ImageError]]]:
    """Yield (first position, loaded items) batch by batch, `AHEAD` batches in advance."""

    def load_batch(start: int) -> list[Loaded | ImageError]:
        return [_try(load, item) for item in items[start : start + batch_size]]

    starts = range(0, len(items), batch_size)
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(load_batch, start) for start in starts[:AHEAD]]
        for number, start in enumerate(starts):
            loaded = pending.pop(0).result()
            if number + AHEAD < len(starts):
                pending.append(pool.submit(load_batch, starts[number + AHEAD]))
            yield start, loaded


def _try(load: Callable[[Item], Loaded], item: Item) -> Loaded | ImageError:
    try:
        return load(item)
    except ImageError as error:
        return error


def _compute(
    positions: list[int],
    loaded: list[Loaded],
    compute: Callable[[list[Loaded]], dict[str, NDArray[Any]]],
    reasons: list[str | None],
) -> Iterator[tuple[list[int], dict[str, NDArray[Any]]]]:
    """Yield the values of a batch; after a failure, of its items one by one."""
    if not loaded:
        return
    try:
        yield positions, compute(loaded)
        return
    except (ModelError, StorageError):
        raise
    except Exception as error:
        if len(loaded) == 1:
            reasons[positions[0]] = f"not measurable ({type(error).__name__}: {error})"[:300]
            return
    for position, one in zip(positions, loaded, strict=True):
        yield from _compute([position], [one], compute, reasons)

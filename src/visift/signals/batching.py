"""Measuring items in batches: load ahead, and one bad item never takes others along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from visift.errors import ImageUnavailable, ModelError, PoolError, StorageError, VisiftError
from visift.signals.signal import Column, ImageItem, Values

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

#: Batches loaded ahead of the model.
AHEAD = 2

NOT_FINITE = "value is not finite"
_LONGEST_DETAIL = 300

#: What would fail for every item.
_ENDS = (ModelError, StorageError, PoolError)


class ItemsAtFault(Exception):
    """Raised by what computes a batch: some of its items have no value, the others may have."""

    def __init__(self, errors: Mapping[int, VisiftError]) -> None:
        """Note the error of each item at fault, by its number in the batch."""
        super().__init__(f"{len(errors)} items at fault")
        self.errors = dict(errors)


def measure_in_batches(
    items: Sequence[Item],
    load: Callable[[Item], Loaded],
    compute: Callable[[list[Loaded]], Arrays],
    columns: Sequence[Column],
    width: int,
    batch_size: int,
    batches: Sequence[Sequence[int]] | None = None,
) -> Values:
    """Measure items in batches, loading the next ones while one is computed.

    An item that cannot be loaded is left out of its batch, as is one that `ItemsAtFault` names. If
    a whole batch fails, its items are computed one by one, so that only those at fault have no
    value. A value with a NaN or an infinity in it is none.

    What the errors of this package say of an item follows from its content and is its reason for
    good. Any other exception, and `ImageUnavailable`, may pass (a full GPU, a network disk): the
    item is `passing`, see `Values`.

    Args:
        items: n items.
        load: reads one item, in another thread; raises `VisiftError` with the reason.
        compute: gives all columns of a batch of b loaded items, each (b, *shape), in order.
        columns: of the signal.
        width: what None stands for in the shape of a column.
        batch_size: most items a batch holds; batches are formed in order.
        batches: the positions of each batch, where they are formed otherwise.

    Returns:
        The values of all items, zeros and a reason where there is none.

    Raises:
        ModelError: from `compute`: it would fail for every item.
        StorageError: likewise.
        PoolError: likewise.
    """
    out = {column.name: _zeros(column, width, len(items)) for column in columns}
    failed: dict[int, Exception] = {}
    if batches is None:
        every = range(len(items))
        batches = [every[start : start + batch_size] for start in every[::batch_size]]
    for places, loaded in _load_ahead(items, load, batches):
        batch: dict[int, Loaded] = {}
        for position, one in zip(places, loaded, strict=True):
            if isinstance(one, Exception):
                failed[position] = one
            else:
                batch[position] = one
        for positions, arrays in _compute(batch, compute, failed):
            with np.errstate(over="ignore"):  # what exceeds a dtype is caught below
                for name, array in arrays.items():
                    out[name][positions] = array
    reasons: list[str | None] = [None] * len(items)
    for position, error in failed.items():
        reasons[position] = _reason(error, items[position])
    for position in _drop_not_finite(out, columns):
        reasons[position] = _about(items[position], NOT_FINITE)
    return Values(out, reasons, frozenset(p for p, error in failed.items() if _may_pass(error)))


def _zeros(column: Column, width: int, count: int) -> NDArray[Any]:
    """Return (count, *shape) zeros; float32 where the store chooses a scale for each item."""
    shape = tuple(width if side is None else side for side in column.shape)
    return np.zeros((count, *shape), np.float32 if column.scaled else column.dtype)


def _load_ahead(
    items: Sequence[Item], load: Callable[[Item], Loaded], batches: Sequence[Sequence[int]]
) -> Iterator[tuple[Sequence[int], list[Loaded | Exception]]]:
    """Yield (positions, loaded items) batch by batch, `AHEAD` batches in advance."""

    def load_batch(positions: Sequence[int]) -> list[Loaded | Exception]:
        return [_try(load, items[position]) for position in positions]

    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(load_batch, positions) for positions in batches[:AHEAD]]
        for number, positions in enumerate(batches):
            loaded = pending.pop(0).result()
            if number + AHEAD < len(batches):
                pending.append(pool.submit(load_batch, batches[number + AHEAD]))
            yield positions, loaded


def _try(load: Callable[[Item], Loaded], item: Item) -> Loaded | Exception:
    try:
        return load(item)
    except _ENDS:
        raise
    except Exception as error:
        return error


def _compute(
    batch: dict[int, Loaded],
    compute: Callable[[list[Loaded]], Arrays],
    failed: dict[int, Exception],
) -> list[tuple[list[int], Arrays]]:
    """Return (positions, values) of a batch given by position; after a failure, of each item."""
    if not batch:
        return []
    try:
        return [(list(batch), compute(list(batch.values())))]
    except _ENDS:
        raise
    except ItemsAtFault as found:
        errors = {list(batch)[number]: error for number, error in found.errors.items()}
    except Exception as error:
        errors = {}
        if len(batch) == 1:
            (position,) = batch
            failed[position] = error.with_traceback(None)  # which would hold the batch in memory
            return []
    # Outside of the handler, so that what the failed batch held is free again.
    if errors:
        failed.update(errors)
        rest = {at: one for at, one in batch.items() if at not in errors}
        return _compute(rest, compute, failed)
    return [pair for at, one in batch.items() for pair in _compute({at: one}, compute, failed)]


def _may_pass(error: Exception) -> bool:
    """Return whether another try may go well, the item being what it is."""
    return isinstance(error, ImageUnavailable) or not isinstance(error, VisiftError)


def _reason(error: Exception, item: object) -> str:
    if isinstance(error, VisiftError):
        return error.what
    text = " ".join(str(error).split())[:_LONGEST_DETAIL]
    return _about(item, "not measurable", f"{type(error).__name__}: {text}")


def _about(item: object, kind: str, detail: str = "") -> str:
    """Return a reason: its kind, the path where the item is an image, and details.

    A record is not named: records with the same content share what is stored.
    """
    if isinstance(item, ImageItem):
        return f"{kind}: {item.path}" + (f" ({detail})" if detail else "")
    return f"{kind}: {detail}" if detail else kind


def _drop_not_finite(out: dict[str, NDArray[Any]], columns: Sequence[Column]) -> list[int]:
    """Set items with a value that is not finite, in any column, to zero; return their positions."""
    dropped: list[int] = []
    may_lack = {column.name for column in columns if column.missing}
    for name, array in list(out.items()):
        if not np.issubdtype(array.dtype, np.floating) or name in may_lack:
            continue
        bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        for position in np.flatnonzero(bad):
            dropped.append(int(position))
            for other in out.values():
                other[position] = 0
    return dropped

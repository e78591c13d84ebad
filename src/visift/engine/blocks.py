"""Running what a store lacks: fixed blocks, each measured and committed where it runs.

Killing anything at any moment loses the blocks in flight only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visift.engine.executor import (
    Alive,
    Event,
    Executor,
    ShardDone,
    ShardFailed,
    Work,
    nobody_listens,
)
from visift.engine.items import Items
from visift.engine.progress import Progress
from visift.engine.store import Keys, Store
from visift.errors import MeasuringError, VisiftError
from visift.signals.signal import ImageItem, RecordItem, Signal, Values

BLOCK_ITEMS = 1024
TRIES = 3


class NotAllMeasured(Exception):
    """Raised by the work on a block where faults that may pass left out some of its items.

    Attributes:
        reasons: by position in the request, why an item was not measured.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        super().__init__(reasons)


@dataclass(frozen=True, slots=True)
class OpenBlocks:
    """The measuring of one request, on its way to workers (see `executor.OpenWork`).

    Attributes:
        items: all items of the request.
        keys: (n, 2) their keys.
        signal: what to measure.
        lacking: by block number, the positions in `items` that the store lacks.
        store: where to commit; travels without the parts it has mapped.
        devices: where to measure; worker w takes number w modulo their count.
        alive: called whenever something of a block has gone on.
    """

    items: Items
    keys: Keys
    signal: Signal
    lacking: dict[int, NDArray[np.int64]]
    store: Store
    devices: tuple[str, ...]
    alive: Alive = nobody_listens

    def telling(self, alive: Alive) -> OpenBlocks:
        """See `executor.Telling`."""
        return replace(self, alive=alive)

    def __call__(self, worker: int) -> Work:
        """Load the model and return the function that measures and commits one block."""
        measure = self.signal.open(self.devices[worker % len(self.devices)])

        def work(block: int) -> None:
            positions = self.lacking[block]
            pool = self.items.pool
            pool.must_be_unchanged()
            values = measure(_TellingItems(self.items.load(positions), self.alive))
            pool.must_be_unchanged()  # else values would stand for what was there before
            _commit(self.store, self.keys, positions, values)

        return work


@dataclass(frozen=True, slots=True)
class _TellingItems(Sequence[Any]):
    """Items that say so whenever some of them are taken, and whenever an image is decoded.

    Signals take their items batch by batch, which makes it a sign that they get on.
    """

    items: Sequence[ImageItem | RecordItem]
    alive: Alive

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: Any) -> Any:
        self.alive()
        found = self.items[at]
        if isinstance(found, Sequence):
            return [self._telling(item) for item in found]
        return self._telling(found)

    def _telling(self, item: ImageItem | RecordItem) -> ImageItem | RecordItem:
        if isinstance(item, RecordItem):
            return replace(item, images=tuple(map(self._image, item.images)))
        return self._image(item)

    def _image(self, image: ImageItem) -> ImageItem:
        return replace(image, decode=partial(_decode, image, self.alive))


def _decode(image: ImageItem, alive: Alive) -> Image.Image:
    alive()
    return image.decode()


def _commit(store: Store, keys: Keys, positions: NDArray[np.int64], values: Values) -> None:
    """Commit what is settled of a block: values, and reasons that follow from the content.

    Raises:
        NotAllMeasured: the block is not complete.
    """
    if not values.passing:
        store.commit(keys[positions], values)
        return
    settled = [at for at in range(len(positions)) if at not in values.passing]
    if settled:
        store.commit(keys[positions[settled]], values.at(settled))
    raise NotAllMeasured({int(positions[at]): str(values.reasons[at]) for at in values.passing})


def lacking_blocks(
    store: Store, keys: Keys, distinct: NDArray[np.int64]
) -> dict[int, NDArray[np.int64]]:
    """Cut the request into blocks and return what each of them lacks, each key once."""
    positions = distinct[store.find(keys[distinct])[:, 0] < 0]
    if not len(positions):
        return {}
    blocks, starts = np.unique(positions // BLOCK_ITEMS, return_index=True)
    return {int(b): some for b, some in zip(blocks, np.split(positions, starts[1:]), strict=True)}


def run_blocks(
    open_blocks: OpenBlocks,
    executor: Callable[[int], Executor],
    progress: Progress,
    held: Callable[[int], None] = lambda memory: None,
) -> dict[int, str]:
    """Run the lacking blocks, and what they then still lack, up to `TRIES` times.

    What was lost with its worker is never tried in this process, which it might take along.

    Args:
        open_blocks: the measuring; its store is refreshed.
        executor: called with the number of blocks to measure; gives the executor for them.
        progress: told how many more items are committed.
        held: told the most bytes that a worker has held, after each of its blocks.

    Returns:
        By position, why an item is still missing.

    Raises:
        StorageError: the store takes nothing, so that nothing is measured for it.
        MeasuringError: nothing at all could be measured.
    """
    store = open_blocks.store
    store.must_be_writable()
    todo = open_blocks.lacking
    reasons: dict[int, str] = {}
    answered, fewest = False, 1
    for _ in range(TRIES):
        attempt = replace(open_blocks, lacking=todo)
        with closing(executor(max(len(todo), fewest)).map(attempt, sorted(todo))) as events:
            for event in events:
                reasons |= _hear(event, todo[event.shard], progress)
                answered |= not _is_lost(event)
                if isinstance(event, ShardDone) and event.memory is not None:
                    held(event.memory)
                fewest = 2 if isinstance(event, ShardFailed) and event.error is None else fewest
        store.refresh()
        todo = _still_lacking(store, open_blocks.keys, todo)
        if not todo:
            return {}
    if len(todo) > 1 and not answered and _count(todo) == _count(open_blocks.lacking):
        first = reasons.get(int(todo[min(todo)][0]), "no worker answered")
        raise MeasuringError(
            f"nothing could be measured: {first}.",
            fix="If memory is short, use fewer workers: --workers 1",
        )
    return {int(p): reasons.get(int(p), "not measured") for some in todo.values() for p in some}


def _hear(event: Event, positions: NDArray[np.int64], progress: Progress) -> dict[int, str]:
    """Take what became of a shard; return, by position, why items of it were not measured."""
    lost: dict[int, str] = {}
    if isinstance(event, ShardFailed):
        if isinstance(event.error, VisiftError):
            raise event.error
        lost = dict.fromkeys(positions.tolist(), event.reason)
        if isinstance(event.error, NotAllMeasured):
            lost = event.error.reasons
    if isinstance(event, ShardDone) or len(lost) < len(positions):
        progress.advance(len(positions) - len(lost))
    return lost


def _is_lost(event: Event) -> bool:
    """Return whether a shard failed as a whole, rather than some of its items."""
    return isinstance(event, ShardFailed) and not isinstance(event.error, NotAllMeasured)


def _still_lacking(
    store: Store, keys: Keys, blocks: dict[int, NDArray[np.int64]]
) -> dict[int, NDArray[np.int64]]:
    """Return what blocks still lack, without those that are complete."""
    left = {b: some[store.find(keys[some])[:, 0] < 0] for b, some in blocks.items()}
    return {block: some for block, some in left.items() if len(some)}


def _count(blocks: dict[int, NDArray[np.int64]]) -> int:
    return sum(map(len, blocks.values()))

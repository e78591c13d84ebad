"""Measuring a slice of all blocks, so that machines share work without knowing of each other.

The i-th of n slices holds every block whose number leaves the remainder i - 1 when divided by n:
neighbours in a pool often come from one source and cost about the same, so that slices come to
cost about the same too. Blocks are numbered over the whole request, whatever is stored already:
slices never meet, all of them together are everything, and the store is what merges them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visift.engine.blocks import OpenBlocks, lacking_blocks, run_blocks
from visift.engine.lab import Handle, LocalLab
from visift.engine.store import first_places, item_keys
from visift.errors import InputError

_WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Slice:
    """Slice `number` of `count`, the first being 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Read `i/n`; raises `InputError`."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise InputError(
                f'"{text}" is not a slice.', fix="For example: --shard-range 2/16, of 1/16 to 16/16"
            )
        number, count = int(found[1]), int(found[2])
        if not 1 <= number <= count:
            last = max(count, 1)
            raise InputError(
                f'there is no slice "{text}".',
                fix=f"Slices are numbered from 1: 1/{last} to {last}/{last}.",
            )
        return cls(number, count)

    def of(self, blocks: dict[int, NDArray[np.int64]]) -> dict[int, NDArray[np.int64]]:
        """Return the blocks that belong to this slice."""
        return {b: some for b, some in blocks.items() if b % self.count == self.number - 1}

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class SliceMeasured:
    """What became of a slice.

    Attributes:
        measured: items that are stored now and were not before.
        lost: reasons of items that could not be measured and are tried again by whoever comes next.
        elsewhere: items of other slices that the store lacked when this one began.
    """

    measured: int
    lost: tuple[str, ...]
    elsewhere: int


def measure_slice(lab: LocalLab, part: Slice) -> SliceMeasured:
    """Measure what the store lacks of one slice, for all that was asked of a lab so far."""
    parts = [_measure(lab, handle, part) for handle in lab.handles]
    return SliceMeasured(
        measured=sum(one.measured for one in parts),
        lost=tuple(reason for one in parts for reason in one.lost),
        elsewhere=sum(one.elsewhere for one in parts),
    )


def _measure(lab: LocalLab, handle: Handle, part: Slice) -> SliceMeasured:
    signal, items = handle.signal, handle.items
    if lab.imported.giving(signal.columns) is not None:
        return SliceMeasured(0, (), 0)
    store = lab.store(signal)
    store.refresh()
    keys = item_keys(items.keys())
    distinct = first_places(keys)
    lacking = lacking_blocks(store, keys, distinct)
    ours = part.of(lacking)
    total = sum(map(len, ours.values()))
    elsewhere = sum(map(len, lacking.values())) - total
    if not ours:
        return SliceMeasured(0, (), elsewhere)
    ready = lab.ready(signal)
    work = OpenBlocks(items, keys, ready, ours, store, tuple(lab.devices()))
    lab.progress.begin(signal, total, 0)
    try:
        lost = run_blocks(work, lab.executor, lab.progress)
    finally:
        lab.progress.end()
    return SliceMeasured(total - len(lost), tuple(lost.values()), elsewhere)

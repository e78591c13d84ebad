"""What a signal is measured over: the images or the records of a pool, as keyed items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from visift.pool.pool import Pool
from visift.pool.record import ImageRef, Turn, content_hash
from visift.signals.cost import Load
from visift.signals.signal import ImageItem, RecordItem, Unit
from visift.signals.tokens import estimated_tokens

Turns = tuple[Turn, ...]
Targets = Mapping[int, Turns]


@dataclass(frozen=True, slots=True)
class Items:
    """The items of one request, in pool order; travels to workers with the pool.

    Attributes:
        pool: where they come from.
        unit: `image` or `record`.
        ids: (n,) int64, image ids of `pool.images` or row numbers of the pool.
        said: (n,) what stands in for the conversation of each, or None; empty for none at all.
    """

    pool: Pool
    unit: Unit
    ids: NDArray[np.int64]
    said: tuple[Turns | None, ...] = ()

    @classmethod
    def of(
        cls, pool: Pool, unit: Unit, rows: NDArray[np.int64], targets: Targets | None = None
    ) -> Items:
        """Return the items of some rows: the rows themselves, or their images, each once.

        Rows that the pool itself cannot offer have none.

        Args:
            pool: where they come from.
            unit: `image` or `record`.
            rows: of the pool.
            targets: by row, what stands in for its conversation.
        """
        usable = _sound(pool, rows)
        if unit == "image":
            return cls(pool, unit, pool.images.of_rows(usable))
        if not targets:
            return cls(pool, unit, usable)
        return cls(pool, unit, usable, tuple(targets.get(row) for row in usable.tolist()))

    @classmethod
    def of_several(
        cls, pool: Pool, rows: NDArray[np.int64], several: Mapping[int, Sequence[Turns]]
    ) -> Items:
        """Return records with several conversations each, one item a conversation.

        Args:
            pool: where they come from.
            rows: of the pool.
            several: by row, what stands in for its conversation, one after the other.
        """
        usable = _sound(pool, rows)
        counts = [len(several[row]) for row in usable.tolist()]
        said = [turns for row in usable.tolist() for turns in several[row]]
        return cls(pool, "record", np.repeat(usable, counts), tuple(said))

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self) -> Iterator[str]:
        """Yield the text that identifies each item's content, see DESIGN: item keys."""
        images = self.pool.images
        if self.unit == "image":
            return (images.keys[i] for i in self.ids)
        hashes = self.pool.content_hashes()
        return (
            "\x1e".join(
                [_identity(hashes[row], turns), *(images.keys[i] for i in images.of_row(row))]
            )
            for row, turns in zip(self.ids.tolist(), self._said(), strict=True)
        )

    def _said(self) -> Sequence[Turns | None]:
        """Return (n,) what stands in for the conversation of each item."""
        return self.said or (None,) * len(self)

    def holding(self, positions: NDArray[np.int64]) -> Load:
        """Return what some items hold."""
        if self.unit == "image":
            return Load(len(positions), images=len(positions))
        rows = self.ids[positions]
        images = np.diff(self.pool.images.offsets)[rows]
        return Load(len(rows), int(estimated_tokens(self.pool)[rows].sum()), int(images.sum()))

    def scatter(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (I, 2), the places of all images or rows of the pool, (-1, -1) where not asked."""
        size = len(self.pool.images) if self.unit == "image" else len(self.pool)
        out = np.full((size, 2), -1, np.int64)
        out[self.ids] = places
        return out

    def load(self, positions: NDArray[np.int64]) -> list[ImageItem] | list[RecordItem]:
        """Return items ready to be measured; nothing is decoded yet."""
        images = self.pool.images
        if self.unit == "image":
            numbers = self.ids[positions].tolist()
            return [self._image(images.refs[number], number) for number in numbers]
        rows = self.ids[positions].tolist()
        every = self._said()
        said = [every[position] for position in positions.tolist()]
        records = [
            record if turns is None else replace(record, turns=turns)
            for turns, record in zip(said, self.pool.records(rows), strict=True)
        ]
        numbers = [images.of_row(row).tolist() for row in rows]
        return [
            RecordItem(record, tuple(map(self._image, record.images, shown)))
            for record, shown in zip(records, numbers, strict=True)
        ]

    def _image(self, ref: ImageRef, number: int) -> ImageItem:
        """Return an image, which must be the one that was located: its key names the value."""
        key = self.pool.images.keys[number]
        return ImageItem(ref.path, partial(self.pool.load_image, ref, key))


def _sound(pool: Pool, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of some rows that the pool can offer."""
    faults = pool.faults
    sound = np.array([faults[row] is None for row in rows.tolist()], bool)
    usable: NDArray[np.int64] = np.asarray(rows, np.int64)[sound]
    return usable


def _identity(content: bytes, turns: Turns | None) -> str:
    """Return the text that identifies a conversation, or what stands in for it."""
    if turns is None:
        return content.hex()
    said = content_hash([(turn.role, turn.text) for turn in turns], ())
    return f"{content.hex()}\x1f{said.hex()}"

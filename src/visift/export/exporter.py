"""What an exporter is, what can be asked of it, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.pool.pool import Pool
from visift.pool.record import Record

Rows = NDArray[np.int64]
Order = Literal["original", "rank", "shuffle"]
OnMismatch = Literal["error", "fix", "drop"]
ImageMode = Literal["relative", "absolute", "copy", "symlink", "embed"]

#: The flag of `visift export` that asks for each way of handing over images; "relative" has none.
IMAGE_FLAGS: dict[ImageMode, str] = {
    "absolute": "--absolute",
    "copy": "--copy-images",
    "symlink": "--symlink-images",
    "embed": "--embed",
}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user may ask of an export; None leaves it to the exporter.

    Attributes:
        order: `original` is the pool's order, `rank` makes every smaller budget a prefix,
            `shuffle` is random and the same for one seed.
        on_mismatch: what becomes of records that the trainer would fail on, or leave out without
            a word: `error`, `fix` (repair the tags; what no repair makes fit is left out), `drop`
            (leave them out of every arm).
        escape_literal_tags: write `< image >` for tags that stand for no image.
        images: how images are handed over.
        seed: of `shuffle`.
    """

    order: Order | None = None
    on_mismatch: OnMismatch | None = None
    escape_literal_tags: bool = False
    images: ImageMode | None = None
    seed: int = 0


DEFAULTS = ExportOptions()


@dataclass(frozen=True, slots=True)
class Media:
    """Where a trainer finds the images.

    Attributes:
        mode: how they are handed over.
        folder: what the trainer joins names with; None where names are absolute, or none are used.
        sources: the image folders and archives of the pool that are used.
        unread: images that the trainer cannot open as they lie now (inside archives, mostly).
    """

    mode: ImageMode
    folder: Path | None
    sources: tuple[Path, ...]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """How the records of an export fit the trainer's rules.

    Attributes:
        mended: rows whose text is changed.
        left_out: rows that are left out of every arm, each with the reason.
    """

    mended: frozenset[int]
    left_out: Mapping[int, str]


@dataclass(frozen=True)
class Export:
    """One export: what goes where.

    Attributes:
        pool: what rows refer to.
        arms: pool rows by name, in the order they are written.
        folder: written to.
        order: how the rows of an arm are ordered.
        media: where the images are.
        fit: which records are changed or left out.
        record: returns the record of a row as it is to be written.
    """

    pool: Pool
    arms: Mapping[str, Rows]
    folder: Path
    order: Order
    media: Media
    fit: Fit
    record: Callable[[int], Record]

    def all_rows(self) -> Rows:
        """Return the rows of all arms, each once, ascending."""
        return np.unique(np.concatenate([*self.arms.values(), np.empty(0, np.int64)]))


@dataclass(frozen=True)
class Exporter:
    """Writes for one trainer.

    Attributes:
        name: what `--export` calls it.
        title: what people call it.
        image_modes: the ways it can hand over images, its own first.
        verbatim: records are written as the very bytes of the pool; else rebuilt, in an order that
            puts an image first and text-only records between others.
        fault: why the trainer would fail on a record or leave it out, None for a sound one.
        media_tags: placeholders the trainer counts; only `<image>` can have something behind it.
        records_a_step: of the configuration that is written, on `gpus` GPUs.
        gpus: what that configuration is for.
        write: writes every arm.
        check: reads every arm back, raises `ReadbackError`.
        instructions: lines of RUN.md: the configuration, and one command an arm.
        remarks: what of the records a person must know before training, beyond `Fit` and `Media`.
    """

    name: str
    title: str
    image_modes: tuple[ImageMode, ...]
    verbatim: bool
    fault: Callable[[Record], str | None]
    media_tags: tuple[str, ...]
    records_a_step: int
    gpus: int
    write: Callable[[Export], None]
    check: Callable[[Export], None]
    instructions: Callable[[Export], list[str]]
    remarks: Callable[[Export], Iterable[str]] = lambda export: ()

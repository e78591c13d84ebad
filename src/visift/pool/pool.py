"""A pool: an ordered collection of records over one or several files.

The index is an Arrow table held in memory; records and images are read when asked for. A pool
travels to worker processes by pickling: files are mapped again there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from visift.errors import InputError, PoolError
from visift.numerics.ties import copy_numbers, tie_keys
from visift.pool.files import must_be_local
from visift.pool.imageroot import ImageRoot
from visift.pool.images import ImageLimits
from visift.pool.imagetable import ImageTable
from visift.pool.index import build_index
from visift.pool.opening import open_files
from visift.pool.record import ImageRef, Record, Turn
from visift.pool.roles import PoolFile, RowRole, shown_already, there_already

Rows = NDArray[np.int64]
GroupKind = Literal["source", "task", "image"]


@dataclass(frozen=True, slots=True)
class Groups:
    """A partition of a pool's rows.

    Attributes:
        labels: name of each group, in order.
        of_row: (N,) int32 group of each row, -1 for none.
    """

    labels: tuple[str, ...]
    of_row: NDArray[np.int32]


@dataclass(frozen=True)
class Pool:
    """Records to choose from; open one with `Pool.open`.

    Attributes:
        files: the files, in the order given.
        roots: the image roots.
        index: one row a record, columns of `visift.pool.index.SCHEMA`.
        hash_images: identify images by their bytes instead of path and size.
        limits: what decoding an image may cost.
        opened: what `open` was called with, as plain values.
        dropped: by row, why it is left out beside what the pool itself leaves out, see `without`.
    """

    files: tuple[PoolFile, ...]
    roots: tuple[ImageRoot, ...]
    index: pa.Table = field(repr=False)
    hash_images: bool = False
    limits: ImageLimits = field(default_factory=ImageLimits)
    opened: Mapping[str, Any] = field(default_factory=dict, repr=False)
    dropped: Mapping[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def open(
        cls,
        paths: str | Path | Sequence[str | Path],
        *,
        image_folder: str | Path | None = None,
        task_field: str | None = None,
        source_field: str | None = None,
        hash_images: bool = False,
        keep: str | Path | Sequence[str | Path] = (),
        have: str | Path | Sequence[str | Path] = (),
        target: str | Path | Sequence[str | Path] = (),
    ) -> Pool:
        """Index one or several pool files.

        Args:
            paths: LLaVA JSON or JSONL files, or folders holding such files; or images without
                conversations: a folder or archive of them, a CSV or parquet file that lists them.
            image_folder: a folder, an archive, or a folder holding archives; by default the folder
                of each pool file. Images in a parquet file are their own.
            task_field: field that holds the task; by default `task`, then `task_name`.
            source_field: field that holds the source; by default `source`, `data_source`,
                `dataset`. A missing label is taken from the other one, then from the first folder
                of the first image's path.
            hash_images: identify images by a digest of their bytes.
            keep: files of records that every selection holds.
            have: files of records that no selection holds: trained on or annotated already.
            target: files of examples of what is to be learnt, never chosen either.

        Raises:
            PoolError: a file, folder or archive cannot be read.
            InputError: no pool was named, a URL, or a field that no record has.
        """
        by_role: dict[RowRole, list[Path]] = {
            "candidate": _paths(paths),
            "kept": _paths(keep),
            "have": _paths(have),
            "target": _paths(target),
        }
        given = by_role["candidate"]
        if not given:
            raise InputError("no pool was named.", fix="Name a file with --pool.")
        files, roots = open_files(by_role, image_folder, task_field, source_field)
        index = build_index([file.reader for file in files])
        if not any(len(file.reader.offsets) for file in files if file.role == "candidate"):
            raise PoolError(
                "no records in it.", where=", ".join(map(str, given)), fix="Name another file."
            )
        said = {
            "files": tuple(map(str, given)),
            "image_folder": None if image_folder is None else str(image_folder),
            "task_field": task_field,
            "source_field": source_field,
            "hash_images": hash_images,
            "keep": tuple(map(str, by_role["kept"])),
            "have": tuple(map(str, by_role["have"])),
            "target": tuple(map(str, by_role["target"])),
        }
        return cls(files, roots, index, hash_images, opened=said)

    def __len__(self) -> int:
        return int(self.index.num_rows)

    def __repr__(self) -> str:
        names = ", ".join(str(file.reader.path) for file in self.files)
        return f"Pool({names}: {len(self):,} records)"

    # --- records -------------------------------------------------------------------------------

    def record(self, row: int) -> Record:
        """Return one record, parsed from its slice; raises `IndexError` beyond the pool."""
        file, at = self._place(row)
        said = file.reader.parse(at)
        return Record(
            uid=f"{file.name}#{at}",
            turns=tuple(Turn(role, text) for role, text in said.turns),
            images=tuple(ImageRef(path, file.root) for path in said.images),
            source=self.index["source"][row].as_py(),
            task=self.index["task"][row].as_py(),
            content_hash=self.index["content_hash"][row].as_py().hex(),
            raw=file.reader.raw(at),
        )

    def records(self, rows: Iterable[int] | None = None) -> Iterator[Record]:
        """Yield records in the order of `rows` (all of them by default)."""
        wanted = range(len(self)) if rows is None else rows
        return (self.record(int(row)) for row in wanted)

    def raw(self, row: int) -> bytes:
        """Return the exact bytes of a record in its file."""
        file, at = self._place(row)
        return file.reader.raw(at)

    def must_be_unchanged(self) -> None:
        """Raise `PoolError` if a pool file was written to, or replaced, since it was indexed."""
        for file in self.files:
            file.reader.must_be_unchanged()

    def start(self, row: int) -> int:
        """Return the byte of its file at which a record begins."""
        file, at = self._place(row)
        return int(file.reader.offsets[at])

    def _place(self, row: int) -> tuple[PoolFile, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.files[number], row - int(self._starts[number])

    @cached_property
    def _starts(self) -> Rows:
        """(F + 1,) int64, pool row at which each file begins."""
        return np.cumsum([0, *(len(file.reader.offsets) for file in self.files)])

    def uids(self, rows: Rows) -> list[str]:
        """Return where each row stands: `<file>#<row in its file>`."""
        names, places = self.place_columns(rows)
        return [f"{name}#{at}" for name, at in zip(names, places.tolist(), strict=True)]

    def rows_by_uid(self) -> dict[str, int]:
        """Return the row of every uid."""
        return {uid: row for row, uid in enumerate(self.uids(np.arange(len(self))))}

    def place_columns(self, rows: Rows) -> tuple[list[str], Rows]:
        """Return, for each row, its file's name and its 0-based row in that file."""
        number = np.searchsorted(self._starts, rows, side="right") - 1
        return [self.files[n].name for n in number], rows - self._starts[number]

    # --- identity ------------------------------------------------------------------------------

    def content_hashes(self) -> list[bytes]:
        """Return the 16-byte content hash of every row (zero bytes where a record is faulty)."""
        return self._hashes

    @cached_property
    def _hashes(self) -> list[bytes]:
        return list(self.index["content_hash"].to_pylist())

    def tie_keys(self, seed: int, purpose: bytes = b"") -> NDArray[np.uint64]:
        """Return (N,) uint64, the keyed random order of rows for one seed and purpose."""
        known = self._tie_keys
        if (seed, purpose) not in known:
            known[seed, purpose] = tie_keys(self._hashes, seed, purpose, self._copies)
            known[seed, purpose].flags.writeable = False
        return known[seed, purpose]

    @cached_property
    def _tie_keys(self) -> dict[tuple[int, bytes], NDArray[np.uint64]]:
        return {}

    @cached_property
    def _copies(self) -> NDArray[np.int64]:
        return copy_numbers(self._hashes)

    # --- what can be used ----------------------------------------------------------------------

    @cached_property
    def faults(self) -> list[str | None]:
        """(N,) why a record cannot be used: its own fault, or an image that is not there."""
        faults: list[str | None] = list(self.index["fault"].to_pylist())
        for row, reason in self.images.missing_of_row().items():
            faults[row] = reason
        return faults

    def set_aside(self) -> dict[int, str]:
        """Return the rows that the pool cannot offer, and why; `have` rows need not be usable."""
        have = self.has_role("have")
        there = enumerate(self.faults)
        return {row: why for row, why in there if why is not None and not have[row]}

    def rows(self, role: RowRole = "candidate") -> Rows:
        """Return the usable rows of a role, ascending; candidates without those `left_out`."""
        wanted = self.has_role(role) & self._sound
        if role == "candidate":
            wanted[list(self.left_out)] = False
        return np.flatnonzero(wanted)

    def has_role(self, role: RowRole) -> NDArray[np.bool_]:
        """Return (N,) which rows have a role, usable or not."""
        return np.asarray(np.array([file.role == role for file in self.files])[self._file_of_row])

    @property
    def offered(self) -> NDArray[np.bool_]:
        """(N,) True for what a selection is made of: candidates and kept rows, usable or not."""
        return self.has_role("candidate") | self.has_role("kept")

    @cached_property
    def left_out(self) -> dict[int, str]:
        """By row, why it is never chosen: `have` and `target` rows, and candidates equal to others.

        A kept row that cannot be used stands for nobody: its equal may lie where its images are.
        An image without a conversation equals every row that shows this image and no other.
        """
        masks: dict[RowRole, NDArray[np.bool_]] = {
            "candidate": self.has_role("candidate") & self._readable,
            "kept": self.has_role("kept") & self._sound,
            "have": self.has_role("have"),
            "target": self.has_role("target"),
        }
        found = there_already(self._hashes, masks)
        if self.unannotated.any():
            shown = self.images.sequence_of_row()
            bare = masks["candidate"] & self.unannotated & self._sound
            found |= shown_already(shown, {**masks, "candidate": bare})
        return {**self.dropped, **found}

    def without(self, dropped: Mapping[int, str]) -> Pool:
        """Return the same pool with more rows left out.

        Args:
            dropped: by row, the status it has then.
        """
        pool = replace(self, dropped={**self.dropped, **dropped})
        known = {name: value for name, value in vars(self).items() if name not in vars(pool)}
        known.pop("left_out", None)
        vars(pool).update(known)
        return pool

    @cached_property
    def _sound(self) -> NDArray[np.bool_]:
        return np.array([fault is None for fault in self.faults], dtype=bool)

    @cached_property
    def _readable(self) -> NDArray[np.bool_]:
        return np.asarray(self.index["fault"].is_null())

    @cached_property
    def _file_of_row(self) -> NDArray[np.int16]:
        return np.asarray(self.index["file"].to_numpy())

    # --- images --------------------------------------------------------------------------------

    @cached_property
    def images(self) -> ImageTable:
        """The distinct images, looked up on disk (once, all of them, nothing is decoded)."""
        file_roots = np.array([file.root for file in self.files])
        return ImageTable.locate(
            self.index["images"], file_roots[self._file_of_row], self.roots, self.hash_images
        )

    def load_image(self, ref: ImageRef, key: str | None = None) -> Image.Image:
        """Read and decode an image to RGB.

        Args:
            ref: the image.
            key: of `images`, which it must still have.

        Raises:
            ImageError: with the reason.
        """
        return self.roots[ref.root].load(ref.path, self.limits, key)

    def image_bytes(self, ref: ImageRef) -> bytes:
        """Return an image file's bytes; raises `ImageError`."""
        return self.roots[ref.root].read(ref.path)

    # --- labels --------------------------------------------------------------------------------

    def groups(self, kind: GroupKind) -> Groups:
        """Return the partition of rows by source, task, or image set (-1: no label, no image)."""
        if kind == "image":
            of_row = self.images.set_of_row()
            return Groups(tuple(map(str, range(int(of_row.max(initial=-1)) + 1))), of_row)
        column = self.index[kind].combine_chunks().dictionary_encode()
        labels = column.dictionary.to_pylist()
        order = sorted(range(len(labels)), key=labels.__getitem__)
        place = np.empty(len(labels) + 1, np.int32)
        place[order] = np.arange(len(labels))
        place[-1] = -1
        codes = column.indices.fill_null(len(labels)).to_numpy(zero_copy_only=False)
        return Groups(tuple(labels[i] for i in order), place[codes])

    @cached_property
    def text_only(self) -> NDArray[np.bool_]:
        """(N,) True for records without an image (faulty records are False)."""
        no_image = np.asarray(self.index["images"].combine_chunks().value_lengths()) == 0
        return np.asarray(no_image & self._readable)

    @cached_property
    def unannotated(self) -> NDArray[np.bool_]:
        """(N,) True for images without a conversation (faulty records are False)."""
        return np.asarray((self.index["turns"].to_numpy() == 0) & self._readable)


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    several = [given] if isinstance(given, str | Path) else given
    return [Path(must_be_local(path)) for path in several]

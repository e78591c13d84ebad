"""Conversations that were written for images which the pool has without any.

They come in files of their own, in the pool's formats; a record there belongs to the row of the
pool that names the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError
from visift.pool.pool import Pool
from visift.pool.record import Turn

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Annotations:
    """What was written so far.

    Attributes:
        pool: the annotated records; None where there are none.
        of_row: by row of the pool that was annotated, the row in `pool`.
        remarks: what of the files is not used, a clause each.
    """

    pool: Pool | None = None
    of_row: Mapping[int, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, pool: Pool, files: Sequence[Path]) -> Annotations:
        """Read what there is of some files.

        Args:
            pool: what was annotated.
            files: those that are not there, or empty, hold nothing.

        Raises:
            PoolError: a file is malformed.
            InputError: the pool is joined from several image folders, so that a path is not enough.
        """
        there = [file for file in files if file.is_file() and not _is_blank(file)]
        if not there:
            return cls()
        if len(pool.roots) > 1:
            raise InputError(
                "annotations name images by path, and this pool has several image folders.",
                where=str(there[0]),
                fix="Annotate one pool at a time, or put the images below one --image-folder.",
            )
        written = Pool.open(there, image_folder=pool.roots[0].path)
        bare = np.flatnonzero(pool.unannotated).tolist()
        named = _named(pool)
        wanted = {named[row] for row in bare}
        places: dict[tuple[str, ...], int] = {}
        unusable, unknown, again = list[str](), list[str](), list[str]()
        for row, images in enumerate(_named(written)):
            name = f"{written.uids(np.array([row]))[0]}"
            fault = written.faults[row] or _unanswered(written, row)
            if fault is not None:
                unusable.append(f"{name}, {fault}")
            elif images not in wanted:
                unknown.append(f"{name}, {' '.join(images) or 'no image'}")
            elif images in places:
                again.append(name)
            else:
                places[images] = row
        remarks = [
            f"{len(some):,} {what} (first: {some[0]})"
            for some, what in (
                (unusable, "cannot be used"),
                (unknown, "name no image of the pool"),
                (again, "repeat images of an earlier line"),
            )
            if some
        ]
        found = {row: places[named[row]] for row in bare if named[row] in places}
        return cls(written, found, tuple(remarks))

    def turns(self, row: int) -> tuple[Turn, ...]:
        """Return the conversation written for a row that is in `of_row`."""
        assert self.pool is not None
        return self.pool.record(self.of_row[row]).turns

    def joined_with(self, pool: Pool, rows: Rows) -> tuple[Pool, Rows]:
        """Return a pool of all records and annotations, and some rows in it.

        Args:
            pool: that was annotated.
            rows: of it; those without a conversation are all in `of_row`.
        """
        assert self.pool is not None
        opened = {**pool.opened, "image_folder": pool.roots[0].path}
        files = opened.pop("files")
        written = [file.reader.path for file in self.pool.files]
        both = Pool.open([*files, *written], **opened)
        # Candidates stand first, and what was written for them behind them.
        first = int(pool.has_role("candidate").sum())
        places = [
            first + self.of_row[row]
            if row in self.of_row
            else row + (row >= first) * len(self.pool)
            for row in rows.tolist()
        ]
        return both, np.array(places, np.int64)


def _is_blank(file: Path) -> bool:
    with file.open("rb") as lines:
        return not any(line.strip() for line in lines)


def _named(pool: Pool) -> list[tuple[str, ...]]:
    """Return the images of every record as paths below the image folder, however written."""
    return [
        tuple(path.removeprefix("./") for path in images)
        for images in pool.index["images"].to_pylist()
    ]


def _unanswered(pool: Pool, row: int) -> str | None:
    """Return why a record is no annotation: nobody answers in it."""
    answered = any(
        turn.role == "assistant" and turn.text.strip() for turn in pool.record(row).turns
    )
    return None if answered else "without an answer"

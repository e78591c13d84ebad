"""Images nobody has annotated: one record an image, without a conversation.

A record is written as one line of JSON, `{"id": …, "image": …}` with the other columns of a table,
so that what reads records reads these as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from visift.errors import ImageError, InputError
from visift.pool.paths import normalise
from visift.pool.readers.parsed import SOURCE_FIELDS, TASK_FIELDS, Parsed, ParseFault, label

#: Where a record stands that is not written in any file.
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class ImageList:
    """The images of a folder, of an archive or of a table.

    Attributes:
        path: the folder, archive or table.
        offsets: (R,) int64, byte at which each record starts, `NOWHERE` if it is not in a file.
        images: (R,) path of each image, null where there is none.
        others: R rows, the other columns of a table.
        faults: by row, why a record cannot be used.
        skipped: ending -> files beside the images that are none.
        task_fields: columns that may hold the task, first found wins.
        source_fields: the same for the source.
    """

    path: Path
    offsets: NDArray[np.int64]
    images: pa.StringArray
    others: pa.Table
    faults: Mapping[int, str] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    task_fields: tuple[str, ...] = TASK_FIELDS
    source_fields: tuple[str, ...] = SOURCE_FIELDS

    @classmethod
    def of_names(cls, path: Path, names: Sequence[str], skipped: Mapping[str, int]) -> ImageList:
        """Return the images that lie in a folder or an archive.

        Args:
            path: the folder or archive.
            names: paths of the images, relative to the image root.
            skipped: ending -> files beside them.
        """
        faults = {row: why for row, name in enumerate(names) if (why := _no_path(name))}
        plain = [_readable(name) if row in faults else name for row, name in enumerate(names)]
        offsets = np.full(len(plain), NOWHERE, np.int64)
        return cls(path, offsets, pa.array(plain, pa.string()), pa.table({}), faults, skipped)

    def labelled_by(self, task_field: str | None, source_field: str | None) -> ImageList:
        """Return the same images with labels from these columns; None for the usual ones."""
        tasks = (task_field,) if task_field else TASK_FIELDS
        sources = (source_field,) if source_field else SOURCE_FIELDS
        return replace(self, task_fields=tasks, source_fields=sources)

    def mentions(self, name: str) -> bool:
        """Return whether there is a column of this name."""
        return name in self.others.column_names

    def raw(self, row: int) -> bytes:
        """Return the record as one line of JSON."""
        image = self.images[row].as_py()
        said = {"id": image, "image": image} | self._others(row)
        return orjson.dumps({name: value for name, value in said.items() if value is not None})

    def must_be_unchanged(self) -> None:
        """See `Reader.must_be_unchanged`: nothing of it is read any more."""

    def parse(self, row: int) -> Parsed:
        """Return what a record says; raises `ParseFault` with the reason if it cannot be used."""
        if row in self.faults:
            raise ParseFault(self.faults[row])
        said = self._others(row)
        return Parsed(
            turns=[],
            images=[self.images[row].as_py()],
            source=_first_label(said, self.source_fields),
            task=_first_label(said, self.task_fields),
        )

    def _others(self, row: int) -> dict[str, object]:
        """Return what the other columns say, without those that say nothing."""
        said = {name: self.others[name][row].as_py() for name in self.others.column_names}
        return {name: value for name, value in said.items() if value is not None and value != ""}


def must_be_no_content(name: str | None, contents: Sequence[str]) -> None:
    """Raise `InputError` for a label column that holds the images themselves."""
    if name in contents:
        raise InputError(f'"{name}" holds the images, it is no label.')


def _first_label(said: Mapping[str, object], fields: Sequence[str]) -> str | None:
    if not said:
        return None
    labels = (label(name, said.get(name)) for name in fields)
    return next((text for text in labels if text is not None), None)


def _no_path(name: str) -> str | None:
    """Return why a file that is there cannot be named by a path, None where it can be."""
    if not _is_unicode(name):
        return f"image whose name is not valid UTF-8: {_readable(name)}"
    try:
        meant = normalise(name)
    except ImageError:
        return None  # the image root says why
    return None if meant == name else f"image whose name is no path (a backslash?): {name}"


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readable(name: str) -> str:
    """Return a name whose bytes that are no UTF-8 are written with backslashes."""
    data = name.encode("utf-8", "surrogateescape")
    return data.decode("utf-8", "backslashreplace")

"""One file a format: where its records lie, and what one of them says.

A reader finds records without building Python objects for a whole file and parses one slice at a
time. A new format is one new module with a `Reader` and one line in `open_reader`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visift.pool.files import CSV, PARQUET
from visift.pool.readers.parsed import Parsed, ParseFault

__all__ = ["ParseFault", "Parsed", "Reader", "open_reader"]


class Reader(Protocol):
    """The records of one file."""

    @property
    def path(self) -> Path:
        """The file; the folder or archive of images that no file names."""
        ...

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(R,) int64, byte at which each record starts, -1 for one that no text holds."""
        ...

    def mentions(self, name: str) -> bool:
        """Return False only if no record has a field of this name."""
        ...

    def raw(self, row: int) -> bytes:
        """Return the exact bytes of a record; a line of JSON for one that no JSON file holds."""
        ...

    def must_be_unchanged(self) -> None:
        """Raise `PoolError` if a file that is still read was written to, or replaced."""
        ...

    def parse(self, row: int) -> Parsed:
        """Return what a record says; raises `ParseFault` with the reason if it cannot be used."""
        ...


def open_reader(path: Path, task_field: str | None, source_field: str | None) -> Reader:
    """Open a pool file with the reader its name calls for.

    Raises:
        PoolError: the file does not exist, is malformed, or no reader knows its format.
        InputError: a label field that holds the conversation itself.
    """
    from visift.pool.readers.llava import LlavaFile
    from visift.pool.readers.tables import read_csv, read_parquet

    if path.suffix.lower() == CSV:
        return read_csv(path, task_field, source_field)
    if path.suffix.lower() == PARQUET:
        return read_parquet(path, task_field, source_field)
    return LlavaFile.open(path, task_field, source_field)

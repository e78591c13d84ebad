"""Writing files so that they are whole or not there, and saying it plainly when a disk is full."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from visift.errors import StorageError


def write_atomically(path: Path, data: Any) -> None:
    """Write bytes beside, sync, rename, sync the folder: a file of this name is complete."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear sentence.

    Raises:
        StorageError: in place of the `OSError` that says so.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else f"cannot be written ({error.strerror})"
        fix = "Free some space" if full else "Choose another folder"
        raise StorageError(
            f"{what}.",
            where=str(where),
            fix=f"{fix} and run the same command again: what is measured is kept.",
        ) from error

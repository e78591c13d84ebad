"""Writing files so that they are whole or not there, and saying it plainly when a disk is full."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from visift.errors import InputError, StorageError

_READ_AT_ONCE = 1 << 22


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


def file_facts(path: Path) -> dict[str, Any]:
    """Return what a file is known by, wherever it lies: name, size, digest; raises `OSError`."""
    digest, size = blake2b(digest_size=16), 0
    with path.open("rb") as file:
        while block := file.read(_READ_AT_ONCE):
            digest.update(block)
            size += len(block)
    return {"file": path.name, "bytes": size, "blake2b": digest.hexdigest()}


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
        what = "the disk is full" if full else f"cannot be written ({_why(error)})"
        free = "Free some space and run the same command again: what is measured is kept."
        raise StorageError(
            f"{what}.", where=str(where), fix=free if full else "Choose another folder."
        ) from error


def _why(error: OSError) -> str:
    in_the_way = error.errno in (errno.EEXIST, errno.ENOTDIR)
    if in_the_way:
        return "a file is in the way"
    return os.strerror(error.errno) if error.errno else str(error)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes, on systems and disks that know how to.

    Nothing is left behind, not even by a process that is killed.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            _lock(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB, folder)
        yield
    finally:
        os.close(handle)


def _lock(flock: Callable[[int, int], None], handle: int, how: int, folder: Path) -> None:
    try:
        flock(handle, how)
    except BlockingIOError:
        raise InputError(
            "another run is writing here.",
            where=str(folder),
            fix="Wait until it ends, or choose another --output.",
        ) from None

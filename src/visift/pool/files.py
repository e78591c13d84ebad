"""Which files make a pool, and what uids call them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from visift.errors import InputError, PoolError

#: Names that no joined pool has: uids of `--keep` and `--have` files begin with them.
RESERVED = ("keep:", "have:")

_SUFFIXES = (".json", ".jsonl")


def must_be_local(path: str | Path) -> str | Path:
    """Return the name of a file or folder; raises `InputError` for a URL."""
    if "://" in str(path):
        raise InputError(
            "is a URL; pools and images are local files.",
            where=str(path),
            fix="Download it first.",
        )
    return path


def pool_files(path: Path) -> list[Path]:
    """Return a file itself, or the pool files of a folder, sorted; raises `PoolError` for none."""
    if not os.path.isdir(path):  # noqa: PTH112 (Path raises where a name is too long)
        return [path]
    found = sorted(file for file in _below(path) if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise PoolError(
            "no .json or .jsonl file in this folder.", where=str(path), fix="Name the pool file."
        )
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Yield all files, but what starts with a dot: checkpoints of editors, leftovers of macOS.

    What is locked, or a link to nothing, is part of the pool as well: it is not passed over.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _refuse(error: OSError) -> NoReturn:
    raise PoolError(
        f"the folder cannot be read ({error.strerror}).",
        where=str(error.filename),
        fix="Unlock it, or name the pool files one by one.",
    ) from None


def pool_names(paths: Sequence[Path]) -> list[str]:
    """Return the uid prefix of each pool: none for a single one, `<name>:` in a joined pool."""
    if len(paths) == 1:
        return [""]
    names: list[str] = []
    for path in paths:
        stem = path.stem if path.stem.strip(".") else path.resolve().name
        tries = itertools.chain([stem], (f"{stem}-{k}" for k in itertools.count(2)))
        names.append(next(f"{name}:" for name in tries if not _taken(f"{name}:", names)))
    return names


def _taken(name: str, names: Sequence[str]) -> bool:
    return name in names or name in RESERVED

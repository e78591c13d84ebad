"""Which files make a pool, and what uids call them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

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
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if _is_pool_file(p, path))
    if not found:
        raise PoolError(
            "no .json or .jsonl file in this folder.", where=str(path), fix="Name the pool file."
        )
    return found


def _is_pool_file(path: Path, folder: Path) -> bool:
    """Leave out what starts with a dot: checkpoints of editors, leftovers of macOS."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in _SUFFIXES and path.is_file()


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

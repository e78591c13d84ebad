"""Which files make a pool, and what uids call them."""

from __future__ import annotations

import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from visift.errors import InputError, PoolError

#: Names that no joined pool has: uids of `--keep` and `--have` files begin with them.
RESERVED = ("keep:", "have:", "target:")

_SUFFIXES = (".json", ".jsonl")
#: Archives of images, and those that single images cannot be read from.
ARCHIVES = (".zip", ".tar")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
CSV, PARQUET = ".csv", ".parquet"
#: Endings, in any case, of files that are taken for images in a folder or an archive.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_LINKED_FOLDER = "linked folder"
_NO_SUFFIX = "no ending"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder, or an archive, holds that a pool can be made of.

    Attributes:
        files: pool files, sorted: records, or where there are neither records nor images, tables.
        images: paths of images relative to the folder, sorted.
        skipped: ending -> files that are none of these and are passed over.
    """

    files: Sequence[Path] = ()
    images: Sequence[str] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)


def must_be_local(path: str | Path) -> str | Path:
    """Return the name of a file or folder; raises `InputError` for a URL."""
    if "://" in str(path):
        raise InputError(
            "is a URL; pools and images are local files.",
            where=str(path),
            fix="Download it first.",
        )
    return path


def must_be_a_file(path: Path) -> None:
    """Raise `PoolError` for what is no file: opening a pipe would wait for whoever writes to it."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise PoolError(
            "is not a regular file.", where=str(path), fix="Save what it gives, and name that."
        )


def unreadable(path: Path, error: Exception) -> PoolError:
    """Return the error for a pool file that cannot be opened."""
    reason = getattr(error, "strerror", None) or str(error)
    return PoolError(
        f"cannot be read ({reason}).", where=str(path), fix="Check the name of the file."
    )


def look_into(folder: Path) -> Contents:
    """Look for pool files in a folder, and where there are none, for images and then for tables.

    What starts with a dot is passed over: checkpoints of editors, leftovers of macOS. So are linked
    folders, which may lead round in a circle. What is locked, or a link to nothing, is part of the
    pool as well.

    Raises:
        PoolError: the folder, or one in it, cannot be read.
    """
    names = list(_below(folder))
    files = [name for name in names if _suffix(name) in _SUFFIXES]
    if not files:
        # Archives at the top are looked into as well.
        loose = [name for name in names if "/" in name or not name.lower().endswith(ARCHIVES)]
        found = only_images(loose)
        files = [] if found.images else [name for name in names if _suffix(name) == PARQUET]
        if not files:
            return found
    return Contents(sorted(folder / name for name in files))


def only_images(names: Sequence[str]) -> Contents:
    """Return the images among some paths, and how many of each other kind there are.

    Args:
        names: relative paths with `/`; those with a part that starts with a dot are no images.
    """
    seen = [name for name in names if "/." not in name and not name.startswith(".")]
    images = sorted(name for name in seen if _suffix(name) in IMAGE_SUFFIXES)
    others = sorted(_suffix(name) or _NO_SUFFIX for name in seen)
    skipped = Counter(other for other in others if other not in IMAGE_SUFFIXES)
    return Contents(images=images, skipped=dict(skipped.most_common()))


def _suffix(name: str) -> str:
    """Return the ending of a path as `Path.suffix` does, in lower case; a folder's is its `/`."""
    if name.endswith("/"):
        return _LINKED_FOLDER
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if dot and stem and ending else ""


def _below(folder: Path) -> Iterator[str]:
    """Yield the paths of all files relative to a folder, and of linked folders with a `/`."""
    start = len(os.path.join(folder, ""))  # noqa: PTH118
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = f"{place[start:]}/".replace(os.sep, "/").lstrip("/")
        yield from (inside + name for name in names if not name.startswith("."))
        linked = (name for name in folders if os.path.islink(f"{place}/{name}"))  # noqa: PTH114
        yield from (f"{inside}{name}/" for name in linked)


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

"""What the folders of measured values hold, and removing it; nothing else is ever touched.

A folder is taken for a store only if it is one by its own account: its name is what `store` would
call the identity that is written inside. So is a checkpoint: it says how its training ended, which
stays when the rest is removed, because values measured with it may still be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from visift.engine.store import signal_folder
from visift.engine.trainings import CHECKPOINTS
from visift.errors import InputError
from visift.files import disk_errors
from visift.training.tuned import OUTCOME

_NOTE = "identity.json"
_CHECKPOINT = re.compile(r"[0-9a-f]{24}")
_PART = re.compile(r"[0-9a-f]{24}\.arrow")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
#: What an identity holds beside the parameters of a signal.
_NO_PARAMETER = ("signal", "version", "columns", "model")


@dataclass(frozen=True, slots=True)
class StoreUse:
    """The values of one signal over the images of one pool (or of all that share the folder).

    Attributes:
        folder: of the store.
        pool: name of the folder it lies in, which `staff.cache_folder` names after the images.
        signal: class that measured it.
        parameters: of the signal, by name.
        model: digest of the weights and all else that decides what a model says, None for no model.
        items: measured, with a value or with the reason why there is none.
        n_bytes: on disk.
        written: when the last part was, in seconds since 1970; None for no part.
        files: what clearing removes, in this order.
    """

    folder: Path
    pool: str
    signal: str
    parameters: dict[str, Any]
    model: str | None
    items: int
    n_bytes: int
    written: float | None
    files: tuple[Path, ...] = ()


def find_stores(cache: Path) -> list[StoreUse]:
    """Return what lies in a cache folder, or in the folders of pools inside it, largest first.

    Links are not followed.

    Raises:
        InputError: this is no folder.
    """
    if cache.exists() and not cache.is_dir():
        raise InputError("is no folder.", where=str(cache), fix="Name a folder with --cache.")
    places = [*_folders(cache), *(inner for outer in _folders(cache) for inner in _folders(outer))]
    trained = [
        inner for place in [cache, *_folders(cache)] for inner in _folders(place / CHECKPOINTS)
    ]
    found = [use for folder in places if (use := _use_of(folder)) is not None]
    found += [use for folder in trained if (use := _checkpoint(folder)) is not None]
    return sorted(found, key=lambda use: (-use.n_bytes, str(use.folder)))


def clear(stores: Iterable[StoreUse], cache: Path) -> int:
    """Remove stores and the folders that are empty then; returns the number of bytes freed.

    A file that no store wrote stays, and so does its folder.

    Args:
        stores: from `find_stores`.
        cache: the folder they were looked for in, which itself stays.

    Raises:
        StorageError: something cannot be removed.
    """
    freed = 0
    for store in stores:
        with disk_errors(store.folder):
            for path in store.files:
                size = path.stat().st_size
                path.unlink()
                freed += size
        inside = sorted({path.parent for path in store.files}, reverse=True)
        for folder in (*inside, store.folder, store.folder.parent):
            if folder != cache:
                with suppress(OSError):  # not empty
                    folder.rmdir()
    return freed


def _folders(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (p for p in sorted(path.iterdir()) if p.is_dir() and not p.is_symlink())


def _use_of(folder: Path) -> StoreUse | None:
    """Return what a store holds, None for a folder that is none."""
    try:
        known = json.loads((folder / _NOTE).read_bytes())
        if signal_folder(folder.parent, known).name != folder.name:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    # The note last: a store that is half removed is still known as one.
    files = [*_files(folder), folder / _NOTE]
    parts = [path for path in files if path.suffix == ".arrow"]
    model = known.get("model")
    return StoreUse(
        folder=folder,
        pool=folder.parent.name,
        signal=str(known["signal"]).rpartition(".")[2],
        parameters={k: v for k, v in known.items() if k not in _NO_PARAMETER},
        model=str(model["digest"]) if isinstance(model, dict) and "digest" in model else None,
        items=sum(map(_items, parts)),
        n_bytes=sum(path.stat().st_size for path in files),
        written=max((path.stat().st_mtime for path in parts), default=None),
        files=tuple(files),
    )


def _checkpoint(folder: Path) -> StoreUse | None:
    """Return what a checkpoint holds, None for a folder that is none or has been cleared."""
    try:
        said = json.loads((folder / OUTCOME).read_bytes())
        examples = int(said["examples"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != OUTCOME]
    if not _CHECKPOINT.fullmatch(folder.name) or not files:
        return None
    return StoreUse(
        folder=folder,
        pool=folder.parent.parent.name,
        signal="FineTuning",
        parameters={"steps": said.get("steps")},
        model=folder.name,
        items=examples,
        n_bytes=sum(path.stat().st_size for path in files),
        written=(folder / OUTCOME).stat().st_mtime,
        files=tuple(files),
    )


def _files(folder: Path) -> Iterator[Path]:
    """Yield the parts of a store, and what a killed writer left."""
    for path in sorted(folder.iterdir()):
        ours = _PART.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)
        if ours and path.is_file() and not path.is_symlink():
            yield path


def _items(part: Path) -> int:
    try:
        return int(pa.ipc.open_file(pa.memory_map(str(part))).get_batch(0).num_rows)
    except (pa.ArrowException, OSError):
        return 0  # damaged: whoever opens the store says so

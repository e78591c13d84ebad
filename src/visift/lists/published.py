"""A selection as somebody hands it over: a run, records, or a list of ids.

It is a list of entries in rank order, each known by one or several names: the content hash of its
record, its uid, its id, its row number. Which of them counts is decided when the list meets a pool,
see `visift.lists.matching`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from visift.errors import InputError
from visift.lists.files import BARE, SCORES, Listed, Said, as_name, read_listed
from visift.pool.record import HASH_BYTES

Key = Literal["content", "uid", "id", "row"]

#: How the entries of a column name records, the likeliest reading first.
KINDS: Mapping[str, tuple[Key, ...]] = {
    "content_hash": ("content",),
    "uid": ("uid", "id"),
    "uids": ("uid", "id"),
    "id": ("id",),
    "ids": ("id",),
    "index": ("row",),
    "indices": ("row",),
    "row": ("row",),
    "rows": ("row",),
    BARE: ("uid", "id", "row"),
}
_CALLED: Mapping[Key, str] = {
    "content": "content hash (32 hexadecimal digits)",
    "uid": "uid",
    "id": "id",
    "row": "row number",
}
_KNOWN = "content_hash, uid, id, row, indices, or whole records (conversations, image)"
_SHOWN_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class Published:
    """A ranked list of n entries, the best first.

    Attributes:
        path: where it was read from.
        name: what a person calls it.
        keys: by kind of name, (n,) how each entry names its record; None where it does not.
        said: (n,) what each record says and shows, empty where the list holds no records.
        scores: (n,) as the list states them, or empty.
        reasons: (n,) likewise.
        folder: the run directory it comes from, if it does.
        faults: by entry, why a record of the list cannot be read.
    """

    path: Path
    name: str
    keys: Mapping[Key, Sequence[Any]] = field(repr=False)
    said: Sequence[Said | None] = field(default=(), repr=False)
    scores: Sequence[float | None] = field(default=(), repr=False)
    reasons: Sequence[str | None] = field(default=(), repr=False)
    folder: Path | None = None
    faults: Mapping[int, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(next(iter(self.keys.values())))

    def called(self, entry: int) -> str:
        """Return how the list names one of its entries, as a person would look it up."""
        for kind in ("uid", "id", "row", "content"):
            value = self.keys[kind][entry] if kind in self.keys else None
            if value is not None:
                shown = value.hex() if isinstance(value, bytes) else str(value)
                return shown if kind == "uid" else f"{kind} {shown}"
        return f"entry {entry + 1:,}"


def read_published(path: Path) -> Published:
    """Read a run directory, a `selection.parquet`, records, or a list of ids.

    Args:
        path: a folder, or a file of JSON, JSON lines, parquet, or text with one id a line.

    Raises:
        InputError: nothing there, nothing in it, or nothing that names records.
        PoolError: records whose file is malformed.
    """
    file = _file_of(path)
    listed = read_listed(file)
    if not len(listed):
        raise InputError("names no records: it is empty.", where=str(file))
    keys: dict[Key, Sequence[Any]] = {}
    if listed.records:
        keys["content"] = [record.content for record in listed.records]
    keys |= {k: v for k, v in _names(listed, file).items() if k not in keys}
    if not keys:
        found = ", ".join(f'"{name}"' for name in list(listed.columns)[:_SHOWN_COLUMNS])
        raise InputError(
            f"names no records: it holds {found}.", where=str(file), fix=f"Known are {_KNOWN}."
        )
    is_run = file.name == "selection.parquet" and (file.parent / "manifest.json").is_file()
    reasons = listed.columns.get("reason", ())
    return Published(
        path=path,
        name=path.resolve().name,
        keys=keys,
        said=[record.said for record in listed.records],
        scores=_numbers(listed),
        reasons=[None if reason is None else str(reason) for reason in reasons],
        folder=file.parent if is_run else None,
        faults={at: r.fault for at, r in enumerate(listed.records) if r.fault is not None},
    )


def _file_of(path: Path) -> Path:
    """Return the file that holds the list; a run directory holds it in `selection.parquet`."""
    if not path.exists():
        raise InputError(
            "there is no such file or folder.",
            where=str(path),
            fix="Name a run directory, or a file of records or ids.",
        )
    if not path.is_dir():
        return path
    file = path / "selection.parquet"
    if not file.is_file():
        raise InputError(
            "holds no selection.parquet.",
            where=str(path),
            fix="Name the --output of a visift select that ended, or a file of records or ids.",
        )
    return file


def _names(listed: Listed, file: Path) -> dict[Key, Sequence[Any]]:
    """Return, by kind, what the entries of a list are called."""
    keys: dict[Key, Sequence[Any]] = {}
    for name, values in listed.columns.items():
        # Rows count inside their file where there is a column for it: then the uid says it whole.
        inside = name == "row" and "file" in listed.columns
        given = next((value for value in values if value is not None), None)
        if inside or given is None:
            continue
        for kind in KINDS.get(name, ()):
            found = [None if value is None else _READ[kind](value) for value in values]
            if any(value is not None for value in found):
                keys.setdefault(kind, found)
            elif name != BARE:
                shown = json.dumps(given, ensure_ascii=False, default=str)[:60]
                raise InputError(
                    f'"{name}" holds {shown}, which is no {_CALLED[kind]}.', where=str(file)
                )
    return keys


def _digest(value: Any) -> bytes | None:
    try:
        digest = bytes.fromhex(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return digest if isinstance(digest, bytes) and len(digest) == HASH_BYTES else None


def _place(value: Any) -> int | None:
    text = as_name(value)
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


_READ: Mapping[Key, Callable[[Any], Any]] = {
    "content": _digest,
    "uid": as_name,
    "id": as_name,
    "row": _place,
}


def _numbers(listed: Listed) -> list[float | None]:
    """Return the scores that a list states, if they are numbers."""
    values = next((listed.columns[name] for name in SCORES if name in listed.columns), ())
    numbers = [float(v) if isinstance(v, int | float) else None for v in values]
    return numbers if any(number is not None for number in numbers) else []

"""Files that list records: JSON, JSON lines, parquet, or text, as columns and records.

Nothing here knows a pool: what the columns mean is decided in `visift.lists.published`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visift.errors import ImageError, InputError
from visift.pool.paths import normalise
from visift.pool.readers import ParseFault
from visift.pool.readers.llava import LlavaFile
from visift.pool.record import ROLES, Role, content_hash, conversation_hash

#: What a record says and shows: its `conversation_hash`, and its image paths, normalised.
Said = tuple[bytes, tuple[str, ...]]
Columns = Mapping[str, Sequence[Any]]

#: Name of the only column of a list that says nothing about what its entries are.
BARE = ""
#: Columns that say which record is meant.
NAMING = ("content_hash", "uid", "uids", "id", "ids", "index", "indices", "row", "rows")
#: Columns that state a score.
SCORES = ("score", "metric")
_READ = (*NAMING, *SCORES, "rank", "file", "reason", "conversations", "image", "images")
_BLANK = b"\xef\xbb\xbf \t\r\n"


@dataclass(frozen=True, slots=True)
class Listed:
    """What a file holds: columns, and what its records say where it holds records."""

    columns: Columns
    records: Sequence[ListedRecord] = ()

    def __len__(self) -> int:
        return len(self.records) or len(next(iter(self.columns.values()), ()))

    def ranked(self, file: Path) -> Listed:
        """Return the entries in the order of the column `rank`, if there is one."""
        ranks = self.columns.get("rank")
        if ranks is None:
            return self
        try:
            order = np.argsort(np.asarray(ranks, np.float64), kind="stable").tolist()
        except (TypeError, ValueError):
            raise InputError('"rank" holds something that is no number.', where=str(file)) from None
        columns = {name: [values[at] for at in order] for name, values in self.columns.items()}
        return Listed(columns, [self.records[at] for at in order] if self.records else ())


@dataclass(frozen=True, slots=True)
class ListedRecord:
    """One record of a list: its identity, or why it has none."""

    content: bytes | None
    said: Said | None
    fault: str | None = None

    @classmethod
    def of(cls, turns: Sequence[tuple[Role, str]], images: Sequence[str]) -> ListedRecord:
        """Return the identity of what a record says and shows."""
        try:
            return cls(content_hash(turns, images), (conversation_hash(turns), plain_paths(images)))
        except UnicodeEncodeError as fault:
            return cls(None, None, str(fault))


def plain_paths(images: Sequence[str]) -> tuple[str, ...]:
    """Return image paths as the image root knows them, one that it refuses as it stands."""
    return tuple(map(_plain_path, images))


def _plain_path(path: str) -> str:
    try:
        return normalise(path)
    except ImageError:
        return path


def read_listed(file: Path) -> Listed:
    """Read a file that lists records or names of records, in the order of its ranks.

    Raises:
        InputError: the file cannot be read, or is none of the formats.
        PoolError: JSON that is malformed as a whole.
    """
    try:
        listed = _parquet(file) if file.suffix.lower() == ".parquet" else _text_file(file)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise InputError(f"cannot be read ({reason}).", where=str(file)) from None
    return listed.ranked(file)


def as_name(value: Any) -> str | None:
    """Return an id as text; None for what is no id."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else None


# --- parquet -----------------------------------------------------------------------------------


def _parquet(file: Path) -> Listed:
    try:
        there = pq.read_schema(file).names
        columns = [name for name in there if name in _READ]
        if not set(columns) & {*NAMING, "conversations"}:
            return Listed({name: [None] for name in there})  # for the error that names them
        plain = pq.read_table(file, columns=columns).to_pydict()
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"is no parquet file that can be read ({reason}).", where=str(file)
        ) from None
    if "conversations" not in plain:
        return Listed(plain)
    images = plain.get("image") or plain.get("images") or [None] * len(plain["conversations"])
    pairs = zip(plain["conversations"], images, strict=True)
    return Listed(plain, [_table_record(turns, image) for turns, image in pairs])


def _table_record(turns: Any, images: Any) -> ListedRecord:
    """Return a record of a table, whose images are paths or structs that hold one."""
    shown = images if isinstance(images, list) else [] if images in (None, "") else [images]
    paths: list[Any] = [image.get("path") if isinstance(image, dict) else image for image in shown]
    if not all(isinstance(path, str) for path in paths):
        return ListedRecord(None, None, "an image without a path")
    try:
        said = [(ROLES[turn["from"]], turn["value"]) for turn in turns]
        return ListedRecord.of(said, paths)
    except (KeyError, TypeError):
        return ListedRecord(None, None, '"conversations" is no list of "from" and "value"')


# --- JSON, JSON lines, text --------------------------------------------------------------------


class _Id(msgspec.Struct, gc=False):
    id: str | int | float | None = None


_ID = msgspec.json.Decoder(_Id)


def record_id(raw: bytes) -> str | None:
    """Return the `id` of a LLaVA record as text; None if it has none, or one that is no name."""
    try:
        return as_name(_ID.decode(raw).id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _text_file(file: Path) -> Listed:
    with file.open("rb") as opened:
        start = opened.read(1 << 16)
    first = start.lstrip(_BLANK)[:1]
    if first == b"[":
        rest = start[start.index(b"[") + 1 :].lstrip()
        return _objects(file) if rest[:1] == b"{" else Listed({BARE: _decoded(file, list[Any])})
    if first == b"{":
        return _braces(file)
    return Listed({BARE: _lines(file)})


def _braces(file: Path) -> Listed:
    """Read JSON lines, or one object of lists."""
    with file.open("rb") as opened:
        line = next(line for line in opened if line.strip(_BLANK))
        alone = not opened.read().strip()
    if not alone and _is_json(line):
        return _objects(file)
    said = _decoded(file, dict[str, Any])
    if "conversations" in said or any(_is_name(said.get(name)) for name in NAMING):
        return _objects(file)  # JSON lines of one line
    lists = {name: value for name, value in said.items() if isinstance(value, list)}
    known = next((value for name, value in lists.items() if name in NAMING), None)
    if known is None:
        return Listed({name: [None] for name in said})
    return Listed({name: value for name, value in lists.items() if len(value) == len(known)})


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int)


def _objects(file: Path) -> Listed:
    """Read a list of objects: records, or names of records."""
    reader = LlavaFile.open(file, None, None)
    raws = [reader.raw(row) for row in range(len(reader.offsets))]
    if not raws or b'"conversations"' not in raws[0]:
        return Listed(_columns(file, raws))
    ids = [record_id(raw) for raw in raws]
    columns = {"id": ids} if any(name is not None for name in ids) else {}
    return Listed(columns, [_file_record(reader, row) for row in range(len(raws))])


def _file_record(reader: LlavaFile, row: int) -> ListedRecord:
    try:
        said = reader.parse(row)
    except ParseFault as fault:
        return ListedRecord(None, None, str(fault))
    return ListedRecord.of(said.turns, said.images)


def _columns(file: Path, raws: Sequence[bytes]) -> Columns:
    objects = []
    for number, raw in enumerate(raws, start=1):
        try:
            objects.append(msgspec.json.decode(raw, type=dict[str, Any]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise InputError("is no JSON object.", where=f"{file}, entry {number:,}") from None
    names = dict.fromkeys(name for entry in objects for name in entry)
    return {name: [entry.get(name) for entry in objects] for name in names}


def _lines(file: Path) -> list[str]:
    """Return the lines of a text that are not blank; text in quotes stands for itself."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            "is no text in UTF-8, no JSON and no parquet.",
            where=str(file),
            fix="Name a run directory, or a file of records or ids.",
        ) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [
        json.loads(line) if line[0] == '"' and _is_json(line.encode()) else line for line in lines
    ]


def _decoded(file: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"is not valid JSON ({error}).", where=str(file)) from None


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True

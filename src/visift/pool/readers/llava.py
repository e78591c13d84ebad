"""LLaVA conversations: a JSON list, or JSON lines.

    {"id": ..., "image": str | [str, ...] | absent, "conversations": [{"from", "value"}, ...], ...}

Byte offsets of all records come from one pass of msgspec over the memory-mapped file, without a
Python object for anything inside a record; a record is parsed from its slice when asked for.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError, PoolError
from visift.pool.files import must_be_a_file, unreadable
from visift.pool.paths import must_be_unicode
from visift.pool.readers.parsed import SOURCE_FIELDS, TASK_FIELDS, Parsed, ParseFault, label
from visift.pool.readers.spans import find_records, nesting
from visift.pool.record import ROLES, Role

#: Levels of lists and objects in a record. Parsers differ in how many they follow, and ours follows
#: more or fewer as the stack is empty or full: what is read once must be readable everywhere.
DEEPEST = 200

_CONTENT = ("conversations", "image")
#: What msgspec says of data that ends early, and of half a surrogate pair.
_TRUNCATED = "Input data was truncated"


class _Turn(msgspec.Struct, gc=False):
    speaker: str = msgspec.field(name="from")
    value: str


@dataclass(frozen=True, slots=True)
class LlavaFile:
    """One LLaVA file, mapped into memory.

    Attributes:
        path: the file.
        offsets: (R,) int64, byte at which each record starts.
        lengths: (R,) int64, bytes of each record.
        task_fields: fields that may hold the task, first found wins.
        source_fields: the same for the source.
    """

    path: Path
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    task_fields: tuple[str, ...]
    source_fields: tuple[str, ...]
    _map: memoryview = field(repr=False)
    _stamp: tuple[int, int] = field(repr=False)
    _decoder: msgspec.json.Decoder[Any] = field(repr=False)

    @classmethod
    def open(cls, path: Path, task_field: str | None, source_field: str | None) -> LlavaFile:
        """Find all records of a file.

        Args:
            path: a `.json` list or JSON lines; which of them is seen from the content.
            task_field: the only field to read the task from; None looks for `TASK_FIELDS`.
            source_field: the same for the source.

        Raises:
            PoolError: no such file, or JSON that is malformed as a whole (with the byte).
            InputError: a label field that holds the conversation itself.
        """
        for name in (task_field, source_field):
            if name in _CONTENT:
                raise InputError(f'"{name}" holds the conversation, it is no label.')
        view, stamp = _map_file(path)
        offsets, lengths = find_records(path, view)
        tasks = (task_field,) if task_field else TASK_FIELDS
        sources = (source_field,) if source_field else SOURCE_FIELDS
        decoder = _decoder(tasks, sources)
        return cls(path, offsets, lengths, tasks, sources, view, stamp, decoder)

    def mentions(self, name: str) -> bool:
        """Return whether a field of this name may be in some record."""
        mapped = self._map.obj
        assert isinstance(mapped, mmap.mmap)
        spellings = {json.dumps(name, ensure_ascii=escaped).encode() for escaped in (True, False)}
        return any(mapped.find(spelling) >= 0 for spelling in spellings)

    def raw(self, row: int) -> bytes:
        """Return the exact bytes of record `row`; raises `PoolError` beyond the end of the file."""
        start = int(self.offsets[row])
        end = start + int(self.lengths[row])
        mapped = self._map.obj
        assert isinstance(mapped, mmap.mmap)
        if mapped.size() < end:  # the system kills whoever reads beyond the end of a file
            raise _changed(self.path)
        return bytes(self._map[start:end])

    def must_be_unchanged(self) -> None:
        """See `Reader.must_be_unchanged`."""
        try:
            status = self.path.stat()
        except OSError:
            raise _changed(self.path) from None
        if (status.st_size, status.st_mtime_ns) != self._stamp:
            raise _changed(self.path)

    def parse(self, row: int) -> Parsed:
        """Return what record `row` says; raises `ParseFault` with the reason otherwise."""
        raw = self.raw(row)
        # Counting is fast, and no record has more levels than openings.
        if raw.count(b"[") + raw.count(b"{") > DEEPEST < nesting(raw):
            raise ParseFault(f"JSON is nested too deeply (more than {DEEPEST} levels)")
        try:
            if not raw.isascii():
                raw.decode()  # msgspec does not look at the bytes of fields it skips, trainers do
            said = self._decoder.decode(raw)
        except UnicodeDecodeError as error:
            raise ParseFault(f"not valid UTF-8: at byte {error.start:,} of the record") from None
        except msgspec.MsgspecError as error:
            raise ParseFault(_plain(str(error))) from None
        return Parsed(
            turns=_turns(said.conversations),
            images=_image_list(said.image),
            source=_label(said, self.source_fields),
            task=_label(said, self.task_fields),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process by name; the file is mapped again there."""
        state = (self.path, self.offsets, self.lengths, self.task_fields, self.source_fields)
        return _reopen, (*state, self._stamp)


def _reopen(
    path: Path,
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    tasks: tuple[str, ...],
    sources: tuple[str, ...],
    stamp: tuple[int, int],
) -> LlavaFile:
    view, now = _map_file(path)
    if now != stamp:
        raise _changed(path)
    decoder = _decoder(tasks, sources)
    return LlavaFile(path, offsets, lengths, tasks, sources, view, stamp, decoder)


def _changed(path: Path) -> PoolError:
    return PoolError(
        "the file changed after it was indexed.",
        where=str(path),
        fix="Leave pool files alone during a run, then start it again.",
    )


def _map_file(path: Path) -> tuple[memoryview, tuple[int, int]]:
    must_be_unicode(path)
    must_be_a_file(path)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_size, status.st_mtime_ns)
            if status.st_size == 0:
                raise PoolError("the file is empty.", where=str(path), fix="Name another file.")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), stamp
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def _decoder(tasks: tuple[str, ...], sources: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder that looks at the fields in use and skips all others."""
    labels = {_attribute(name): name for name in (*tasks, *sources)}
    row = msgspec.defstruct(
        "LlavaRow",
        [
            ("conversations", list[_Turn]),
            ("image", str | list[str] | None, None),
            *((key, Any, None) for key in labels),
        ],
        rename=labels,
        gc=False,
    )
    return msgspec.json.Decoder(row)


@cache
def _attribute(name: str) -> str:
    """Return what a decoded row calls the label field `name`, which may be any text."""
    return f"label_{name.encode().hex()}"


def _label(said: Any, fields: tuple[str, ...]) -> str | None:
    labels = (label(name, getattr(said, _attribute(name))) for name in fields)
    return next((text for text in labels if text is not None), None)


def _turns(turns: list[_Turn]) -> list[tuple[Role, str]]:
    if not turns:
        raise ParseFault('"conversations" is empty')
    try:
        return [(ROLES[turn.speaker], turn.value) for turn in turns]
    except KeyError as speaker:
        raise ParseFault(
            f'unknown speaker: "{speaker.args[0]}" (human, gpt or system was expected)'
        ) from None


def _image_list(image: str | list[str] | None) -> list[str]:
    if not image:
        return []
    paths = [image] if isinstance(image, str) else image
    if "" in paths:
        raise ParseFault('"image" holds an empty path')
    return paths


_KIND = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


def _plain(message: str) -> str:
    """Turn msgspec's validation message into a sentence about the record."""
    mismatch = re.fullmatch(r"Expected `(.+)`, got `(\w+)` - at `\$(.*)`", message)
    if mismatch:
        wanted, got, where = mismatch.groups()
        kinds = " or ".join(_KIND.get(kind.strip(), kind.strip()) for kind in wanted.split("|"))
        return f"{_field(where)} is {_KIND.get(got, got)}, {kinds} was expected"
    missing = re.fullmatch(r"Object missing required field `(\w+)`(?: - at `\$(.*)`)?", message)
    if missing:
        name, where = missing.groups()
        return f'"{name}" is missing' + (f" in {_field(where)}" if where else "")
    whole = re.fullmatch(r"Expected `object`, got `(\w+)`", message)
    if whole:
        return f"the record is {_KIND.get(whole.group(1), whole.group(1))}, not an object"
    large = re.fullmatch(r"(?:Number|Integer value) out of range - at `\$(.*)`", message)
    if large:
        return f"{_field(large.group(1))} is too large a number"
    if message == _TRUNCATED:
        return "JSON is malformed: it ends early, or a \\u escape is half of a surrogate pair"
    return message.rstrip(".")


def _field(where: str) -> str:
    name = where.lstrip(".")
    return f'"{name}"' if name else "the record"

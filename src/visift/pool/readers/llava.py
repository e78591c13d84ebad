"""LLaVA conversations: a JSON list, or JSON lines.

    {"id": ..., "image": str | [str, ...] | absent, "conversations": [{"from", "value"}, ...], ...}

Byte offsets of all records come from one pass of msgspec over the memory-mapped file, without a
Python object for anything inside a record; a record is parsed from its slice when asked for.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from visift.errors import PoolError
from visift.pool.readers.parsed import Parsed, ParseFault
from visift.pool.record import ROLES

#: Label fields in the order they are looked for, when the user names none.
TASK_FIELDS = ("task", "task_name")
SOURCE_FIELDS = ("source", "data_source", "dataset")

_BOM = b"\xef\xbb\xbf"
_GAP = re.compile(rb"[ \t\r\n,]*")
_BYTE = re.compile(r"\(byte (\d+)\)")


class _Turn(msgspec.Struct):
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
        """
        view, stamp = _map_file(path)
        offsets, lengths = _find_records(path, view)
        tasks = (task_field,) if task_field else TASK_FIELDS
        sources = (source_field,) if source_field else SOURCE_FIELDS
        decoder = _decoder(tasks, sources)
        return cls(path, offsets, lengths, tasks, sources, view, stamp, decoder)

    def raw(self, row: int) -> bytes:
        """Return the exact bytes of record `row`."""
        start = int(self.offsets[row])
        return bytes(self._map[start : start + int(self.lengths[row])])

    def parse(self, row: int) -> Parsed:
        """Return what record `row` says; raises `ParseFault` with the reason otherwise."""
        start = int(self.offsets[row])
        try:
            said = self._decoder.decode(self._map[start : start + int(self.lengths[row])])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ParseFault(_plain(str(error))) from None
        return Parsed(
            turns=[_turn(turn) for turn in _not_empty(said.conversations)],
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
        raise PoolError(
            "the file changed after it was indexed.",
            where=str(path),
            fix="Leave pool files alone during a run, then start it again.",
        )
    decoder = _decoder(tasks, sources)
    return LlavaFile(path, offsets, lengths, tasks, sources, view, stamp, decoder)


def _map_file(path: Path) -> tuple[memoryview, tuple[int, int]]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_size, status.st_mtime_ns)
            if status.st_size == 0:
                raise PoolError("the file is empty.", where=str(path), fix="Name another file.")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), stamp
    except OSError as error:
        reason = error.strerror or str(error)
        raise PoolError(
            f"cannot be read ({reason}).", where=str(path), fix="Check --pool."
        ) from None


def _find_records(path: Path, view: memoryview) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    start = len(_BOM) if view[: len(_BOM)] == _BOM else 0
    mapped = view.obj
    assert isinstance(mapped, mmap.mmap)
    first = _GAP.match(mapped, start)
    head = first.end() if first else start
    if mapped[head : head + 1] == b"[":
        spans = _list_spans(path, view, mapped, head)
    else:
        spans = _line_spans(mapped, head)
    flat = np.fromiter((edge for span in spans for edge in span), dtype=np.int64)
    return flat[0::2].copy(), flat[1::2].copy()


def _list_spans(
    path: Path, view: memoryview, mapped: mmap.mmap, head: int
) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of the elements of a JSON list that begins at byte `head`."""
    try:
        raws = msgspec.json.decode(view[head:], type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _malformed(path, str(error), head) from None
    end = head + 1
    for raw in raws:
        gap = _GAP.match(mapped, end)
        start = gap.end() if gap else end
        length = len(memoryview(raw))
        end = start + length
        yield start, length


def _line_spans(mapped: mmap.mmap, head: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of every line that is not blank."""
    size = len(mapped)
    start = head
    while start < size:
        end = mapped.find(b"\n", start)
        end = size if end < 0 else end
        line = mapped[start:end]
        stripped = line.strip()
        if stripped:
            yield start + len(line) - len(line.lstrip()), len(stripped)
        start = end + 1


def _malformed(path: Path, message: str, head: int) -> PoolError:
    """Say where a JSON list breaks; msgspec counts bytes from where it was given the data."""
    found = _BYTE.search(message)
    where = f"{path}, byte {int(found.group(1)) + head:,}" if found else str(path)
    what = _BYTE.sub("", message).removeprefix("JSON is malformed: ").strip()
    return PoolError(
        f"not a valid JSON list: {what}.",
        where=where,
        fix="Repair or download the file again; one record a line (JSON lines) is read as well.",
    )


def _decoder(tasks: tuple[str, ...], sources: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder that looks at the fields in use and skips all others."""
    labels = {f"label_{i}": name for i, name in enumerate(dict.fromkeys((*tasks, *sources)))}
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


def _label(said: Any, fields: tuple[str, ...]) -> str | None:
    names = said.__struct_encode_fields__
    for name in fields:
        value = getattr(said, said.__struct_fields__[names.index(name)])
        if value is not None and value != "":
            return value if isinstance(value, str) else str(value)
    return None


def _not_empty(turns: list[_Turn]) -> list[_Turn]:
    if not turns:
        raise ParseFault('"conversations" is empty')
    return turns


def _turn(turn: _Turn) -> tuple[Any, str]:
    role = ROLES.get(turn.speaker)
    if role is None:
        raise ParseFault(f'unknown speaker "{turn.speaker}" (human, gpt or system was expected)')
    return role, turn.value


def _image_list(image: str | list[str] | None) -> list[str]:
    if not image:
        return []
    paths = [image] if isinstance(image, str) else image
    if "" in paths:
        raise ParseFault('"image" holds an empty path')
    return paths


_KIND = {"str": "a string", "array": "a list", "object": "an object", "null": "null"}


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
    return message.rstrip(".")


def _field(where: str) -> str:
    name = where.lstrip(".")
    return f'"{name}"' if name else "the record"

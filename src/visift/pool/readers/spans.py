"""Where the records of a JSON list or of JSON lines lie: (start, length) in bytes, none parsed.

One record that no JSON parser accepts must not cost the whole file: what msgspec refuses is looked
at once more by its brackets and strings alone, and the record is then refused by itself.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from visift.errors import PoolError
from visift.pool.readers.strangers import (
    BYTE,
    NO_JSON,
    refuse_other_encodings,
    refuse_other_formats,
    refuse_wide_objects,
)

Spans = Iterable[tuple[int, int]]

_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"[ \t\r\n]*")
_GAP = re.compile(rb"[ \t\r\n,]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
# A string that nothing ends is one token as well, or every quote in it would be tried as a start.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_SCALAR = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^ \t\r\n,"{}\[\]]+', re.DOTALL)
_CLOSING = re.compile(rb"[ \t\r\n]*\][ \t\r\n]*")


def find_records(path: Path, view: memoryview) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets and lengths of all records of a mapped file, two (R,) arrays.

    Raises:
        PoolError: JSON that is malformed as a whole, with the byte; another format or encoding.
    """
    mapped = view.obj
    assert isinstance(mapped, mmap.mmap)
    refuse_other_encodings(path, view)
    head = _end(_BLANK, mapped, len(_BOM) if view[: len(_BOM)] == _BOM else 0)
    is_list = mapped[head : head + 1] == b"["
    spans = (_list_spans if is_list else _line_spans)(path, view, mapped, head)
    flat = np.fromiter((edge for span in spans for edge in span), dtype=np.int64)
    return flat[0::2].copy(), flat[1::2].copy()


def _end(pattern: re.Pattern[bytes], mapped: mmap.mmap, start: int) -> int:
    found = pattern.match(mapped, start)
    return found.end() if found else start


def _list_spans(path: Path, view: memoryview, mapped: mmap.mmap, head: int) -> Spans:
    """Return the elements of a JSON list that begins at byte `head`."""
    try:
        raws = msgspec.json.decode(view[head:], type=list[msgspec.Raw])
    except NO_JSON as error:
        return _bracketed(path, mapped, head, str(error))
    return _element_spans(raws, mapped, head)


def _element_spans(
    raws: list[msgspec.Raw], mapped: mmap.mmap, head: int
) -> Iterator[tuple[int, int]]:
    end = head + 1
    for raw in raws:
        start = _end(_GAP, mapped, end)
        length = len(memoryview(raw))
        end = start + length
        yield start, length


def _bracketed(path: Path, mapped: mmap.mmap, head: int, refused: str) -> list[tuple[int, int]]:
    """Return the elements of a list, found by brackets, strings and commas.

    Raises:
        PoolError: the list does not end, or its elements are not divided by single commas.
    """
    spans: list[tuple[int, int]] = []
    comma: re.Match[bytes] | None = _BLANK.match(mapped, head + 1)
    end: int | None = head + 1
    while comma is not None and (end := _element_end(mapped, comma.end())) is not None:
        spans.append((comma.end(), end - comma.end()))
        comma = _COMMA.match(mapped, end)
    if end is None or not _CLOSING.fullmatch(mapped, end):
        raise _malformed(path, refused, head, len(mapped), spans)
    return spans


def _element_end(mapped: mmap.mmap, start: int) -> int | None:
    """Return the byte after an element of a list; None where there is none, or it has no end."""
    if mapped[start : start + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(mapped, start)
        return scalar.end() if scalar else None
    depth = 0
    for token in _TOKEN.finditer(mapped, start):
        depth += _step(mapped[token.start()])
        if depth == 0:
            return token.end()
    return None


def _malformed(
    path: Path, refused: str, head: int, size: int, spans: list[tuple[int, int]]
) -> PoolError:
    """Say where a JSON list breaks; msgspec counts bytes from where it was given the data."""
    found = BYTE.search(refused)
    byte = int(found.group(1)) + head if found else size
    what = BYTE.sub("", refused).removeprefix("JSON is malformed: ").strip().rstrip(".")
    byte -= what == "trailing characters"  # there msgspec names the byte after
    ends = f"the file ends inside record {len(spans):,} (0-based)"
    return PoolError(
        f"not a valid JSON list: {what if found else ends}.",
        where=f"{path}, byte {byte:,}",
        fix="Repair or download the file again; one record a line (JSON lines) is read as well.",
    )


def _line_spans(
    path: Path, view: memoryview, mapped: mmap.mmap, head: int
) -> Iterator[tuple[int, int]]:
    """Yield every line that is not blank."""
    refuse_wide_objects(path, view, mapped, head)
    refuse_other_formats(path, mapped, head)
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


def nesting(data: bytes) -> int:
    """Return how many levels of lists and objects some JSON has."""
    depth = deepest = 0
    for token in _TOKEN.finditer(data):
        depth += _step(data[token.start()])
        deepest = max(deepest, depth)
    return deepest


def _step(sign: int) -> int:
    return (sign in b"[{") - (sign in b"]}")

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

Spans = Iterable[tuple[int, int]]

_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"[ \t\r\n]*")
_GAP = re.compile(rb"[ \t\r\n,]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_BYTE = re.compile(r" *\(byte (\d+)\)")
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def find_records(path: Path, view: memoryview) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets and lengths of all records of a mapped file, two (R,) arrays.

    Raises:
        PoolError: JSON that is malformed as a whole, with the byte.
    """
    mapped = view.obj
    assert isinstance(mapped, mmap.mmap)
    head = _end(_BLANK, mapped, len(_BOM) if view[: len(_BOM)] == _BOM else 0)
    is_list = mapped[head : head + 1] == b"["
    spans = _list_spans(path, view, mapped, head) if is_list else _line_spans(path, mapped, head)
    flat = np.fromiter((edge for span in spans for edge in span), dtype=np.int64)
    return flat[0::2].copy(), flat[1::2].copy()


def _end(pattern: re.Pattern[bytes], mapped: mmap.mmap, start: int) -> int:
    found = pattern.match(mapped, start)
    return found.end() if found else start


def _list_spans(path: Path, view: memoryview, mapped: mmap.mmap, head: int) -> Spans:
    """Return the elements of a JSON list that begins at byte `head`."""
    try:
        raws = msgspec.json.decode(view[head:], type=list[msgspec.Raw])
    except _REFUSED as error:
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
    """Return the objects of a list, found by brackets and strings.

    Raises:
        PoolError: the list does not end, or its objects are not divided by single commas.
    """
    spans: list[tuple[int, int]] = []
    depth, start, end = 0, head, head + 1
    for token in _TOKEN.finditer(mapped, head):
        sign = mapped[token.start() : token.start() + 1]
        if sign in (b"{", b"["):
            depth += 1
            start = token.start() if depth == 2 else start
        elif sign in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                whole = _end(_BLANK, mapped, token.end()) == len(mapped)
                if whole and _end(_BLANK, mapped, end) == token.start():
                    return spans
                break
            if depth == 1:
                gap = (_COMMA if spans else _BLANK).match(mapped, end)
                if gap is None or gap.end() != start:
                    break
                spans.append((start, token.end() - start))
                end = token.end()
    raise _malformed(path, refused, head, len(mapped), spans)


def _malformed(
    path: Path, refused: str, head: int, size: int, spans: list[tuple[int, int]]
) -> PoolError:
    """Say where a JSON list breaks; msgspec counts bytes from where it was given the data."""
    found = _BYTE.search(refused)
    byte = int(found.group(1)) + head if found else size
    what = _BYTE.sub("", refused).removeprefix("JSON is malformed: ").strip().rstrip(".")
    byte -= what == "trailing characters"  # there msgspec names the byte after
    ends = f"the file ends inside record {len(spans):,} (0-based)"
    return PoolError(
        f"not a valid JSON list: {what if found else ends}.",
        where=f"{path}, byte {byte:,}",
        fix="Repair or download the file again; one record a line (JSON lines) is read as well.",
    )


def _line_spans(path: Path, mapped: mmap.mmap, head: int) -> Iterator[tuple[int, int]]:
    """Yield every line that is not blank."""
    _refuse_one_object(path, mapped, head)
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


def _refuse_one_object(path: Path, mapped: mmap.mmap, head: int) -> None:
    """Raise `PoolError` for one JSON object over several lines: neither a list nor JSON lines."""
    end = mapped.find(b"\n", head)
    if mapped[head : head + 1] != b"{" or end < 0 or _is_json(mapped[head:end]):
        return
    if _is_json(mapped[head:]):
        raise PoolError(
            "is one JSON object; a list of records, or one record a line, was expected.",
            where=str(path),
            fix="Name the file that holds the list, or take the list out of this one.",
        )


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except _REFUSED:
        return False
    return True

"""Files that are neither a JSON list nor JSON lines, told by how they begin, and what to do."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import msgspec

from visift.errors import PoolError

#: What msgspec raises for data that is no JSON.
NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
#: Where msgspec's messages say a fault lies, counted from where it was given the data.
BYTE = re.compile(r" *\(byte (\d+)\)")

_OBJECT = re.compile(rb"^[ \t\r]*\{", re.MULTILINE)
_TEXT = re.compile(rb"\S")
_LFS = b"version https://git-lfs.github.com/spec/"
_KNOWN = (
    (_LFS, "is a Git LFS pointer, not the file itself.", "Fetch the file: git lfs pull"),
    (b"\x1f\x8b", "is compressed with gzip.", "Unpack it: gunzip --keep FILE"),
    (b"PK\x03\x04", "is a zip archive.", "Unpack it, and name the file in it."),
    (b"PAR1", "is a Parquet file.", "Convert it to JSON lines."),
    (b"<", "is HTML or XML, perhaps a page that was saved for the file.", "Download it again."),
)
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
#: Where the zero bytes lie among the first four of two ASCII characters, as JSON begins.
_BY_ZEROS = {"0x0x": "UTF-16BE", "x0x0": "UTF-16LE", "000x": "UTF-32BE", "x000": "UTF-32LE"}
_LIST_OR_LINES = "a list of records, or one record a line, was expected."


def refuse_other_encodings(path: Path, view: memoryview) -> None:
    """Raise `PoolError` for text in UTF-16 or UTF-32."""
    name = _encoding(bytes(view[:4]))
    if name is not None:
        raise PoolError(
            f"is text in {name}; UTF-8 was expected.",
            where=str(path),
            fix=f"Convert it: iconv -f {name} -t UTF-8 FILE > NEW_FILE",
        )


def refuse_other_formats(path: Path, mapped: mmap.mmap, head: int) -> None:
    """Raise `PoolError` for a file in which no line begins as a JSON object does."""
    start = mapped[head : head + len(_LFS)]
    for mark, what, fix in _KNOWN:
        if start.startswith(mark):
            raise PoolError(what, where=str(path), fix=fix)
    if _OBJECT.search(mapped, head) is None and start:
        raise PoolError(
            "is neither a list of records in JSON nor JSON lines.",
            where=str(path),
            fix="Name a LLaVA JSON or JSONL file, or convert this one.",
        )


def refuse_wide_objects(path: Path, view: memoryview, mapped: mmap.mmap, head: int) -> None:
    """Raise `PoolError` for JSON objects over several lines: neither a list nor JSON lines."""
    end = mapped.find(b"\n", head)
    if mapped[head : head + 1] != b"{" or end < 0 or _refusal(view[head:end]) is None:
        return
    refused = _refusal(view[head:])
    if refused is None:
        raise PoolError(
            f"is one JSON object; {_LIST_OR_LINES}",
            where=str(path),
            fix="Name the file that holds the list, or take the list out of this one.",
        )
    found = BYTE.search(refused)
    after = int(found.group(1)) + head if found else len(mapped)
    # msgspec reads on as long as lines go on where the one before stopped.
    if "trailing characters" in refused and after > end:
        raise PoolError(
            f"holds JSON objects over several lines; {_LIST_OR_LINES}",
            where=f"{path}, byte {after - 1:,}",
            fix="Write one record a line, for example: jq -c . FILE > NEW_FILE",
        )
    if not found and _TEXT.search(mapped, end):
        raise PoolError(
            f"ends inside a JSON object that begins in its first line; {_LIST_OR_LINES}",
            where=str(path),
            fix="Repair or download the file again.",
        )


def _encoding(start: bytes) -> str | None:
    marked = next((name for mark, name in _BYTE_ORDER_MARKS if start.startswith(mark)), None)
    return marked or _BY_ZEROS.get("".join("x" if byte else "0" for byte in start))


def _refusal(data: memoryview) -> str | None:
    """Return why some bytes are not one JSON value; nothing is copied."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except NO_JSON as error:
        return str(error)
    return None

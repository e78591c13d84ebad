"""Pool files as a whole: each is read, or refused in one sentence; nothing hangs, none is a crash.

`POOL` in an outcome stands for the path of the file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from visift.errors import VisiftError
from visift.pool.pool import Pool

GOOD = b'{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}'
LIST = b"[" + GOOD + b"," + GOOD + b"]"
LINES = GOOD + b"\n" + GOOD + b"\n"
WIDE = b'{\n "conversations": [\n  {"from": "gpt", "value": "a"}\n ]\n}\n'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
TEXT = LIST.decode()

HTML = "POOL: is HTML or XML, perhaps a page that was saved for the file."
NEITHER = "POOL: is neither a list of records in JSON nor JSON lines."
INVALID = "not a valid JSON list:"
TRAILING = f"{INVALID} trailing characters."
INSIDE = f"{INVALID} the file ends inside record"
UTF_8 = "UTF-8 was expected."
OR_LINES = "a list of records, or one record a line, was expected."

#: What a file holds, and what becomes of it: the number of its records, or the error.
FILES: list[tuple[str, bytes, int | str]] = [
    ("a list", LIST, 2),
    ("lines", LINES, 2),
    ("lines without a last line end", LINES.strip(), 2),
    ("lines of Windows, and blank ones", LINES.replace(b"\n", b"\r\n\r\n"), 2),
    ("a byte order mark before a list", b"\xef\xbb\xbf" + LIST, 2),
    ("a byte order mark before lines", b"\xef\xbb\xbf" + LINES, 2),
    ("nothing", b"", "POOL: the file is empty."),
    ("white space", b" \r\n\t\n", "POOL: no records in it."),
    ("a byte order mark alone", b"\xef\xbb\xbf", "POOL: no records in it."),
    ("an empty list", b"[ ]", "POOL: no records in it."),
    # --- cut and joined
    (
        "a list cut between records",
        LIST[:77],
        f"POOL, byte 77: {INSIDE} 1 (0-based).",
    ),
    (
        "a list cut inside a record",
        LIST[:99],
        f"POOL, byte 99: {INSIDE} 1 (0-based).",
    ),
    (
        "a list cut inside a string of a million quotes",
        b'[{"x":"' + b'\\"' * 1_000_000,
        f"POOL, byte 2,000,007: {INSIDE} 0 (0-based).",
    ),
    (
        "a list cut after a backslash",
        b'[{"x":"\\',
        f"POOL, byte 8: {INSIDE} 0 (0-based).",
    ),
    ("two lists", LIST + LIST, f"POOL, byte 153: {TRAILING}"),
    ("two lists on two lines", LIST + b"\n" + LIST, f"POOL, byte 154: {TRAILING}"),
    ("a list and zero bytes", LIST + bytes(4096), f"POOL, byte 153: {TRAILING}"),
    ("a list and a record", LIST + GOOD, f"POOL, byte 153: {TRAILING}"),
    ("a comma too many", b"[" + GOOD + b",]", f"POOL, byte 77: {INVALID} trailing comma in array."),
    (
        "a comma too few",
        b"[" + GOOD + GOOD + b"]",
        f"POOL, byte 76: {INVALID} expected ',' or ']'.",
    ),
    (
        "a bracket of the wrong kind",
        b"[" + GOOD + b"}",
        f"POOL, byte 76: {INVALID} expected ',' or ']'.",
    ),
    # --- objects instead of a list
    ("one object over several lines", WIDE, f"POOL: is one JSON object; {OR_LINES}"),
    (
        "objects over several lines",
        WIDE * 3,
        f"POOL, byte 59: holds JSON objects over several lines; {OR_LINES}",
    ),
    (
        "an object over several lines, cut",
        WIDE[:-8],
        f"POOL: ends inside a JSON object that begins in its first line; {OR_LINES}",
    ),
    # --- other encodings
    ("UTF-16", TEXT.encode("utf-16"), f"POOL: is text in UTF-16; {UTF_8}"),
    (
        "UTF-16, big end first",
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        f"POOL: is text in UTF-16; {UTF_8}",
    ),
    ("UTF-16 without a mark", TEXT.encode("utf-16-le"), f"POOL: is text in UTF-16LE; {UTF_8}"),
    (
        "UTF-16, big end first, without a mark",
        TEXT.encode("utf-16-be"),
        f"POOL: is text in UTF-16BE; {UTF_8}",
    ),
    (
        "lines in UTF-16 without a mark",
        LINES.decode().encode("utf-16-le"),
        f"POOL: is text in UTF-16LE; {UTF_8}",
    ),
    ("UTF-32", TEXT.encode("utf-32"), f"POOL: is text in UTF-32; {UTF_8}"),
    ("UTF-32 without a mark", TEXT.encode("utf-32-be"), f"POOL: is text in UTF-32BE; {UTF_8}"),
    ("zero bytes", bytes(4096), NEITHER),
    # --- other formats
    ("a string", b'"text"', NEITHER),
    ("a number", b"3", NEITHER),
    ("null", b"null", NEITHER),
    ("YAML", b"- from: human\n  value: q\n", NEITHER),
    ("CSV", b"id,image\n1,a.png\n", NEITHER),
    ("a comment before the list", b"// records\n" + LIST, NEITHER),
    ("an answer of a web server", b"<!DOCTYPE html>\n<html>\n{ }", HTML),
    ("a pointer of Git LFS", LFS, "POOL: is a Git LFS pointer, not the file itself."),
    ("gzip", b"\x1f\x8b\x08\0\0\0\0\0", "POOL: is compressed with gzip."),
    ("zip", b"PK\x03\x04\n{}", "POOL: is a zip archive."),
    ("Parquet", b"PAR1\n{}", "POOL: is a Parquet file."),
]


def outcome(path: Path) -> int | str:
    """Return how many records a pool has, or why it has none; what to do is always said."""
    try:
        return len(Pool.open(path))
    except VisiftError as error:
        name = os.fsencode(path).decode(errors="backslashreplace")
        return str(error).splitlines()[0].replace(name, "POOL") if error.fix else "no remedy"


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in FILES], ids=[case[0] for case in FILES]
)
def test_a_file_is_read_or_refused_in_one_sentence(
    tmp_path: Path, data: bytes, expected: int | str
) -> None:
    path = tmp_path / "pool.json"
    path.write_bytes(data)
    assert outcome(path) == expected


# --- what is no file ----------------------------------------------------------------------------


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.json")
    return folder / "pipe.json"


def loop(folder: Path) -> Path:
    (folder / "a.json").symlink_to("b.json")
    (folder / "b.json").symlink_to("a.json")
    return folder / "a.json"


def link_to_nothing(folder: Path) -> Path:
    (folder / "link.json").symlink_to("gone.json")
    return folder / "link.json"


def name_in_latin_1(folder: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/p\xe9.json"))
    path.write_bytes(LIST)
    return path


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(LIST)
    return folder / "file" / "pool.json"


def folder_of_loops(folder: Path) -> Path:
    (folder / "again").symlink_to(folder)
    (folder / "pool.json").write_bytes(LIST)
    return folder


def folder_with_a_bad_file(folder: Path) -> Path:
    (folder / "1.json").write_bytes(LIST)
    (folder / "2.jsonl").write_bytes(b"")
    return folder


def empty_folder(folder: Path) -> Path:
    (folder / "pool.txt").write_bytes(LIST)
    return folder


PLACES: list[tuple[str, Callable[[Path], Path], int | str]] = [
    (
        "no such file",
        lambda f: f / "none.json",
        "POOL: cannot be read (No such file or directory).",
    ),
    ("a file as a folder", below_a_file, "POOL: cannot be read (Not a directory)."),
    ("a pipe", pipe, "POOL: is not a regular file."),
    ("a device without end", lambda f: Path("/dev/zero"), "POOL: is not a regular file."),
    ("a device without bytes", lambda f: Path("/dev/null"), "POOL: is not a regular file."),
    ("a loop of links", loop, "POOL: cannot be read (Too many levels of symbolic links)."),
    ("a link to nothing", link_to_nothing, "POOL: cannot be read (No such file or directory)."),
    ("a name that is not UTF-8", name_in_latin_1, "POOL: its name is not valid UTF-8."),
    ("a folder that links to itself", folder_of_loops, 2),
    ("a folder with an empty file", folder_with_a_bad_file, "POOL/2.jsonl: the file is empty."),
    (
        "a folder without a pool",
        empty_folder,
        "POOL: no .json or .jsonl file and no image in this folder (1 .txt).",
    ),
]


@pytest.mark.skipif(sys.platform != "linux", reason="names, links and devices as Linux has them")
@pytest.mark.parametrize(
    ("build", "expected"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES]
)
def test_what_is_no_file_is_never_waited_for(
    tmp_path: Path, build: Callable[[Path], Path], expected: int | str
) -> None:
    assert outcome(build(tmp_path)) == expected

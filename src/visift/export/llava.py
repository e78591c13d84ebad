"""LLaVA and LLaVA-NeXT: one JSON list, images named relative to `--image_folder`.

A record is written as the very bytes its pool file holds. Only what the trainer would crash on is
touched: a text-only record must not have the key `image` at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.files import disk_errors
from visift.pool.pool import Pool

_BLANK = " \t\r\n"


def write(pool: Pool, rows: NDArray[np.int64], path: Path) -> int:
    """Write rows of a pool as a LLaVA JSON list.

    Returns:
        How many records had to be changed (an empty `image` key was removed).

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    changed = 0
    with disk_errors(path), path.open("wb") as file:
        file.write(b"[")
        for number, row in enumerate(rows):
            raw = pool.raw(int(row))
            kept = without_image_key(raw) if pool.text_only[row] else raw
            changed += kept is not raw
            file.write(b",\n" if number else b"\n")
            file.write(kept)
        file.write(b"\n]\n")
    return changed


def without_image_key(raw: bytes) -> bytes:
    """Return a JSON object without its top-level key `image`; the same object if it has none."""
    if b'"image"' not in raw and b"\\u" not in raw:
        return raw
    text = raw.decode()
    spans = [(start, end) for key, start, end in _members(text) if key == "image"]
    if not spans:
        return raw
    for start, end in reversed(spans):
        text = _cut_member(text, start, end)
    return text.encode()


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (key, start, end) of the members of a JSON object, from key to end of value."""
    # Numbers stay text: nothing is lost, and none is too long.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    at = _skip(text, text.index("{") + 1)
    while text[at] == '"':
        start = at
        key, at = scanstring(text, at + 1, False)
        at = _skip(text, _skip(text, at) + 1)
        _, end = decoder.raw_decode(text, at)
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _cut_member(text: str, start: int, end: int) -> str:
    """Remove a member with the comma that belongs to it."""
    after = _skip(text, end)
    if text[after] == ",":
        return text[:start] + text[_skip(text, after + 1) :]
    before = start
    while text[before - 1] in _BLANK:
        before -= 1
    before -= text[before - 1] == ","
    return text[:before] + text[end:]


def _skip(text: str, at: int) -> int:
    while text[at] in _BLANK:
        at += 1
    return at


def read(path: Path) -> Iterable[bytes]:
    """Yield the raw records of a file that `write` made."""
    from visift.pool.readers.llava import LlavaFile

    file = LlavaFile.open(path, None, None)
    return (file.raw(row) for row in range(len(file.offsets)))

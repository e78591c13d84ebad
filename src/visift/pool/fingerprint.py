"""What a run notes of its pool files, to tell later whether a file is still the same."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from visift.pool.readers import Reader
from visift.pool.readers.images import ImageList

_BLOCK = 2**22


def fingerprint(reader: Reader) -> dict[str, Any]:
    """Return name, bytes and BLAKE2b-128 of a pool file.

    Images in a folder or an archive stand for it by their list, which is hashed as it reads as
    JSON lines: their bytes may be terabytes.
    """
    digest = blake2b(digest_size=16)
    if isinstance(reader, ImageList) and not reader.is_file:
        lines = [reader.raw(row) + b"\n" for row in range(len(reader.offsets))]
        digest.update(b"".join(lines))
        size = sum(map(len, lines))
    else:
        size = reader.path.stat().st_size
        with reader.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return {"file": reader.path.name, "bytes": size, "blake2b": digest.hexdigest()}

"""What decoders take from a file unseen: the chunks of a PNG and the scans of a JPEG."""

from __future__ import annotations

import re
import struct
import zlib

from visift.errors import ImageError

# Encoders write chunks of 8 KiB and more, and about ten scans. Every further one costs time: a scan
# of a few bytes as much as the whole picture.
_MOST_CHUNKS = 100_000
_MOST_SCANS = 100

_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = 0xD9
_ALONE = (0x01, *range(0xD0, 0xD9))
# In the data of a scan, a byte ff means a marker unless 00 or a restart follows.
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)


def check_png_chunks(data: bytes) -> None:
    """Check number of chunks, length and CRC of every critical one: PIL does not for the pixels.

    Raises:
        ImageError: truncated, corrupt, or chunks without number.
    """
    view, at, kind, count = memoryview(data), 8, b"", 0
    while kind != b"IEND":
        if at + 12 > len(data):
            raise ImageError("truncated (the PNG has no end)")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ImageError(f"truncated ({len(data):,} bytes, {end:,} needed)")
        critical = not kind[0] & 0x20
        crc = int.from_bytes(view[end - 4 : end], "big")
        if critical and zlib.crc32(view[at + 4 : end - 4]) != crc:
            raise ImageError("corrupt (PNG checksum does not match)")
        count += 1
        if count > _MOST_CHUNKS:
            raise ImageError(f"corrupt (PNG of more than {_MOST_CHUNKS:,} chunks)")
        at = end


def check_jpeg_scans(data: bytes) -> None:
    """Refuse a JPEG whose decoding would have no end.

    Raises:
        ImageError: more scans than any encoder writes.
    """
    # Thumbnails, and what cameras append to a picture, may hold these bytes as well.
    if data.count(_START_OF_SCAN) > _MOST_SCANS and _scans(data) > _MOST_SCANS:
        raise ImageError(f"corrupt (JPEG of more than {_MOST_SCANS} scans)")


def _scans(data: bytes) -> int:
    """Count the scans of the first picture in a JPEG file, as far as its markers make sense."""
    count, at = 0, 2
    while found := _NEXT_MARKER.search(data, at):
        at = found.end()
        marker = data[at - 1]
        if marker == _END_OF_IMAGE or at + 2 > len(data):
            break
        if marker not in _ALONE:
            at += int.from_bytes(data[at : at + 2], "big")
        count += marker == _START_OF_SCAN[1]
    return count

"""Bytes that go wrong in one chosen place: tars, zips and pictures, written by hand."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

# --- tar ----------------------------------------------------------------------------------------

TAR_END = bytes(2 * tarfile.BLOCKSIZE)


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header of a tar with a proper checksum, whatever size it states."""
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    # GNU's way to write what eight octal digits cannot: minus numbers too.
    header[124:136] = (b"\x80" if size >= 0 else b"\xff") + (size % 256**11).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def tar_entry(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return tar_header(name, len(data), kind) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def tar_attribute(name: bytes, value: bytes) -> bytes:
    """Return an extended header that sets one attribute of the next member."""
    length = len(name) + len(value) + 3
    length += len(str(length + len(str(length))))
    return tar_entry("pax", b"%d %s=%s\n" % (length, name, value), tarfile.XHDTYPE)


# --- zip ----------------------------------------------------------------------------------------

#: Places in a zip of one member, counted from its directory entry or its end.
FLAGS, METHOD, PACKED, SIZE, NAME_LENGTH, OFFSET = 8, 10, 20, 24, 28, 42
END_COUNT, END_BYTES, END_OFFSET = 8, 12, 16


def zip_bytes(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def in_directory(data: bytes, place: int, value: bytes) -> bytes:
    """Overwrite a field of the first directory entry."""
    return _overwritten(data, data.index(b"PK\x01\x02") + place, value)


def in_end(data: bytes, place: int, value: bytes) -> bytes:
    """Overwrite a field of the end record."""
    return _overwritten(data, data.index(b"PK\x05\x06") + place, value)


def far_away(data: bytes, offset: int) -> bytes:
    """Say in a ZIP64 field that the only member begins at `offset`."""
    entry = data.index(b"PK\x01\x02")
    extra = struct.pack("<2HQ", 1, 8, offset)
    data = in_directory(data, NAME_LENGTH + 2, struct.pack("<H", len(extra)))
    data = in_directory(data, OFFSET, b"\xff" * 4)
    name = entry + 46 + struct.unpack_from("<H", data, entry + NAME_LENGTH)[0]
    data = data[:name] + extra + data[name:]
    return in_end(data, END_BYTES, struct.pack("<L", data.index(b"PK\x05\x06") - entry))


def _overwritten(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


# --- pictures -----------------------------------------------------------------------------------


def picture(
    name: str = "PNG", size: tuple[int, int] = (8, 6), mode: str = "RGB", **options: Any
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, name, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png_with(extra: bytes) -> bytes:
    """Return a good PNG with more between its header and its pixels."""
    plain = picture()
    return plain[:33] + extra + plain[33:]


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """Return a grey PNG whose header and pixels need not agree."""
    header = png_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(pixels, 9))
    return b"\x89PNG\r\n\x1a\n" + header + body + png_chunk(b"IEND")


def jpeg_of_scans(count: int) -> bytes:
    """Return a JPEG with its last scan over and over again."""
    plain = picture("JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * count + plain[-2:]


def gif_with_comments(count: int) -> bytes:
    """Return a GIF with one-byte comments before its picture."""
    plain = picture("GIF")
    at = plain.index(b",", 13 + 3 * 2 ** ((plain[10] & 7) + 1))
    return plain[:at] + b"\x21\xfe\x01c\0" * count + plain[at:]


def webp_of(width: int, height: int) -> bytes:
    """Return an animated WEBP of one small frame on a canvas of any size."""
    frame = picture("WEBP", lossless=True)[12:]
    canvas = b"\x02\0\0\0" + _three_bytes(width - 1) + _three_bytes(height - 1)
    placed = _three_bytes(0) * 2 + _three_bytes(7) + _three_bytes(5) + _three_bytes(100) + b"\0"
    chunks = [(b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", placed + frame)]
    body = b"".join(k + struct.pack("<I", len(c)) + c + bytes(len(c) % 2) for k, c in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _three_bytes(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path

"""Archives of images: an index of their members, and reading one member."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from visift.errors import ImageError, ImageUnavailable, PoolError
from visift.pool.images import ImageLimits, too_many_bytes
from visift.pool.paths import normalise

_TAR, _STORED, _DEFLATED = 255, 0, 8
_END = struct.Struct("<4s4H2LH")
_LOCATOR_64 = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_MAX_COMMENT = 65_535
_IN_EXTRA = 0xFFFFFFFF
# Names and attributes of one member of a tar, in bytes.
_LONGEST_HEADER = 2**20
_MAGIC_OF_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


class _Broken(Exception):
    """An archive that contradicts itself; the message is the reason shown to the user."""


_UNREADABLE_ARCHIVE = (
    _Broken,
    OSError,
    tarfile.TarError,
    struct.error,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,  # thousands of extended headers in a row
)


class _Entry(NamedTuple):
    """One regular file in an archive; `packed` and `n_bytes` in bytes, `crc` None in a tar."""

    archive: str
    offset: int
    packed: int
    n_bytes: int
    crc: int | None
    method: int
    encrypted: bool


class Members:
    """The members of all archives, in arrays: about 200 bytes each, mostly their names."""

    def __init__(self, archives: list[str]) -> None:
        self._archives = archives
        self._stamps = [_stamp(os.stat(path)) for path in archives]  # noqa: PTH116
        self._columns = tuple(array(code) for code in "IQQQIBB")
        self.number: dict[str, int] = {}
        for at, path in enumerate(archives):
            self._add(at, path)

    def _add(self, at: int, path: str) -> None:
        """Index one archive: earlier archives win, within one archive the last of equal names."""
        scan = _scan_tar if path.lower().endswith(".tar") else _scan_zip
        first = len(self._columns[0])
        try:
            for raw_name, entry in scan(path):
                name = _member_name(raw_name)
                if name is None or self.number.get(name, first) < first:
                    continue
                self.number[name] = len(self._columns[0])
                numbers = (at, *entry[1:4], entry.crc or 0, entry.method, entry.encrypted)
                for column, value in zip(self._columns, numbers, strict=True):
                    column.append(value)
        except _UNREADABLE_ARCHIVE as error:
            raise PoolError(
                f"the archive cannot be read: {_why(error)}.",
                where=path,
                fix="It may be incomplete: copy or download it again, or move it elsewhere.",
            ) from error

    def __getitem__(self, number: int) -> _Entry:
        at, offset, packed, n_bytes, crc, method, encrypted = (c[number] for c in self._columns)
        known = None if method == _TAR else crc
        return _Entry(self._archives[at], offset, packed, n_bytes, known, method, bool(encrypted))

    def read(self, number: int, limits: ImageLimits) -> bytes:
        """Return the bytes of a member whose `n_bytes` is within the limits.

        Raises:
            ImageUnavailable: for anything that another copy of the archive may not have: the key
                of an image says name, size and checksum, not how well or how they are packed.
            ImageError: too large.
        """
        member = self[number]
        if member.encrypted:
            raise ImageUnavailable("encrypted in its archive (unpack the archive first)")
        if member.method not in (_TAR, _STORED, _DEFLATED):
            raise ImageUnavailable(
                f"compressed in an unknown way (method {member.method}; repack the archive with "
                "deflate or without compression)"
            )
        if member.packed > limits.max_bytes:
            raise too_many_bytes(member.packed, limits)
        packed = self._packed(member, self._stamps[self._columns[0][number]])
        data = _inflate(packed, member.n_bytes) if member.method == _DEFLATED else packed
        if len(data) != member.n_bytes:
            raise _damaged("its size is not the one stated")
        if member.crc is not None and zlib.crc32(data) != member.crc:
            raise _damaged("checksum does not match")
        return data

    @staticmethod
    def _packed(member: _Entry, stamp: tuple[int, int]) -> bytes:
        with open(member.archive, "rb") as file:  # noqa: PTH123
            if _stamp(os.fstat(file.fileno())) != stamp:
                raise ImageUnavailable("of an archive that changed while in use (start again)")
            if member.offset > stamp[0]:
                raise _damaged("it would begin after the end")
            file.seek(member.offset)
            if member.method != _TAR:
                head = file.read(30)
                if head[:4] != b"PK\x03\x04" or len(head) < 30:
                    raise _damaged("no header where one should be")
                # Name and extra field may be longer here than in the central directory.
                file.seek(member.offset + 30 + sum(struct.unpack_from("<2H", head, 26)))
            return file.read(member.packed)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _why(error: Exception) -> str:
    """Return the reason for the user: what tarfile and struct stumble over are broken headers."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    told = isinstance(error, _Broken | tarfile.TarError)
    return str(error) if told else "one of its headers is broken"


def _damaged(why: str) -> ImageUnavailable:
    return ImageUnavailable(f"damaged in its archive ({why})")


def compressed_tar(path: Path) -> PoolError:
    """Return the error that says why a compressed tar is not read."""
    return PoolError(
        "is a compressed tar: single images cannot be read from it.",
        where=str(path),
        fix="Unpack it into a folder, or repack it as an uncompressed .tar or as a .zip.",
    )


def _inflate(packed: bytes, n_bytes: int) -> bytes:
    """Inflate to at most one byte more than stated, whatever the data would grow to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, n_bytes + 1)
    except zlib.error as error:
        raise _damaged(str(error)) from error


def _member_name(raw_name: str) -> str | None:
    """Return the path of a member, None where it could mean a place outside of the root."""
    slashed = raw_name.replace("\\", "/")
    if slashed.endswith("/") or ".." in slashed.split("/"):
        return None
    try:
        return normalise(slashed)
    except ImageError:
        return None


class _Headers(io.BufferedReader):
    """A tar of which only headers are read: none of them may ask for the memory of a bomb."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise _Broken(f"broken header before byte {self.tell():,}")
        return super().read(size)


def _scan_tar(path: str) -> Iterator[tuple[str, _Entry]]:
    with _Headers(io.FileIO(path)) as file, _open_tar(path, file) as tar:
        while (member := tar.next()) is not None:
            # It would lead back to a header that was read already, again and again.
            if member.size < 0:
                raise _Broken(f"broken header at byte {member.offset:,}")
            # Otherwise it keeps every header it has read.
            tar.members = []  # type: ignore[attr-defined]
            if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None:
                size = member.size
                entry = _Entry(path, member.offset_data, size, size, None, _TAR, False)
                yield member.name, entry
        file.seek(tar.offset)
        # tarfile takes a broken header after the first one for the end.
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise _Broken(f"broken header at byte {tar.offset:,}")


def _open_tar(path: str, file: BinaryIO) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except tarfile.ReadError:
        file.seek(0)
        if file.read(6).startswith(_MAGIC_OF_COMPRESSED):
            raise compressed_tar(Path(path)) from None
        raise


def _scan_zip(path: str) -> Iterator[tuple[str, _Entry]]:
    directory, shift = _central_directory(path)
    at = 0
    while at < len(directory):
        fields = _CENTRAL.unpack_from(directory, at)
        signature, _, _, flags, method, _, _, crc, packed, n_bytes = fields[:10]
        n_name, n_extra, n_comment, _, _, attributes, offset = fields[10:]
        if signature != b"PK\x01\x02":
            raise _Broken(f"broken directory entry after {at:,} bytes")
        at += _CENTRAL.size
        name = directory[at : at + n_name]
        extra = directory[at + n_name : at + n_name + n_extra]
        at += n_name + n_extra + n_comment
        if stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG):
            continue
        n_bytes, packed, offset = _from_extra(extra, [n_bytes, packed, offset])
        encrypted = bool(flags & 0x1)
        entry = _Entry(path, offset + shift, packed, n_bytes, crc, min(method, 254), encrypted)
        yield _zip_name(name), entry
    if at != len(directory):
        raise _Broken("the directory ends inside an entry")


def _central_directory(path: str) -> tuple[bytes, int]:
    """Return the central directory, and how far the file was shifted by something before it."""
    with open(path, "rb") as file:  # noqa: PTH123
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _MAX_COMMENT - _END.size - _LOCATOR_64.size - _END_64.size))
        before_tail = file.tell()
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        if end < 0:
            raise _Broken("no zip directory at its end")
        n_bytes, offset = _END.unpack_from(tail, end)[5:7]
        if tail[max(0, end - _LOCATOR_64.size) :].startswith(b"PK\x06\x07"):
            end -= _LOCATOR_64.size + _END_64.size
            n_bytes, offset = _END_64.unpack_from(tail, max(0, end))[8:10]
            if not tail[max(0, end) :].startswith(b"PK\x06\x06"):
                raise _Broken("its ZIP64 directory is not where it should be")
        start = before_tail + end - n_bytes
        if start < 0 or start < offset:
            raise _Broken("its directory does not fit into it")
        file.seek(start)
        return file.read(n_bytes), start - offset


def _from_extra(extra: bytes, values: list[int]) -> Iterator[int]:
    """Replace numbers too large for 32 bits by those of the ZIP64 extra field, in its order."""
    wide: list[int] = []
    at = 0
    while _IN_EXTRA in values and at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = [
                n for (n,) in struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8])
            ]
            break
        at += 4 + length
    numbers = iter(wide)
    return (next(numbers, v) if v == _IN_EXTRA else v for v in values)


def _zip_name(name: bytes) -> str:
    """Decode as UTF-8, which most tools write without saying so, else as the standard says."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")

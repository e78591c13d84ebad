"""Images inside a parquet file, as Hugging Face writes them: an index, and reading one of them.

Parquet has no offsets of single values. The file is read once in full for the index (sizes and
digests), a few megabytes at a time; after that images are cheap in the order of the file, and cost
up to a row group in any other.
"""

from __future__ import annotations

import itertools
import os
import threading
from array import array
from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from visift.errors import ImageError, ImageUnavailable, PoolError
from visift.pool.files import must_be_a_file
from visift.pool.images import ImageLimits
from visift.pool.paths import normalise

#: Columns that may hold the image, the first one there wins.
IMAGE_COLUMNS = ("image", "file_name", "path", "image_path")

#: Bytes of images decoded at once, and kept for threads that are a little behind.
_BATCH_BYTES = 8 * 2**20
_HELD_BYTES = 64 * 2**20
_MOST_ROWS = 1024
_BUFFER = 2**20
_DIGEST = 16

#: Bytes of some images, and the paths beside them.
_Batch = tuple[pa.Array, list[str | None]]
_AT_END: _Batch = (pa.nulls(0, pa.binary()), [])

_UNREADABLE = (pa.ArrowException, OSError, ValueError, NotImplementedError)


class Embedded(NamedTuple):
    """One image; `digest` is the BLAKE2b-128 of its bytes, in hexadecimal."""

    archive: str
    n_bytes: int
    digest: str


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a parquet file; raises `PoolError` with the reason."""
    must_be_a_file(path)
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER)
    except _UNREADABLE as error:
        raise not_parquet(path, error) from None


def not_parquet(path: Path, error: Exception) -> PoolError:
    """Return the error for a parquet file that Arrow does not read."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200].rstrip(".")
    return PoolError(
        f"is no parquet file that can be read ({reason}).",
        where=str(path),
        fix="It may be incomplete: copy or download it again.",
    )


def image_column(schema: pa.Schema) -> str | None:
    """Return the name of the column that holds the images, None if there is none."""
    return next((name for name in IMAGE_COLUMNS if name in schema.names), None)


def holds_bytes(kind: pa.DataType) -> bool:
    """Return whether values of a column are the images themselves."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


class EmbeddedImages:
    """The images of one parquet file; safe in several threads, and travels to workers by pickling.

    Attributes:
        names: (R,) what each row's image is called, None where the row has none. It is the path
            beside the bytes, or its last part where that leads elsewhere; with the number of the
            row where another image is called so already, or there is no path.
        number: a row of every name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes = array("q")
        self._digests = bytearray()
        self.names: list[str | None] = []
        self.number: dict[str, int] = {}
        stamp = _stamp(path)
        file = open_parquet(path)
        column = image_column(file.schema_arrow)
        if column is None or not holds_bytes(file.schema_arrow.field(column).type):
            raise PoolError(
                "holds no images.", where=str(path), fix="Name a folder or archive of images."
            )
        self._cursor = _Cursor(path, column, stamp)
        try:
            for images, paths in _batches(file, column, 0):
                self._add(images, paths)
        except _UNREADABLE as error:
            raise not_parquet(path, error) from None

    def _add(self, images: pa.Array, paths: list[str | None]) -> None:
        for image, path in zip(images, paths, strict=True):
            row = len(self._sizes)
            data = memoryview(image.as_buffer() or b"") if image.is_valid else b""
            self._sizes.append(len(data))
            self._digests += blake2b(data, digest_size=_DIGEST).digest()
            self.names.append(self._name(path, row) if image.is_valid else None)

    def _name(self, path: str | None, row: int) -> str:
        """Return a name that no other image has; one image may have several rows."""
        given = _as_name(path) or str(row)
        for name in (given, *(f"{_numbered(given, row)}{more}" for more in ("", *"+-~"))):
            if self.digest(self.number.setdefault(name, row)) == self.digest(row):
                return name
        raise ValueError(f"names that are made to collide, in row {row:,}")

    def digest(self, row: int) -> str:
        """Return the BLAKE2b-128 of a row's bytes, in hexadecimal."""
        return self._digests[row * _DIGEST : (row + 1) * _DIGEST].hex()

    def __getitem__(self, row: int) -> Embedded:
        return Embedded(str(self._path), self._sizes[row], self.digest(row))

    def read(self, row: int, limits: ImageLimits) -> bytes:
        """Return the bytes of a row whose `n_bytes` is within the limits.

        Raises:
            ImageUnavailable: the file changed, or cannot be read any more.
        """
        try:
            data = self._cursor.bytes_of(row)
        except (*_UNREADABLE, PoolError) as error:
            why = error.what if isinstance(error, PoolError) else _first_line(error)
            raise ImageUnavailable(f"cannot be read ({why.rstrip('.')})") from error
        if data is None or blake2b(data, digest_size=_DIGEST).hexdigest() != self.digest(row):
            raise ImageUnavailable("of a parquet file that changed while in use (start again)")
        return data


class _Cursor:
    """Reads on in a file, and holds what it read last for threads that are a little behind."""

    def __init__(self, path: Path, column: str, stamp: tuple[int, int] | None) -> None:
        self._opened = (path, column, stamp)
        self._lock = threading.Lock()
        self._held: deque[tuple[int, pa.Array]] = deque()
        self._batches: Iterator[_Batch] = iter(())
        self._next_row = -1
        self._groups: list[int] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return _Cursor, self._opened

    def bytes_of(self, row: int) -> bytes | None:
        """Return the bytes of a row, None where it has none or the file is another one now."""
        with self._lock:
            if not self._holds(row):
                self._go_to(row)
            for start, images in self._held:
                if start <= row < start + len(images):
                    value: bytes | None = images[row - start].as_py()
                    return value
        return None

    def _holds(self, row: int) -> bool:
        return any(start <= row < start + len(images) for start, images in self._held)

    def _go_to(self, row: int) -> None:
        """Read on until a row is held; anew from its row group where that is behind or far off."""
        path, column, stamp = self._opened
        if _stamp(path) != stamp:
            return
        start = self._group_start(row)
        if row < self._next_row or start > self._next_row:
            self._batches = _batches(open_parquet(path), column, self._groups.index(start))
            self._next_row = start
        while self._next_row <= row:
            images, _ = next(self._batches, _AT_END)
            if not len(images):
                return
            self._held.append((self._next_row, images))
            self._next_row += len(images)
            while len(self._held) > 1 and sum(i.nbytes for _, i in self._held) > _HELD_BYTES:
                self._held.popleft()

    def _group_start(self, row: int) -> int:
        """Return the first row of the row group that a row is in."""
        if not self._groups:
            metadata = open_parquet(self._opened[0]).metadata
            sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
            self._groups = [0, *itertools.accumulate(sizes)][: len(sizes)]
        return max(start for start in self._groups if start <= row)


def _batches(file: pq.ParquetFile, column: str, first: int) -> Iterator[_Batch]:
    """Yield bytes and paths of images in small batches, from row group `first` on."""
    for group in range(first, file.metadata.num_row_groups):
        rows = _rows_at_once(file, column, group)
        for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=[column]):
            values = batch.column(0)
            if not pa.types.is_struct(values.type):
                yield values, [None] * len(values)
                continue
            has_path = values.type.get_field_index("path") >= 0
            paths = pc.struct_field(values, "path") if has_path else [None] * len(values)
            yield pc.struct_field(values, "bytes"), [_text(path) for path in paths]


def _rows_at_once(file: pq.ParquetFile, column: str, group: int) -> int:
    """Return how many rows of a row group come to about `_BATCH_BYTES`."""
    metadata = file.metadata.row_group(group)
    chunks = (metadata.column(number) for number in range(metadata.num_columns))
    size: int = sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema.partition(".")[0] == column
    )
    rows: int = _BATCH_BYTES * metadata.num_rows // max(size, 1)
    return max(1, min(_MOST_ROWS, rows))


def _text(value: Any) -> str | None:
    try:
        text = None if value is None else value.as_py()
    except UnicodeDecodeError:
        return None
    return text if isinstance(text, str) else None


def _as_name(path: str | None) -> str | None:
    """Return a path as a name inside the file: its last part where it leads elsewhere."""
    for said in (path or "", (path or "").replace("\\", "/").rpartition("/")[2]):
        try:
            return normalise(said)
        except ImageError:
            continue
    return None


def _numbered(name: str, row: int) -> str:
    folder, slash, leaf = name.rpartition("/")
    stem, dot, ending = leaf.rpartition(".")
    return f"{folder}{slash}{stem}-{row}{dot}{ending}" if dot else f"{name}-{row}"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _first_line(error: Exception) -> str:
    return getattr(error, "strerror", None) or (str(error).splitlines() or ["nothing"])[0][:120]

"""Tables of images: CSV, and parquet with paths or with the images themselves.

The images are in a column `image`, `file_name`, `path` or `image_path`, labels in the columns that
are fields of records elsewhere; all other columns are kept.
"""

from __future__ import annotations

import csv
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from visift.errors import PoolError
from visift.pool.embedded import IMAGE_COLUMNS, holds_bytes, not_parquet, open_parquet
from visift.pool.files import IMAGE_SUFFIXES, must_be_a_file, unreadable
from visift.pool.paths import must_be_unicode
from visift.pool.readers.images import NOWHERE, ImageList, must_be_no_content
from visift.pool.readers.strangers import refuse_other_encodings

CONVERSATIONS = ("conversations", "messages")

_NO_PATH = "no image: its path is missing"
_NO_BYTES = "no image: its bytes are missing"
_NOT_UTF_8 = "not valid UTF-8"
_SHOWN_COLUMNS = 8


def read_csv(path: Path, task_field: str | None, source_field: str | None) -> ImageList:
    """Read a CSV file of images; its first line names the columns.

    Args:
        path: comma-separated text in UTF-8.
        task_field: the only column to read the task from; None looks for the usual ones.
        source_field: the same for the source.

    Raises:
        PoolError: no such file, broken quotes, or no column that names images.
        InputError: a label column that holds the images.
    """
    must_be_unicode(path)
    must_be_a_file(path)
    try:
        with path.open("rb") as file:
            _must_be_text(path, file)
            header, rows, offsets = _csv_rows(path, file)
    except OSError as error:
        raise unreadable(path, error) from None
    column = _must_name_images(path, header)
    for name in (task_field, source_field):
        must_be_no_content(name, (column,))
    faults = {n: why for n, row in enumerate(rows) if (why := _row_fault(row, header))}
    for number in faults:
        rows[number] = [""] * len(header)
    columns = {name: pa.array(values, pa.string()) for name, values in _columns(header, rows)}
    listed = _listed(path, np.array(offsets, np.int64), column, columns, faults)
    return listed.labelled_by(task_field, source_field)


def read_parquet(
    path: Path,
    task_field: str | None,
    source_field: str | None,
    embedded: Sequence[str | None] | None = None,
) -> ImageList:
    """Read a parquet file of images.

    Args:
        path: the file.
        task_field: the only column to read the task from; None looks for the usual ones.
        source_field: the same for the source.
        embedded: where the file holds the images themselves, what that of each row is called.

    Raises:
        PoolError: no such file, a damaged one, no column of images, or one of another type.
        InputError: a label column that holds the images.
    """
    must_be_unicode(path)
    file = open_parquet(path)
    schema = file.schema_arrow
    column = _must_name_images(path, schema.names)
    for name in (task_field, source_field):
        must_be_no_content(name, (column,))
    if embedded is None and not _is_text(schema.field(column).type):
        raise PoolError(
            f'its column "{column}" holds {str(schema.field(column).type)[:60]}.',
            where=str(path),
            fix="Paths as text, or images as Hugging Face writes them, were expected.",
        )
    kept = [field.name for field in schema if _is_plain(field.type) and field.name != column]
    try:
        table = file.read(columns=kept if embedded is not None else [column, *kept])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise not_parquet(path, error) from None
    faults: dict[int, str] = {}
    columns = {name: _sound(table[name], faults) for name in table.column_names}
    if embedded is not None:
        columns[column] = pa.array(embedded, pa.string())
    offsets = np.full(file.metadata.num_rows, NOWHERE, np.int64)
    lacking = _NO_PATH if embedded is None else _NO_BYTES
    listed = _listed(path, offsets, column, columns, faults, lacking)
    return listed.labelled_by(task_field, source_field)


def has_images_inside(path: Path) -> bool:
    """Return whether a parquet file holds the images themselves.

    Raises:
        PoolError: no such file, a damaged one, or no column of images.
    """
    schema = open_parquet(path).schema_arrow
    return holds_bytes(schema.field(_must_name_images(path, schema.names)).type)


def _listed(
    path: Path,
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]],
    column: str,
    columns: dict[str, pa.Array],
    faults: dict[int, str],
    lacking: str = _NO_PATH,
) -> ImageList:
    images = columns.pop(column)
    for row, image in enumerate(images.to_pylist()):
        if not image:
            faults.setdefault(row, lacking)
    return ImageList(path, offsets, images, pa.table(columns), faults)


def _must_name_images(path: Path, names: Sequence[str]) -> str:
    """Return the column of the images.

    Raises:
        PoolError: there is none, it is there twice, or the records hold conversations.
    """
    labelled = next((name for name in CONVERSATIONS if name in names), None)
    if labelled is not None:
        raise PoolError(
            f'holds "{labelled}": conversations are not read from tables yet, only images are.',
            where=str(path),
            fix="Convert it to JSON lines, with the images in a folder.",
        )
    column = next((name for name in IMAGE_COLUMNS if name in names), None)
    if column is None:
        shown = ", ".join(name[:40] for name in names[:_SHOWN_COLUMNS])
        headless = any(name.lower().endswith(IMAGE_SUFFIXES) for name in names)
        raise PoolError(
            f"no column {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}; "
            f"there are: {' '.join(shown.split()) or 'none'}.",
            where=str(path),
            fix='Add a first line that names the columns, for example "image".'
            if headless
            else "Rename the column that holds the images.",
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise PoolError(
            f'its column "{twice[:40]}" is there twice.', where=str(path), fix="Rename one of them."
        )
    return column


# --- CSV ----------------------------------------------------------------------------------------


class _Lines:
    """The lines of a file as text, and how far it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.at = 0
        self._file = file

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            encoding = "utf-8" if self.at else "utf-8-sig"
            self.at += len(line)
            yield line.decode(encoding, "surrogateescape")


def _csv_rows(path: Path, file: BinaryIO) -> tuple[list[str], list[list[str]], list[int]]:
    """Return the first row, all others that are not blank, and the bytes at which these start."""
    lines = _Lines(file)
    rows: list[list[str]] = []
    offsets: list[int] = []
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        start = lines.at
        for row in reader:
            if row:
                rows.append(row)
                offsets.append(start)
            start = lines.at
    except csv.Error as error:
        raise PoolError(
            f"is no valid CSV: {error}.",
            where=f"{path}, line {reader.line_num:,}",
            fix='Put values that hold a comma or a quote in quotes ("), and double these inside.',
        ) from None
    return header, rows, offsets


def _must_be_text(path: Path, file: BinaryIO) -> None:
    if not file.seek(0, 2):
        raise PoolError("the file is empty.", where=str(path), fix="Name another file.")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        refuse_other_encodings(path, view)
    file.seek(0)


def _row_fault(row: Sequence[str], header: Sequence[str]) -> str | None:
    if len(row) != len(header):
        return f"not as many values as columns: {len(row):,} for {len(header):,}"
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return _NOT_UTF_8
    return None


def _columns(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[tuple[str, list[str]]]:
    for at, name in enumerate(header):
        yield name, [row[at] for row in rows]


# --- parquet ------------------------------------------------------------------------------------


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether values of a column are text, numbers or truth values."""
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(_is_text(kind) or numbers or pa.types.is_boolean(kind))


def _sound(column: pa.ChunkedArray, faults: dict[int, str]) -> pa.Array:
    """Return a column as one array, text that is no UTF-8 as null, and note its rows."""
    if not _is_text(column.type):
        return column.combine_chunks()
    try:
        column.validate(full=True)
        return column.cast(pa.string()).combine_chunks()
    except pa.ArrowException:
        texts = []
        for row, value in enumerate(column):
            try:
                texts.append(value.as_py())
            except UnicodeDecodeError:
                texts.append(None)
                faults[row] = _NOT_UTF_8
        return pa.array(texts, pa.string())

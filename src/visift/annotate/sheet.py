"""A table for any spreadsheet: `to_annotate.csv`, with columns to fill in, and that table back."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from visift.annotate.people import Handout, Written
from visift.annotate.todo import ToAnnotate
from visift.errors import InputError
from visift.files import disk_errors, write_atomically
from visift.pool.record import IMAGE_TAG

NAME = "to_annotate.csv"
COLUMNS = ("uid", "image", "rank", "rank in task", "task", "reason", "question", "answer")
_READ = ("uid", "question", "answer")
# What a spreadsheet would take for a formula; the sign before it keeps it a text.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_GUARD = "'"


def write(handout: Handout) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Write the table; see `people.Write`."""
    write_sheet(handout.folder / NAME, handout.items)
    step = f"Fill in question and answer in {NAME}; for more turns, repeat the row with its uid"
    return (NAME,), {}, step


def write_sheet(path: Path, items: Sequence[ToAnnotate]) -> None:
    """Write a list as a table for people; raises `StorageError` if that cannot be."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    of_task: Counter[str | None] = Counter()
    for item in items:
        of_task[item.task] += 1
        question = (item.prompt or "").replace(IMAGE_TAG, "").strip()
        rank = "" if item.rank is None else str(item.rank)
        place = (item.uid, " | ".join(item.images), rank, str(of_task[item.task]))
        cells = (*place, item.task, item.reason, question, "")
        table.writerow([_guarded(cell or "") for cell in cells])
    with disk_errors(path):
        # The mark at the beginning tells Excel that this is UTF-8.
        write_atomically(path, text.getvalue().encode("utf-8-sig"))


def read(path: Path, items: Sequence[ToAnnotate]) -> Iterator[Written]:
    """Yield what people wrote; rows with an empty answer are not there yet.

    Raises:
        InputError: the file is not such a table.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            "is not text in UTF-8.", where=str(path), fix="Save it as CSV UTF-8."
        ) from None
    # Where a comma stands in numbers, spreadsheets put semicolons between cells.
    head = text.partition("\n")[0]
    table = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ","
    )
    missing = [
        name for name in ("uid", "question", "answer") if name not in (table.fieldnames or ())
    ]
    if missing:
        raise InputError(
            f'has no column "{missing[0]}".', where=str(path), fix="Keep the first row as it was."
        )
    turns: dict[str, list[tuple[str, str]]] = {}
    try:
        for row in table:
            uid, question, answer = (
                _bare(row[name] or "") for name in ("uid", "question", "answer")
            )
            if answer.strip():
                turns.setdefault(uid, []).append((question, answer))
    except csv.Error as error:
        raise InputError(f"cannot be read as CSV ({error}).", where=str(path)) from None
    yield from (Written(uid, tuple(pairs)) for uid, pairs in turns.items())


def _guarded(cell: str) -> str:
    return f"{_GUARD}{cell}" if cell.startswith((*_FORMULAS, _GUARD)) else cell


def _bare(cell: str) -> str:
    guarded = cell.startswith(_GUARD) and cell[1:].startswith((*_FORMULAS, _GUARD))
    return cell[1:] if guarded else cell

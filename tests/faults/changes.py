"""What may happen to a pool between two looks at it, and what must come out then."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from faults.running import Command
from helpers import png

Change = Callable[[Path], None]


def rewritten(pool: Path, change: Callable[[list[Any]], object]) -> None:
    """Put another file in the place of a pool file."""
    records = json.loads(pool.read_text())
    change(records)
    other = pool.with_suffix(".new")
    other.write_text(json.dumps(records))
    other.replace(pool)


def another_answer(pool: Path) -> None:
    def change(records: list[Any]) -> None:
        records[90]["conversations"][1]["value"] = "It is something else altogether."

    rewritten(pool, change)


def fewer_records(pool: Path) -> None:
    rewritten(pool, lambda records: records.__delitem__(slice(60, None)))


def cut_short(pool: Path) -> None:
    os.truncate(pool, pool.stat().st_size // 2)


def other_text_in_place(pool: Path) -> None:
    """Write as many bytes over the old ones, so that every record is where it was."""
    text = pool.read_bytes()
    with pool.open("r+b") as file:
        file.write(text.replace(b"It is ", b"It was").replace(b"What is it?", b"Where is it"))


def gone(pool: Path) -> None:
    pool.unlink()


LATE = "s2/89.png"


def another_picture(pool: Path) -> None:
    (pool.parent / LATE).write_bytes(png(250, (40, 40)))


def no_picture(pool: Path) -> None:
    (pool.parent / LATE).unlink()


def as_if_new(command: Command, tmp_path: Path) -> dict[str, bytes]:
    """Return the run directory that the pool, as it is now, gives from nothing."""
    cold = replace(command, folder=tmp_path / "new")
    return run_directory(cold.finish())


def run_directory(results: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out the cache, and the card, which says how much was measured."""
    inside = {name: data for name, data in results.items() if name.startswith("out/")}
    return {name: data for name, data in inside.items() if not name.endswith("README.md")}

"""A pool that changes: never a wrong result, but the new content measured, or a clear sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.running import Command, differing, one_sentence, pool_of, wait_until
from helpers import png

CHANGED = (
    "{pool}: the file changed after it was indexed. "
    "Leave pool files alone during a run, then start it again."
)
Change = Callable[[Path], None]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return pool_of(tmp_path / "pool", 12)


def stopped(command: Command, change: Change) -> tuple[int, str]:
    """Start a command, change its pool while it measures, and let it go on."""
    run = command.start()
    assert wait_until(lambda: len(command.parts) > 1)
    os.killpg(run.pid, signal.SIGSTOP)
    change(command.pool)
    os.killpg(run.pid, signal.SIGCONT)
    return run.end()


def as_if_new(command: Command, tmp_path: Path) -> dict[str, bytes]:
    """Return the run directory that the pool, as it is now, gives from nothing."""
    cold = Command(command.pool, tmp_path / "new", method=command.method, seconds=command.seconds)
    return run_directory(cold.finish())


def run_directory(results: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in results.items() if name.startswith("out/")}


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


IN_THE_MIDDLE = [another_answer, fewer_records, cut_short, other_text_in_place, gone]


@pytest.mark.parametrize("change", IN_THE_MIDDLE)
def test_a_pool_file_that_changes_while_it_is_measured(
    pool: Path, tmp_path: Path, change: Change
) -> None:
    command = Command(pool, tmp_path / "here", method="faults.words:Wordiest", seconds=0.05)
    before = pool.read_bytes()
    code, said = stopped(command, change)
    assert code == 1, said
    assert one_sentence(said) == CHANGED.format(pool=pool)
    assert not (tmp_path / "here" / "out" / "manifest.json").exists()
    if change in (cut_short, gone):
        pool.write_bytes(before)
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []


def test_the_same_with_workers(pool: Path, tmp_path: Path) -> None:
    command = Command(
        pool, tmp_path / "here", method="faults.words:Wordiest", seconds=0.2, workers=2
    )
    code, said = stopped(command, other_text_in_place)
    assert code == 1
    assert one_sentence(said) == CHANGED.format(pool=pool)
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []


LATE = "s2/89.png"


def another_picture(pool: Path) -> None:
    (pool.parent / LATE).write_bytes(png(250, (40, 40)))


def no_picture(pool: Path) -> None:
    (pool.parent / LATE).unlink()


@pytest.mark.parametrize("method", ["engine.simple:Reddest", "faults.words:Wordiest"])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (another_picture, "changed after the pool was opened"),
        (no_picture, "missing"),
    ],
)
def test_an_image_that_changes_while_it_is_measured(
    pool: Path, tmp_path: Path, method: str, change: Change, why: str
) -> None:
    command = Command(pool, tmp_path / "here", method=method, seconds=0.05, unusable="5%")
    code, said = stopped(command, change)
    assert code == 0, said
    assert command.quarantine() == {f"pool.json#{89}": f"image {why}: {LATE}"}
    shutil.rmtree(tmp_path / "here" / "out")
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []


@pytest.mark.parametrize("change", [another_answer, fewer_records, another_picture, no_picture])
@pytest.mark.parametrize("method", ["engine.simple:Reddest", "faults.words:Wordiest"])
def test_a_pool_that_changes_between_a_run_and_its_continuation(
    pool: Path, tmp_path: Path, change: Change, method: str
) -> None:
    command = Command(pool, tmp_path / "here", method=method, seconds=0.02, unusable="5%")
    run = command.start()
    assert wait_until(lambda: len(command.parts) > 1)
    run.kill()
    change(pool)
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []

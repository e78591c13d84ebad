"""A pool that changes while it is measured: never a wrong value stored, and a clear sentence."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from faults.changes import (
    LATE,
    Change,
    another_answer,
    another_picture,
    as_if_new,
    cut_short,
    fewer_records,
    gone,
    no_picture,
    other_text_in_place,
    run_directory,
)
from faults.running import Command, differing, one_sentence, pool_of, wait_until

CHANGED = (
    "{pool}: the file changed after it was indexed. "
    "Leave pool files alone during a run, then start it again."
)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return pool_of(tmp_path / "pool", 12)


def stopped(command: Command, change: Change) -> tuple[int, str]:
    """Start a command, change its pool while it measures, and let it go on."""
    started = command.start()
    assert wait_until(lambda: len(command.parts) > 1)
    os.killpg(started.pid, signal.SIGSTOP)
    change(command.pool)
    os.killpg(started.pid, signal.SIGCONT)
    return started.end()


@pytest.mark.parametrize(
    "change", [another_answer, fewer_records, cut_short, other_text_in_place, gone]
)
def test_a_pool_file_that_changes_while_it_is_measured(
    pool: Path, tmp_path: Path, change: Change
) -> None:
    command = Command(pool, tmp_path / "here", method="faults.words:Wordiest", seconds=0.05)
    code, said = stopped(command, change)
    assert code == 1, said
    assert one_sentence(said) == CHANGED.format(pool=pool)
    assert not (tmp_path / "here" / "out" / "manifest.json").exists()


def test_with_workers_too_and_the_new_content_is_measured_then(pool: Path, tmp_path: Path) -> None:
    command = Command(
        pool, tmp_path / "here", method="faults.words:Wordiest", seconds=0.2, workers=2
    )
    code, said = stopped(command, other_text_in_place)
    assert code == 1
    assert one_sentence(said) == CHANGED.format(pool=pool)
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []


@pytest.mark.parametrize(
    ("method", "change", "why"),
    [
        ("engine.simple:Reddest", another_picture, "changed after the pool was opened"),
        ("faults.words:Wordiest", another_picture, "changed after the pool was opened"),
        ("faults.words:Wordiest", no_picture, "missing"),
    ],
)
def test_an_image_that_changes_while_it_is_measured(
    pool: Path, tmp_path: Path, method: str, change: Change, why: str
) -> None:
    command = Command(pool, tmp_path / "here", method=method, seconds=0.05, unusable="5%")
    code, said = stopped(command, change)
    assert code == 0, said
    assert command.quarantine() == {"pool.json#89": f"image {why}: {LATE}"}
    shutil.rmtree(tmp_path / "here" / "out")
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []

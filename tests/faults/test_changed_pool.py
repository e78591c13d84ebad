"""A pool that changed since it was last looked at: what is new is measured, or said."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.changes import (
    Change,
    another_answer,
    another_picture,
    as_if_new,
    fewer_records,
    no_picture,
    run_directory,
)
from faults.running import Command, differing, one_sentence, pool_of, wait_until
from visift.cli import run


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return pool_of(tmp_path / "pool", 12)


@pytest.mark.parametrize("method", ["engine.simple:Reddest", "faults.words:Wordiest"])
def test_a_pool_that_changes_between_a_run_and_its_continuation(
    pool: Path, tmp_path: Path, method: str
) -> None:
    command = Command(pool, tmp_path / "here", method=method, seconds=0.02, unusable="5%")
    started = command.start()
    assert wait_until(lambda: len(command.parts) > 1)
    started.kill()
    another_answer(pool)
    another_picture(pool)
    (pool.parent / "s0/0.png").unlink()
    assert differing(run_directory(command.finish()), as_if_new(command, tmp_path)) == []
    assert command.quarantine() == {"pool.json#0": "image missing: s0/0.png"}


@pytest.fixture
def finished(pool: Path, tmp_path: Path) -> Command:
    """A run that ended, in `here/out`, of which record 89 is a part."""
    command = Command(pool, tmp_path / "here", budget="100%")
    command.finish()
    return command


def export(command: Command, trainer: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    out = command.folder / "out"
    to = command.folder / "later"
    code = run(["export", str(out), "--export", trainer, "--output", str(to)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "uid"), [(another_answer, "pool.json#90"), (fewer_records, "pool.json#")]
)
def test_an_export_of_a_pool_file_that_changed_after_the_run(
    finished: Command, capsys: pytest.CaptureFixture[str], change: Change, uid: str
) -> None:
    change(finished.pool)
    code, said = export(finished, "llava", capsys)
    assert code == 1
    assert one_sentence(said).startswith(uid)
    assert one_sentence(said).endswith(
        "is not the record that was selected: the pool has changed. "
        "Name the pool the selection was made from."
    )
    assert not (finished.folder / "later").exists()


def test_an_export_that_holds_images_says_which_one_is_gone(
    finished: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    no_picture(finished.pool)
    code, said = export(finished, "trl", capsys)
    assert code == 1
    told = "Image missing: s2/89.png. Restore the image, then run this again."
    assert one_sentence(said) == told

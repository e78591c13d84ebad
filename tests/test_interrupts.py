"""Stopping a run by any means costs the blocks in hand and nothing else."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.simple import write_pool

SAID = (
    r"Stopped\. (\S+ images are measured and|What is measured is) kept; "
    r"the same command continues here\."
)
TESTS = Path(__file__).parent
BLOCKS = 3
METHOD = "engine.simple:Reddest"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of `BLOCKS` blocks of images."""
    folder = tmp_path_factory.mktemp("pool")
    names = [f"s{i % 3}/{i}.png" for i in range(1024 * BLOCKS - 10)]
    return write_pool(folder, [(f"It is {i}.", [name]) for i, name in enumerate(names)])


def start(pool: Path, folder: Path, workers: int = 2, slow: float = 0.01) -> subprocess.Popen[str]:
    """Start `visift select` in a session of its own, as a terminal does."""
    arguments = ["--pool", str(pool), "--method", METHOD, "--set", f"seconds={slow}"]
    arguments += ["--budget", "20%", "--workers", str(workers), "--cache", "cache", "-o", "out"]
    return subprocess.Popen(
        [sys.executable, "-c", "from visift.cli import main; main()", "select", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def parts(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob("*.arrow"))


def session(leader: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(its_session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(what: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


def results(folder: Path) -> dict[str, bytes]:
    """Return every file of a run and of its cache.

    Left out are what holds times (the manifest, the report) or absolute paths (run.yaml, RUN.md).
    """
    files = (p for name in ("out", "cache") for p in (folder / name).rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in files
        if p.name not in ("manifest.json", "index.html", "run.yaml", "RUN.md")
    }


def finish(pool: Path, folder: Path, workers: int = 2) -> dict[str, bytes]:
    run = start(pool, folder, workers)
    _, said = run.communicate(timeout=90)
    assert run.returncode == 0, said
    return results(folder)


@pytest.fixture(scope="module")
def undisturbed(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of a run that nobody stopped, by two workers."""
    return finish(pool, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    ("send", "number", "code", "workers"),
    [
        pytest.param(os.killpg, signal.SIGINT, 130, 1, id="ctrl-c, one worker"),
        pytest.param(os.killpg, signal.SIGINT, 130, 2, id="ctrl-c"),
        pytest.param(os.kill, signal.SIGTERM, 143, 1, id="kill, one worker"),
        pytest.param(os.kill, signal.SIGTERM, 143, 2, id="kill"),
        pytest.param(os.killpg, signal.SIGTERM, 143, 2, id="shutdown of all"),
    ],
)
def test_a_polite_stop_says_one_line_and_keeps_what_is_measured(
    pool: Path,
    tmp_path: Path,
    send: Callable[[int, int], None],
    number: int,
    code: int,
    workers: int,
) -> None:
    run = start(pool, tmp_path, workers)
    assert wait_until(lambda: len(parts(tmp_path)) > 0)
    kept = parts(tmp_path)
    send(run.pid, number)
    _, said = run.communicate(timeout=20)
    assert run.returncode == code
    assert re.fullmatch(SAID, said.strip())
    assert set(kept) <= set(parts(tmp_path))
    assert wait_until(lambda: session(run.pid) == [], seconds=3)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_stop_before_anything_is_measured_says_the_same(pool: Path, tmp_path: Path) -> None:
    run = start(pool, tmp_path)
    assert wait_until(lambda: (tmp_path / "cache").exists())
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=20)
    assert run.returncode == 130
    assert re.fullmatch(SAID, said.strip())
    assert wait_until(lambda: session(run.pid) == [], seconds=3)


def test_one_worker_leaves_the_bytes_of_two(
    pool: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    found = finish(pool, tmp_path, workers=1)
    assert sorted(found) == sorted(undisturbed)
    differing = [name for name in found if found[name] != undisturbed[name]]
    assert differing == []


def test_killed_three_times_and_continued_leaves_the_bytes_of_an_undisturbed_run(
    pool: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    chance = random.Random(time.time_ns())
    for _ in range(3):
        run = start(pool, tmp_path)
        time.sleep(chance.uniform(0.2, 2.5))
        run.kill()
        run.communicate()
        assert wait_until(lambda: session(run.pid) == [])  # noqa: B023 - asked before the next one
    found = finish(pool, tmp_path)
    found = {name: data for name, data in found.items() if not name.endswith(".tmp")}
    assert sorted(found) == sorted(undisturbed)
    assert [name for name in found if found[name] != undisturbed[name]] == []

"""A worker that says nothing for too long costs its shard a try, like one that dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from engine.raycluster import needs_ray, shared_cluster
from engine.simple import noted, plain_pool
from faults.hanging import Hanging, SlowColour
from faults.running import TESTS, wait_until
from visift.engine import blocks, processes
from visift.engine.executor import Executor, Inline, ShardDone, ShardFailed
from visift.engine.lab import Examples, LocalLab
from visift.engine.processes import Processes
from visift.engine.ray import Ray

PATIENCE = 3.0


def alive(folder: Path) -> list[int]:
    """Return the processes that opened the work and are still there."""
    pids = map(int, noted(folder, "opened"))
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_each_way_of_hanging_costs_one_try(tmp_path: Path) -> None:
    work = Hanging(tmp_path, stops=(0,), loops=(1,), sleeps=(2,))
    executor = Processes(3, PATIENCE)
    events = list(executor.map(work, range(5)))
    failed = sorted((e for e in events if isinstance(e, ShardFailed)), key=lambda e: e.shard)
    assert failed == [ShardFailed(shard, "no answer for 3 s") for shard in (0, 1, 2)]
    assert sorted(e.shard for e in events if isinstance(e, ShardDone)) == [3, 4]
    assert alive(tmp_path) == []
    assert all(isinstance(e, ShardDone) for e in executor.map(work, (0, 1, 2)))


@needs_ray
def test_on_ray_a_worker_that_hangs_gives_itself_up(tmp_path: Path) -> None:
    work = Hanging(tmp_path, loops=(0,), sleeps=(1,))
    executor = Ray(2, tmp_path, shared_cluster().address, patience=2.0)
    events = list(executor.map(work, range(4)))
    failed = sorted((e for e in events if isinstance(e, ShardFailed)), key=lambda e: e.shard)
    assert failed == [ShardFailed(shard, "the worker on 127.0.0.1 died") for shard in (0, 1)]
    assert sorted(e.shard for e in events if isinstance(e, ShardDone)) == [2, 3]


def test_one_stopped_before_it_took_its_work_holds_up_nobody(tmp_path: Path) -> None:
    stopped: list[int] = []

    def stop_the_first() -> None:
        wait_until(lambda: bool(multiprocessing.active_children()))
        stopped.append(multiprocessing.active_children()[0].pid or 0)
        os.kill(stopped[0], signal.SIGSTOP)

    stopping = threading.Thread(target=stop_the_first)
    stopping.start()
    events = list(Processes(2).map(Hanging(tmp_path, ballast=bytes(8 << 20)), range(4)))
    stopping.join()
    assert events == [ShardDone(shard) for shard in range(4)]
    assert str(stopped[0]) not in noted(tmp_path, "opened")
    assert not Path(f"/proc/{stopped[0]}").exists()


def test_nobody_beginning_in_time_is_a_reason_for_every_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_BEGIN_SECONDS", 0.01)
    events = Processes(1, patience=0.01).map(Hanging(tmp_path), range(3))
    reason = "no answer for 0 s before it could begin"
    assert list(events) == [ShardFailed(shard, reason) for shard in range(3)]


# --- a whole request -----------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ITEMS", 4)


def by(executor: Executor, folder: Path, signal: SlowColour) -> tuple[LocalLab, list[str | None]]:
    """Measure a pool; returns the lab and, by row, why there is no value."""
    pool = plain_pool(folder / "pool", 11)
    lab = LocalLab(pool, folder / "cache", lambda: ("cpu",), lambda blocks: executor)
    rows = np.arange(11)
    return lab, lab.measure(signal, Examples(rows)).reasons(rows)


@pytest.mark.usefixtures("small_blocks")
def test_after_three_tries_a_block_is_set_aside_and_the_next_run_takes_it_up(
    tmp_path: Path,
) -> None:
    stuck = tmp_path / "stuck"
    stuck.touch()
    signal = SlowColour(hangs_on="6.png", stuck=str(stuck))
    begun = time.monotonic()
    lab, reasons = by(Processes(2, PATIENCE), tmp_path, signal)
    assert time.monotonic() - begun > 3 * PATIENCE
    assert reasons == [None] * 4 + ["no answer for 3 s"] * 4 + [None] * 3
    assert (lab.ledger[0].measured, lab.ledger[0].failed) == (7, 4)
    stuck.unlink()
    lab, reasons = by(Inline(), tmp_path, signal)
    assert reasons == [None] * 11
    assert (lab.ledger[0].measured, lab.ledger[0].failed) == (4, 0)


def test_a_block_that_takes_long_but_gets_on_is_left_alone(tmp_path: Path) -> None:
    _, reasons = by(Processes(1, patience=4.0), tmp_path, SlowColour(seconds=0.5))
    assert reasons == [None] * 11


SUSPENDED = """
import sys
from pathlib import Path
from faults.hanging import Hanging
from visift.engine.processes import Processes

work = Hanging(Path(sys.argv[1]))
for event in Processes(2, patience=3.0).map(work, range(2000)):
    print(type(event).__name__)
"""


def test_whoever_was_stopped_as_a_whole_has_missed_nothing(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SUSPENDED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert wait_until(lambda: len(noted(tmp_path, "begun")) > 4)
    os.killpg(run.pid, signal.SIGSTOP)
    time.sleep(4)
    os.killpg(run.pid, signal.SIGCONT)
    said, _ = run.communicate(timeout=60)
    assert said == "ShardDone\n" * 2000
    assert len(noted(tmp_path, "opened")) == 2

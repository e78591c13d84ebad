"""One contract for all executors: they report every shard once, and can only leave some undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.faulty import Faulty
from engine.jobs import CannotOpen, Job, Unreadable
from engine.raycluster import needs_ray, two_workers
from engine.simple import noted
from visift.engine.executor import Executor, Inline, ShardDone, ShardFailed
from visift.engine.processes import Processes
from visift.errors import StorageError

Make = Callable[[], Executor]

ALL = [
    pytest.param(Inline, id="inline"),
    pytest.param(lambda: Processes(1), id="one process"),
    pytest.param(lambda: Processes(2), id="two processes"),
    pytest.param(two_workers, id="two Ray nodes", marks=needs_ray),
    pytest.param(Faulty, id="faulty"),
]
HONEST = ALL[:4]
REMOTE = ALL[1:4]
SPAWNED = ALL[1:3]


def alive(pid: int) -> bool:
    """Return whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(what: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def workers(folder: Path) -> list[int]:
    """Return the processes that opened the work."""
    return [int(line.split()[0]) for line in noted(folder, "opened")]


@pytest.mark.parametrize("make", ALL)
def test_every_shard_is_reported_once(make: Make, tmp_path: Path) -> None:
    shards = [7, 3, 4, 0, 9, 1]
    events = list(make().map(Job(tmp_path), shards))
    assert sorted(event.shard for event in events) == sorted(shards)
    done = {event.shard for event in events if isinstance(event, ShardDone)}
    assert all((tmp_path / f"{shard}.bin").exists() for shard in done)


@pytest.mark.parametrize("make", ALL)
def test_no_shards_is_no_work(make: Make, tmp_path: Path) -> None:
    assert list(make().map(Job(tmp_path), [])) == []
    assert noted(tmp_path, "opened") == []


@pytest.mark.parametrize("make", ALL)
def test_after_some_rounds_all_executors_leave_the_same_bytes(make: Make, tmp_path: Path) -> None:
    executor = make()
    missing = list(range(12))
    for _ in range(2):
        list(executor.map(Job(tmp_path), missing))
        missing = [shard for shard in missing if not (tmp_path / f"{shard}.bin").exists()]
    assert missing == []
    assert all((tmp_path / f"{n}.bin").read_bytes() == bytes([n]) * 100 for n in range(12))


@pytest.mark.parametrize("make", HONEST)
def test_a_shard_that_raises_fails_alone(make: Make, tmp_path: Path) -> None:
    events = list(make().map(Job(tmp_path, raises=(1,)), range(4)))
    (failed,) = [event for event in events if isinstance(event, ShardFailed)]
    assert failed.shard == 1
    assert failed.reason == "ValueError: shard 1 is bad"
    assert isinstance(failed.error, ValueError)
    assert {e.shard for e in events if isinstance(e, ShardDone)} == {0, 2, 3}


@pytest.mark.parametrize("make", HONEST)
def test_our_errors_arrive_as_they_were_raised(make: Make, tmp_path: Path) -> None:
    events = list(make().map(Job(tmp_path, full=(0,)), range(2)))
    (failed,) = [event for event in events if isinstance(event, ShardFailed)]
    assert isinstance(failed.error, StorageError)
    assert failed.error.what == "the disk is full."
    assert failed.error.where == "the cache"
    assert str(failed.error) == "the cache: the disk is full.\nFree some space."


@pytest.mark.parametrize("make", HONEST)
def test_an_exception_that_cannot_travel_leaves_its_reason(make: Make, tmp_path: Path) -> None:
    events = list(make().map(Job(tmp_path, awkward=(0,)), range(2)))
    (failed,) = [event for event in events if isinstance(event, ShardFailed)]
    assert failed.reason == "Awkward: a"


@pytest.mark.parametrize("make", HONEST)
def test_the_work_is_opened_once_a_worker(make: Make, tmp_path: Path) -> None:
    list(make().map(Job(tmp_path, raises=(2,)), range(8)))
    opened = workers(tmp_path)
    assert len(opened) == len(set(opened))
    assert 1 <= len(opened) <= 2


@pytest.mark.parametrize("make", HONEST)
def test_what_is_raised_on_opening_is_raised_and_not_tried_again(
    make: Make, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="no such device"):
        list(make().map(CannotOpen(tmp_path), range(50)))
    assert len(noted(tmp_path, "opened")) <= 2


@pytest.mark.parametrize("make", REMOTE)
def test_work_that_cannot_be_read_in_the_worker_is_an_error_of_opening(make: Make) -> None:
    with pytest.raises(StorageError, match="the pool changed"):
        list(make().map(Unreadable(), range(3)))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", SPAWNED)
def test_workers_that_die_on_opening_do_not_burn_through_the_shards(
    make: Make, tmp_path: Path
) -> None:
    events = list(make().map(CannotOpen(tmp_path, dies=True), range(50)))
    assert len(noted(tmp_path, "opened")) <= 2
    assert sorted(event.shard for event in events) == list(range(50))
    reasons = {event.reason for event in events if isinstance(event, ShardFailed)}
    assert reasons == {"the worker died (signal SIGKILL) before it could begin"}


@pytest.mark.parametrize("make", SPAWNED)
def test_a_killed_worker_costs_its_shard_and_is_replaced(make: Make, tmp_path: Path) -> None:
    events = list(make().map(Job(tmp_path, dies=(2,)), range(6)))
    (failed,) = [event for event in events if isinstance(event, ShardFailed)]
    assert failed == ShardFailed(2, "the worker died (signal SIGKILL)")
    assert sorted(e.shard for e in events if isinstance(e, ShardDone)) == [0, 1, 3, 4, 5]
    assert not any(map(alive, workers(tmp_path)))


def test_every_worker_may_die(tmp_path: Path) -> None:
    events = list(Processes(2).map(Job(tmp_path, dies=(0, 1, 2, 4)), range(6)))
    assert sorted(e.shard for e in events if isinstance(e, ShardFailed)) == [0, 1, 2, 4]
    assert sorted(e.shard for e in events if isinstance(e, ShardDone)) == [3, 5]


def test_a_worker_that_leaves_says_with_which_code(tmp_path: Path) -> None:
    events = list(Processes(1).map(Job(tmp_path, leaves=(0,)), range(2)))
    assert ShardFailed(0, "the worker died (exit code 3)") in events


@pytest.mark.parametrize("make", SPAWNED)
def test_closing_early_leaves_no_process(make: Make, tmp_path: Path) -> None:
    events = make().map(Job(tmp_path, seconds=0.3), range(40))
    next(events)
    begun = time.monotonic()
    events.close()
    assert time.monotonic() - begun < 10
    assert not any(map(alive, workers(tmp_path)))
    assert len(noted(tmp_path, "begun")) < 10


def test_closing_before_anything_is_open_leaves_no_process(tmp_path: Path) -> None:
    events = Processes(2).map(Job(tmp_path), range(4))
    events.close()
    assert noted(tmp_path, "opened") == []


@pytest.mark.parametrize("make", ALL)
def test_nothing_is_printed(make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    list(make().map(Job(tmp_path, raises=(1,), full=(2,)), range(4)))
    assert capfd.readouterr() == ("", "")


DRIVER = """
import sys
from pathlib import Path
from engine.jobs import Job
from visift.engine.processes import Processes

if __name__ == "__main__":
    for event in Processes(2).map(Job(Path(sys.argv[1]), seconds=0.5), range(100)):
        pass
"""


def start_driver(folder: Path) -> subprocess.Popen[str]:
    """Start a process that runs shards on two workers, in a session of its own."""
    script = folder / "driver.py"
    script.write_text(DRIVER)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children(pid: int) -> list[str]:
    """Return the processes a process has started and not yet reaped."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return tasks.read_text().split() if tasks.exists() else []


def test_a_killed_parent_leaves_no_orphans(tmp_path: Path) -> None:
    driver = start_driver(tmp_path)
    assert wait_until(lambda: len(noted(tmp_path, "begun")) > 2)
    driver.kill()
    driver.communicate()
    assert len(workers(tmp_path)) == 2
    assert wait_until(lambda: not any(map(alive, workers(tmp_path))))
    assert len(noted(tmp_path, "begun")) < 20


def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    driver = start_driver(tmp_path)
    assert wait_until(lambda: len(noted(tmp_path, "begun")) > 2)
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=20)
    assert not any(map(alive, workers(tmp_path)))
    assert said.count("KeyboardInterrupt") == 1


def deaf_to_ctrl_c(pid: str) -> bool:
    """Return whether a process blocks or ignores SIGINT."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    said = dict(line.split(":", 1) for line in lines)
    return bool((int(said["SigBlk"], 16) | int(said["SigIgn"], 16)) & (1 << (signal.SIGINT - 1)))


def test_workers_are_deaf_to_ctrl_c_from_their_first_moment(tmp_path: Path) -> None:
    driver = start_driver(tmp_path)
    assert wait_until(lambda: len(children(driver.pid)) >= 2)
    assert all(map(deaf_to_ctrl_c, children(driver.pid)))
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=20)
    assert said.count("KeyboardInterrupt") == 1

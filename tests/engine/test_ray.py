"""Ray: what is lost is done again with the same bytes, and nothing of Ray is left behind.

The contract that all executors share is in `test_executors.py`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from engine.jobs import CannotOpen, Job
from engine.raycluster import SETTINGS, needs_ray, shared_cluster, two_workers
from engine.simple import MeanColour, noted, plain_pool
from engine.test_executors import alive, wait_until, workers
from visift.config import EngineConfig
from visift.engine import blocks, rayconnection
from visift.engine.executor import (
    Event,
    Events,
    Executor,
    Inline,
    OpenWork,
    ShardDone,
    ShardFailed,
)
from visift.engine.lab import Examples, LocalLab
from visift.engine.ray import Ray
from visift.engine.rayconnection import check_address, cluster_nodes
from visift.errors import InputError, StorageError
from visift.pool.pool import Pool
from visift.staff import staffing

pytestmark = needs_ray

ITEMS = 40
PER_BLOCK = 4


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ITEMS", PER_BLOCK)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return plain_pool(tmp_path / "pool", ITEMS)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def measure(pool: Pool, cache: Path, executor: Executor, signal: MeanColour) -> dict[str, bytes]:
    """Measure all rows; return the parts that lie in the cache then, by name."""
    lab = LocalLab(pool, cache, lambda: ("cpu",), lambda blocks: executor)
    handle = lab.measure(signal, Examples(np.arange(len(pool))))
    assert handle.ok(np.arange(len(pool))).all()
    return parts(cache)


def parts(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*.arrow")}


def undisturbed(pool: Pool, folder: Path, signal: MeanColour) -> dict[str, bytes]:
    """Return the parts that one process writes, which are those of the same log folder."""
    plain = measure(pool, folder / "plain", Inline(), signal)
    assert len(plain) == ITEMS // PER_BLOCK
    for path in Path(str(signal.log)).iterdir():
        path.unlink()
    return plain


@dataclass
class Disturbed:
    """An executor on two nodes that has something happen while both of them measure.

    Attributes:
        happens: what.
        log: folder in which workers note that they begin.
        events: so far.
    """

    happens: Callable[[], None]
    log: Path
    events: list[Event] = field(default_factory=list)

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `visift.engine.executor.Executor`."""
        for event in two_workers().map(open_work, shards):
            self.events.append(event)
            if len(self.events) == 1:  # no shard is handed out while nobody listens
                assert wait_until(lambda: len(noted(self.log, "opened")) == 2, 60)
            if len(self.events) == 4:
                self.happens()
            yield event


# --- what is lost is done again ----------------------------------------------------------------


def test_two_nodes_write_the_bytes_that_one_process_writes(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    signal_ = MeanColour(log=str(tmp_path / "log"))
    expected = undisturbed(pool, tmp_path, signal_)
    assert measure(pool, tmp_path / "cache", two_workers(), signal_) == expected
    assert len(noted(tmp_path / "log")) == ITEMS


def test_a_killed_actor_costs_its_shard_and_is_replaced(tmp_path: Path) -> None:
    events = list(two_workers().map(Job(tmp_path, dies=(2,)), range(6)))
    (failed,) = [event for event in events if isinstance(event, ShardFailed)]
    assert failed == ShardFailed(2, "the worker on 127.0.0.1 died")
    assert sorted(e.shard for e in events if isinstance(e, ShardDone)) == [0, 1, 3, 4, 5]
    assert wait_until(lambda: not any(map(alive, workers(tmp_path))))


def test_closing_early_leaves_no_actor(tmp_path: Path) -> None:
    events = two_workers().map(Job(tmp_path, seconds=0.3), range(40))
    next(events)
    events.close()
    assert wait_until(lambda: not any(map(alive, workers(tmp_path))))
    assert len(noted(tmp_path, "begun")) < 10


def test_actors_that_die_on_opening_do_not_burn_through_the_shards(tmp_path: Path) -> None:
    events = list(two_workers().map(CannotOpen(tmp_path, dies=True), range(50)))
    assert len(noted(tmp_path, "opened")) <= 2
    assert sorted(event.shard for event in events) == list(range(50))
    reasons = {event.reason for event in events if isinstance(event, ShardFailed)}
    assert reasons == {"the worker died before it could begin"}


def test_a_lost_node_changes_no_byte(pool: Pool, tmp_path: Path, log: Path) -> None:
    signal_ = MeanColour(log=str(log), seconds=0.2)
    expected = undisturbed(pool, tmp_path, signal_)
    executor = Disturbed(shared_cluster().kill_second_node, log)
    try:
        assert measure(pool, tmp_path / "cache", executor, signal_) == expected
    finally:
        shared_cluster().add_node()
    lost = [event for event in executor.events if isinstance(event, ShardFailed)]
    assert {event.reason for event in lost} == {"the worker on 127.0.0.1 died"}


DRIVER = """
import sys
from pathlib import Path
from engine.simple import MeanColour
from engine.test_ray import measure
from visift.engine import blocks
from visift.engine.ray import Ray
from visift.pool.pool import Pool

pool, cache, log, address = sys.argv[1:]
blocks.BLOCK_ITEMS = 4
executor = Ray(2, Path(cache), address)
measure(Pool.open(pool), Path(cache), executor, MeanColour(log=log, seconds=0.2))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a driver in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **SETTINGS, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_killed_driver_loses_the_blocks_in_flight_only(
    pool: Pool, tmp_path: Path, log: Path
) -> None:
    signal_ = MeanColour(log=str(log), seconds=0.2)
    expected = undisturbed(pool, tmp_path, signal_)
    cache = tmp_path / "cache"
    address = shared_cluster().address
    driver = start(DRIVER, tmp_path / "pool" / "pool.json", cache, log, address)
    assert wait_until(lambda: len(parts(cache)) >= 3, 30)
    driver.kill()
    driver.communicate()
    assert wait_until(lambda: _free_cpus() == 2.0)
    before = len(noted(log))
    assert before < ITEMS
    kept = len(parts(cache))
    assert measure(pool, cache, two_workers(), signal_) == expected
    assert len(noted(log)) - before == ITEMS - kept * PER_BLOCK


def _free_cpus() -> float:
    with rayconnection.connected(shared_cluster().address) as ray:
        return float(ray.available_resources().get("CPU", 0.0))


# --- what every node must see ------------------------------------------------------------------


def test_a_node_that_does_not_see_the_cache_stops_the_run(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    own = Path(f"/proc/self/fd/{handle}/cache")  # a name by which no other process finds it
    executor = Ray(2, own, shared_cluster().address)
    try:
        with pytest.raises(StorageError) as caught:
            list(executor.map(Job(tmp_path), range(3)))
    finally:
        os.close(handle)
    assert caught.value.what == (
        "the node 127.0.0.1 does not see this folder of measured values as it is here."
    )
    assert caught.value.where == str(own)
    assert noted(tmp_path, "opened") == []
    assert list((tmp_path / "cache").iterdir()) == []


# --- asking for it -----------------------------------------------------------------------------


def test_a_cluster_is_asked_for_its_nodes() -> None:
    nodes = cluster_nodes(shared_cluster().address)
    assert [(node.cpus, node.gpus) for node in nodes] == [(1, 0), (1, 0)]
    assert all(node.memory > 0 for node in nodes)


@pytest.mark.parametrize(
    ("workers", "blocks", "count"), [("auto", 9, 2), ("auto", 1, 1), ("5", 9, 5)]
)
def test_as_many_workers_as_the_cluster_has_cores(workers: str, blocks: int, count: int) -> None:
    address = shared_cluster().address
    devices, executor = staffing(EngineConfig("/c", workers, "ray", address), None)
    assert executor(blocks) == Ray(count, Path("/c"), address, gpu=False)
    assert devices() == ("cpu",)


def test_without_an_address_the_machine_is_this_one() -> None:
    _, executor = staffing(EngineConfig("/c", "3", "ray"), None)
    assert executor(9) == Ray(3, Path("/c"), None, gpu=False)


@pytest.mark.parametrize("address", ["auto", "ray://a:1", "", "a", "a:", ":1", "a:x", "a:²"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(
        InputError, match=r"no address of a Ray cluster.\n.*--address 10.0.0.1:6379"
    ):
        staffing(EngineConfig(executor="ray", address=address), None)
    check_address("[::1]:6379")


def test_an_address_is_for_ray() -> None:
    with pytest.raises(InputError, match=r"for Ray, not for the executor processes.\nAdd --exec"):
        staffing(EngineConfig(address="10.0.0.1:6379"), None)


def test_ray_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'not installed.\npip install "visift\[ray\]"'):
        staffing(EngineConfig(executor="ray"), None)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port at which something listens that is not Ray."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_where_nobody_answers(deaf_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rayconnection, "_HEALTH_SECONDS", 3.0)
    shared_cluster()
    with pytest.raises(InputError, match=r"no Ray cluster answers there \(Connection refused\)"):
        cluster_nodes("127.0.0.1:1")
    with pytest.raises(
        InputError, match=r"no Ray cluster answers there \(what answers is not Ray\)"
    ):
        cluster_nodes(f"127.0.0.1:{deaf_port}")


# --- a Ray of our own --------------------------------------------------------------------------

OWN = """
import sys
from pathlib import Path
from engine.jobs import CannotOpen, Job
import signal
from visift.cli import _terminate
from visift.engine.ray import Ray

signal.signal(signal.SIGTERM, _terminate)
folder, cache = map(Path, sys.argv[1:])
for event in Ray(2, cache).map(Job(folder, seconds=0.5), range(1000)):
    pass
"""


def session(number: int) -> list[str]:
    """Return the names of the processes of a session."""
    names = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if rest.split()[3] == str(number) and rest.split()[0] != "Z":
            names.append(name)
    return names


def ray_folders() -> set[Path]:
    return set(Path("/tmp").glob("visift-ray-*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_a_run_ends_its_ray(how: signal.Signals, tmp_path: Path) -> None:
    before = ray_folders()
    driver = start(OWN, tmp_path, tmp_path / "cache")
    assert wait_until(lambda: len(noted(tmp_path, "begun")) > 2, 60)
    assert {"raylet", "gcs_server"} <= set(session(driver.pid))
    if how == signal.SIGINT:  # as a terminal does, which sends it to all
        os.killpg(driver.pid, how)
    else:
        driver.send_signal(how)
    said, _ = driver.communicate(timeout=60)
    assert wait_until(lambda: session(driver.pid) == [])
    assert ray_folders() <= before
    assert said.rstrip().endswith("KeyboardInterrupt" if how == signal.SIGINT else "Terminated")
    assert list((tmp_path / "cache").iterdir()) == []


RUN = """
import sys
import visift

pool, folder, executor = sys.argv[1:]
visift.select(
    pool,
    method="engine.simple:Reddest",
    budget=10,
    output=f"{folder}/{executor}",
    cache=f"{folder}/cache-{executor}",
    executor=executor,
    workers=2,
)
"""


def test_a_run_on_ray_is_the_run_without(pool: Pool, tmp_path: Path) -> None:
    for executor in ("ray", "inline"):
        said, _ = start(RUN, pool.opened["files"][0], tmp_path, executor).communicate(timeout=120)
        assert said == ""
    ray, inline = (tmp_path / name / "selection.parquet" for name in ("ray", "inline"))
    assert ray.read_bytes() == inline.read_bytes()
    assert parts(tmp_path / "cache-ray") == parts(tmp_path / "cache-inline")


TWO = """
import sys
from pathlib import Path
from engine.jobs import Job
from visift.engine.ray import Ray

folder, address = Path(sys.argv[1]), sys.argv[2]
list(Ray(1, folder).map(Job(folder), range(1)))
list(Ray(1, folder, address).map(Job(folder), range(1)))
"""


def test_a_second_ray_in_one_process_is_an_error(tmp_path: Path) -> None:
    said, _ = start(TWO, tmp_path, shared_cluster().address).communicate(timeout=120)
    assert "MeasuringError: Ray drops its workers in a process that has used another" in said

"""A real Ray cluster of two nodes on this machine, in a process of its own.

`shared_cluster` starts one for all tests of a process. It leaves when that process does, however
that ends: its standard input ends then.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from visift.engine.ray import Ray

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")

#: On loopback, in a folder of its own; read when Ray is imported, here as there.
SETTINGS = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class TwoNodes:
    """A cluster with one CPU a node; the second node can be killed and replaced."""

    process: subprocess.Popen[str]
    address: str

    def kill_second_node(self) -> None:
        self._do("kill")

    def add_node(self) -> None:
        self._do("add")

    def _do(self, what: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == f"{what}\n"

    def stop(self) -> None:
        self.process.communicate()


@functools.cache
def shared_cluster() -> TwoNodes:
    os.environ.update(SETTINGS)
    folder = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp")
    process = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "RAY_TMPDIR": folder.name},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    cluster = TwoNodes(process, process.stdout.readline().strip())
    atexit.register(folder.cleanup)
    atexit.register(cluster.stop)  # the last one registered is the first one called
    return cluster


@functools.cache
def _cache() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="visift-cache-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def two_workers() -> Ray:
    """Return an executor with two workers on the shared cluster."""
    return Ray(2, _cache(), shared_cluster().address)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve() -> None:
    """Run a cluster as standard input says, until it ends."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 100 << 20}
    soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head = {**size, "include_dashboard": False, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**size)
    _say(cluster.address)
    for line in sys.stdin:
        if line == "kill\n":
            cluster.remove_node(second, allow_graceful=False)
        else:
            second = cluster.add_node(**size)
        cluster.wait_for_nodes()  # until all know it
        _say(line.strip())
    cluster.shutdown()


if __name__ == "__main__":
    serve()

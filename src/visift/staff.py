"""Who measures, and where values are kept: devices, workers and cache of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

from visift.config import EngineConfig
from visift.engine.executor import Executor, Inline
from visift.engine.rayconnection import NodeSize, check_address, cluster_nodes, must_have_ray
from visift.errors import InputError, ModelError
from visift.models.ref import ModelRef
from visift.pool.pool import Pool

Devices = Callable[[], Sequence[str]]
Staff = Callable[[int], Executor]

EXECUTORS = ("processes", "inline", "ray")
#: A loaded model needs about this many times the size of its files.
_MEMORY_FACTOR = 2.0
#: What a Ray worker calls its GPU: it sees no other.
_OWN_GPU = "cuda:0"


def staffing(config: EngineConfig, model: ModelRef | None) -> tuple[Devices, Staff]:
    """Return what gives the devices, and what gives an executor for a number of blocks.

    Both are called only when something must be measured.

    Raises:
        InputError: an unknown executor or number of workers, or an address that makes no sense.
    """
    if config.executor not in EXECUTORS:
        raise InputError(
            f'unknown executor "{config.executor}".', fix=f"One of: {', '.join(EXECUTORS)}."
        )
    wanted = None if config.workers == "auto" else _count(config.workers)
    if config.patience < 1:
        raise InputError("patience is a number of seconds, 1 or more.")
    if config.executor == "ray":
        must_have_ray()
        if config.address is not None:
            check_address(config.address)
        folder = default_cache() if config.cache is None else Path(config.cache)
        there = _OnRay(config.address, folder, model, wanted, config.patience)
        return there.devices, there.executor
    if config.address is not None:
        raise InputError(
            f"--address is for Ray, not for the executor {config.executor}.",
            fix="Add --executor ray, or leave --address out.",
        )

    def devices() -> Sequence[str]:
        if find_spec("torch") is None:
            return ("cpu",)  # there are signals without a model; others say what they need
        from visift.models.devices import available

        return available(_preference(model))

    def executor(blocks: int) -> Executor:
        count = wanted or _automatic(devices(), model)
        if config.executor == "inline" or count == 1:
            return Inline()
        from visift.engine.processes import Processes

        # Also for a single block: one that crashes must not take this process along.
        return Processes(min(count, blocks), config.patience)

    return devices, executor


@dataclass(frozen=True)
class _OnRay:
    """Devices and executors on Ray; a cluster is asked once, and not before it is needed.

    Attributes:
        address: of the cluster; None for a Ray on this machine.
        folder: of measured values, which every node must see.
        model: of the signals.
        wanted: number of workers, None for as many as fit.
        patience: seconds without a sign of life after which one is given up.
    """

    address: str | None
    folder: Path
    model: ModelRef | None
    wanted: int | None
    patience: int

    @cached_property
    def nodes(self) -> Sequence[NodeSize]:
        """What the cluster offers."""
        assert self.address is not None
        return cluster_nodes(self.address)

    def devices(self) -> Sequence[str]:
        """Return the device of every worker."""
        if self.address is not None:
            return (self._device_there(self.address),)
        here = self._here()
        return (_OWN_GPU,) if here[0].startswith("cuda") else here

    def executor(self, blocks: int) -> Executor:
        """Return the executor for a number of blocks."""
        from visift.engine.ray import Ray

        gpu = self.devices()[0] == _OWN_GPU
        workers = min(self.wanted or self._as_many_as_fit(gpu), blocks)
        return Ray(workers, self.folder, self.address, gpu, self.patience)

    def _as_many_as_fit(self, gpu: bool) -> int:
        if self.address is None:
            return _automatic(self._here(), self.model)
        if gpu:
            return sum(node.gpus for node in self.nodes)
        cpus = [_fitting(node.cpus, node.memory, self.model) for node in self.nodes if node.cpus]
        if not cpus:
            raise InputError("the cluster has no CPU to measure on.", where=self.address)
        return sum(cpus)

    def _here(self) -> Sequence[str]:
        from visift.models.devices import available

        return available(_preference(self.model))

    def _device_there(self, address: str) -> str:
        gpus = sum(node.gpus for node in self.nodes)
        preference = _preference(self.model)
        if preference == "cpu" or (preference == "auto" and not gpus):
            return "cpu"
        if not gpus or not preference.startswith(("auto", "cuda")):
            raise ModelError(
                f'no device "{preference}" in the cluster.',
                where=address,
                fix=f"There are: {'cuda, ' if gpus else ''}cpu.",
            )
        return _OWN_GPU


def _preference(model: ModelRef | None) -> str:
    return model.device if model else "auto"


def default_cache() -> Path:
    """Return the folder that holds one folder a pool."""
    named = os.environ.get("VISIFT_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "visift"


def cache_folder(config: EngineConfig, pool: Pool) -> Path:
    """Return where measured values are kept: as configured, else one folder an image root.

    Images are known by path and size, which two unrelated pools may share, so that the default is
    never shared between image roots.
    """
    if config.cache is not None:
        return Path(config.cache)
    roots = "\x1e".join(str(Path(root.path).resolve()) for root in pool.roots)
    name = Path(pool.roots[0].path).resolve().stem
    return default_cache() / f"{name}-{blake2b(roots.encode(), digest_size=6).hexdigest()}"


def _free_memory() -> int | None:
    """Return the bytes that could be had, by the system and by a container's limit."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        return min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return free


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise InputError(f'"{text}" is not a number of workers.', fix="For example: --workers 4")
    return int(text)


def _automatic(devices: Sequence[str], model: ModelRef | None) -> int:
    """One worker a GPU; on the CPU one a core, as long as the models fit into free memory."""
    if devices[0] != "cpu":
        return len(devices)
    from visift.models.devices import cpu_count

    return _fitting(cpu_count(), _free_memory(), model)


def _fitting(cores: int, memory: int | None, model: ModelRef | None) -> int:
    if model is None or memory is None:
        return cores
    size = sum(path.stat().st_size for path in model.folder().iterdir() if path.is_file())
    return max(1, min(cores, int(memory / (_MEMORY_FACTOR * max(size, 1)))))

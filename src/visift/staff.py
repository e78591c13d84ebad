"""Who measures, and where values are kept: devices, workers and cache of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

from visift.config import EngineConfig
from visift.engine.executor import Executor, Inline
from visift.errors import InputError
from visift.models.ref import ModelRef
from visift.pool.pool import Pool

Devices = Callable[[], Sequence[str]]
Staff = Callable[[int], Executor]

EXECUTORS = ("processes", "inline")
#: A loaded model needs about this many times the size of its files.
_MEMORY_FACTOR = 2.0


def staffing(config: EngineConfig, model: ModelRef | None) -> tuple[Devices, Staff]:
    """Return what gives the devices, and what gives an executor for a number of blocks.

    Both are called only when something must be measured.

    Raises:
        InputError: an unknown executor or number of workers.
    """
    if config.executor not in EXECUTORS:
        raise InputError(
            f'unknown executor "{config.executor}".', fix=f"One of: {', '.join(EXECUTORS)}."
        )
    wanted = None if config.workers == "auto" else _count(config.workers)

    def devices() -> Sequence[str]:
        from visift.models.devices import available

        return available(model.device if model else "auto")

    def executor(blocks: int) -> Executor:
        workers = min(wanted or _automatic(devices(), model), blocks)
        if config.executor == "inline" or workers == 1:
            return Inline()
        from visift.engine.processes import Processes

        return Processes(workers)

    return devices, executor


def default_cache() -> Path:
    """Return the folder that holds one folder a pool."""
    return Path(os.environ.get("VISIFT_CACHE") or Path.home() / ".cache" / "visift")


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
    if not text.isdigit() or int(text) < 1:
        raise InputError(f'"{text}" is not a number of workers.', fix="For example: --workers 4")
    return int(text)


def _automatic(devices: Sequence[str], model: ModelRef | None) -> int:
    """One worker a GPU; on the CPU one a core, as long as the models fit into free memory."""
    if devices[0] != "cpu":
        return len(devices)
    from visift.models.devices import cpu_count

    cores, free = cpu_count(), _free_memory()
    if model is None or free is None:
        return cores
    size = sum(path.stat().st_size for path in model.folder().iterdir() if path.is_file())
    return max(1, min(cores, int(free / (_MEMORY_FACTOR * max(size, 1)))))

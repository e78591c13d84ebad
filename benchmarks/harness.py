"""Run one piece of work in a fresh process and measure it from outside.

A job is a generator: what it does up to its first `yield` is set-up, what it does up to the second
one is measured, the rest checks the result and returns something small.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.01
READ_BYTES = 1 << 23

Job = Callable[..., Generator[None, None, Any]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a job took.

    Attributes:
        seconds: wall clock.
        cpu_seconds: processor time of all its threads.
        memory: peak of its anonymous memory in bytes less what it held at the start; None where
            the system does not tell (it is read from /proc).
        disk: bytes that came from the disk rather than from the page cache; None likewise.
        value: what the job returned.
    """

    seconds: float
    cpu_seconds: float
    memory: int | None
    disk: int | None
    value: Any


def in_fresh_process(job: Job, *args: Any) -> Measurement:
    """Run a job in a new interpreter; this process samples the memory of that one meanwhile."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(there, job, args))
    process.start()
    there.close()
    try:
        here.recv()
        before = peak = anonymous_memory(process.pid)
        here.send("go")
        while not here.poll(SAMPLE_SECONDS):
            peak = max(peak, anonymous_memory(process.pid))
        seconds, cpu_seconds, disk = here.recv()
        value = here.recv()
    except EOFError:
        raise SystemExit(f"{job.__name__} failed, see above") from None
    finally:
        process.join()
    return Measurement(seconds, cpu_seconds, peak - before if before else None, disk, value)


def best_of(times: int, job: Job, *args: Any) -> Measurement:
    """Return the fastest of several runs, each in its own process."""
    return min((in_fresh_process(job, *args) for _ in range(times)), key=lambda m: m.seconds)


def _child(pipe: Connection, job: Job, args: Sequence[Any]) -> None:
    steps = job(*args)
    next(steps)
    gc.collect()
    pipe.send("ready")
    pipe.recv()
    disk, cpu, start = disk_bytes(), time.process_time(), time.perf_counter()
    next(steps)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    now = disk_bytes()
    pipe.send((seconds, cpu, None if disk is None or now is None else now - disk))
    try:
        next(steps)
    except StopIteration as end:
        pipe.send(end.value)


def anonymous_memory(pid: int | None) -> int:
    """Return a process's anonymous resident memory in bytes, 0 where it is not known.

    File pages it has mapped do not count: the system takes them back whenever it wants to.
    """
    return (_field(Path(f"/proc/{pid}/status"), "RssAnon:") or 0) * 1024


def disk_bytes() -> int | None:
    """Return how many bytes this process has read from the disk so far."""
    return _field(Path("/proc/self/io"), "read_bytes:")


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)


def drop_from_page_cache(paths: Iterable[Path]) -> None:
    """Make the next read of some files come from the disk, where the system lets us ask for it."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def read_once(paths: Sequence[Path]) -> Generator[None, None, int]:
    """As a job: read files from the disk from end to end; returns their size."""
    room = bytearray(READ_BYTES)
    drop_from_page_cache(paths)
    total = 0
    yield
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(room):
                total += got
    yield
    return total

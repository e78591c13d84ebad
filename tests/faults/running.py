"""Real runs of `visift select`, in processes of their own, on blocks of a few items each.

The processes are forked off one that has imported everything, which makes them begin at once.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pyarrow.parquet as pq

from engine.simple import write_pool
from visift import run as imported_before_it_is_needed
from visift.cli import main
from visift.engine import blocks
from visift.engine.spawning import main_left_alone

__all__ = ["imported_before_it_is_needed"]

TESTS = Path(__file__).parent.parent
BLOCK_ITEMS = 8
#: Files that hold times or absolute paths.
VOLATILE = ("manifest.json", "index.html", "run.yaml", "RUN.md")

_numbers = itertools.count()
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


@functools.cache
def _begin_server() -> None:
    """Start the process all runs are forked off; what it imports, it looks for where we do."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ.update({} if before is None else {"PYTHONPATH": before})


def pool_of(folder: Path, blocks: int) -> Path:
    """Write a pool of so many blocks of images, the last one not full, from three sources."""
    count = blocks * BLOCK_ITEMS - 3
    return write_pool(folder, [(f"It is {i}.", [f"s{i % 3}/{i}.png"]) for i in range(count)])


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Run:
    """One run of a command, in a session of its own, as a terminal starts it."""

    process: ForkServerProcess
    told: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def is_over(self) -> bool:
        return self.process.exitcode is not None

    def kill(self) -> None:
        """Kill all that still runs of it."""
        for pid in (self.pid, *processes(self.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.join()

    def end(self) -> tuple[int, str]:
        """Wait for the end; returns exit code and stderr."""
        self.process.join(120)
        assert self.process.exitcode is not None
        return self.process.exitcode, self.told.read_text()


def _carry_out(line: list[str], folder: Path, told: Path, before: Callable[[], None]) -> None:
    os.setsid()
    with told.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    before()
    blocks.BLOCK_ITEMS = BLOCK_ITEMS
    main(line)


@dataclass(frozen=True)
class Command:
    """One command line, the same whenever it is run.

    Attributes:
        pool: file of the pool.
        folder: where it is run; what is named relative to it is comparable with other runs.
        cache: name of the folder of measured values.
        output: name of the run directory.
        workers: that measure.
        method: reads a signal that needs no model.
        seconds: that every block takes.
        budget: of the selection.
        unusable: share of records that may be set aside.
        before: called first, in the main process.
    """

    pool: Path
    folder: Path
    cache: str = "cache"
    output: str = "out"
    method: str = "engine.simple:Reddest"
    workers: int = 1
    seconds: float = 0.0
    budget: str = "20%"
    unusable: str = "1%"
    before: Callable[[], None] = nothing

    def start(self) -> Run:
        """Start it and come back at once."""
        self.folder.mkdir(exist_ok=True)
        told = self.folder.with_name(f"{self.folder.name}-{next(_numbers)}.txt")
        line = ["select", "--pool", str(self.pool), "--method", self.method]
        line += ["--set", f"seconds={self.seconds}", "--budget", self.budget]
        line += ["--max-unusable", self.unusable]
        line += ["--workers", str(self.workers), "--cache", self.cache, "-o", self.output]
        told.touch()  # somebody may be killed before the first line of their own
        process = _context.Process(target=_carry_out, args=(line, self.folder, told, self.before))
        _begin_server()
        with main_left_alone():
            process.start()
        return Run(process, told)

    def run(self) -> tuple[int, str]:
        """Run it to its end; returns exit code and stderr."""
        return self.start().end()

    def finish(self) -> dict[str, bytes]:
        """Run it to its end, which must be a good one; returns `results`."""
        code, said = self.run()
        assert code == 0, said
        return self.results()

    @property
    def parts(self) -> set[str]:
        """Names of the committed blocks."""
        return {path.name for path in (self.folder / self.cache).rglob("*.arrow")}

    @property
    def leftovers(self) -> list[Path]:
        """Files that somebody did not finish."""
        places = (self.folder / self.cache, self.folder / self.output)
        return [path for place in places for path in place.rglob(".*.tmp")]

    def quarantine(self) -> dict[str, str]:
        """Return, by uid, why records were set aside."""
        table = pq.read_table(self.folder / self.output / "quarantine.parquet")
        return dict(zip(table["uid"].to_pylist(), table["reason"].to_pylist(), strict=True))

    def results(self) -> dict[str, bytes]:
        """Return every file of run and cache that says the same wherever and whenever it is."""
        places = {"cache": self.folder / self.cache, "out": self.folder / self.output}
        return {
            f"{name}/{path.relative_to(place).as_posix()}": path.read_bytes()
            for name, place in places.items()
            for path in place.rglob("*")
            if path.is_file() and path.name not in VOLATILE
        }


def differing(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Return the names of files that are not the same in both."""
    names = sorted(found.keys() | wanted.keys())
    return [name for name in names if found.get(name) != wanted.get(name)]


def one_sentence(said: str) -> str:
    """Return what an error says, having checked that it says nothing else."""
    lines = said.strip().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("error  "))
    assert not any("Traceback" in line for line in lines)
    told = [line.strip() for line in lines[first:]]
    assert len(told) <= 2, said
    return " ".join(told).removeprefix("error  ")


def processes(leader: int) -> dict[int, str]:
    """Return the command lines of the processes of a session that still run."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found[int(place.name)] = (place / "cmdline").read_text()
        except (OSError, ValueError):
            continue
    return found


def workers_of(leader: int) -> list[int]:
    """Return the worker processes of a run."""
    return [pid for pid, line in processes(leader).items() if "spawn_main" in line]


def wait_until(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Return whether something came true in time."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.005)
    return what()

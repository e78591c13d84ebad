"""How time and memory grow with the pool: exponents of the number of records, fitted.

A command whose cost is linear has the exponent 1, or less while fixed costs still count; what
compares all records with one another has 2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import llava_like
from benchmarks.commands import SHARE, inspect, select
from benchmarks.growth import Growth
from benchmarks.harness import Job, Measurement, in_fresh_process
from benchmarks.made import MODEL, pool_with_images, store_features
from benchmarks.table import Line

SIZES = (10_000, 100_000, llava_like.RECORDS, 1_000_000)
QUICK_SIZES = (500, 4_000)
#: Records of the pool that is worked through first, so that imports do not count.
FIRST = 200
WIDTH = 128


@dataclass(frozen=True, slots=True)
class Command:
    """A command and how it is run.

    Attributes:
        name: as it is printed.
        job: see `benchmarks.harness`; what it returns has a `said`, the equality figure.
        arguments: of the job; called with folder, pool and number of records.
    """

    name: str
    job: Job
    arguments: Callable[[Path, Path, int], tuple[Any, ...]]


def after_another(
    job: Job, before: tuple[Any, ...], now: tuple[Any, ...]
) -> Generator[None, None, Any]:
    """As a job: a job, in a process that has done all of the same job for something smaller."""
    deque(job(*before), maxlen=0)
    return (yield from job(*now))


def _balanced(folder: Path, path: Path, records: int) -> tuple[Any, ...]:
    del records
    return path, folder / "scaling-out", {}


def _prism(folder: Path, path: Path, records: int) -> tuple[Any, ...]:
    options = {"method": "prism", "model": MODEL, "cache": _cache(folder, records)}
    return path, folder / "scaling-out", options


def _cache(folder: Path, records: int) -> Path:
    """Return the cache of one pool: a run reads the keys of all parts in the one it is given."""
    return folder / f"scaling-cache-{records}"


COMMANDS = (
    Command("inspect", inspect, lambda folder, path, records: (path, records)),
    Command(f"balanced --budget {SHARE}%", select, _balanced),
    Command(f"prism --budget {SHARE}%, {WIDTH} wide, stored", select, _prism),
)


def run(folder: Path, quick: bool) -> Iterator[Line | Growth]:
    """Yield a line a size and the fitted exponents, for every command."""
    sizes = QUICK_SIZES if quick else SIZES
    paths = {records: pool_with_images(folder, records) for records in (FIRST, *sizes)}
    for records, path in paths.items():
        store_features(path, _cache(folder, records), WIDTH)
    for command in COMMANDS:
        given = {n: command.arguments(folder, path, n) for n, path in paths.items()}
        found = {
            n: in_fresh_process(after_another, command.job, given[FIRST], given[n]) for n in sizes
        }
        for records, measured in found.items():
            what = f"scaling: {command.name} ({records:,} records)"
            yield Line.of(
                what,
                measured,
                _each(measured, records),
                measured.value.said,
                float(measured.value.wrong),
            )
        yield Growth.of(f"scaling: {command.name}, exponent of N", found)


def _each(run: Measurement, records: int) -> str:
    memory = "" if run.memory is None else f", {run.memory / records / 1024:.2f} KiB"
    return f"{1e6 * run.seconds / records:.0f} µs{memory} a record"

"""What a user types, as jobs (see `benchmarks.harness`); nothing of the package is imported before.

Both find the pool file in the page cache.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import drop_from_page_cache

SHARE = 15


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is checked of a selection.

    Attributes:
        rows: of the pool, in rank order.
        usable: rows it was chosen from.
        images: of the pool.
        measured: items that were not in the store.
        torch: whether torch was imported on the way.
    """

    rows: Sequence[int]
    usable: int
    images: int
    measured: int
    torch: bool

    @property
    def wrong(self) -> int:
        """By how many rows the selection misses the share."""
        return abs(len(self.rows) - self.usable * SHARE // 100)

    @property
    def said(self) -> str:
        """The same in words."""
        return f"{self.wrong} rows off {SHARE} %"

    @property
    def said_of_torch(self) -> str:
        """Whether torch was imported, in words."""
        return f"torch {'' if self.torch else 'not '}imported"


@dataclass(frozen=True, slots=True)
class Counted:
    """What is checked of an inspection: how many records were there, and how many it counted."""

    records: int
    counted: int

    @property
    def wrong(self) -> int:
        """How many records it missed."""
        return abs(self.counted - self.records)

    @property
    def said(self) -> str:
        """The same in words."""
        return f"{self.wrong} of {self.records:,} records not counted"


def select(
    path: Path, out: Path, options: Mapping[str, Any], cold: Sequence[Path] = ()
) -> Generator[None, None, Chosen]:
    """As a job: `visift select --budget 15%` into a new folder.

    Args:
        path: the pool.
        out: the run directory; removed before.
        options: as `visift.select` takes them.
        cold: files that are dropped from the page cache before.
    """
    path.read_bytes()
    shutil.rmtree(out, ignore_errors=True)
    drop_from_page_cache(cold)
    before = "torch" in sys.modules
    yield
    from visift import select as choose

    run = choose(path, budget=f"{SHARE}%", output=out, **options)
    torch = "torch" in sys.modules and not before
    yield
    measured = sum(entry.measured for entry in run.ledger)
    usable = int(run.selection.facts["usable"])
    return Chosen(run.rows.tolist(), usable, len(run.pool.images), measured, torch)


def inspect(path: Path, records: int) -> Generator[None, None, Counted]:
    """As a job: count, look up and compare everything in a pool of so many records."""
    path.read_bytes()
    yield
    from visift.pool.inspect import inspect_pool
    from visift.pool.pool import Pool

    found = inspect_pool(Pool.open(path))
    yield
    return Counted(records, int(found.records))

"""PRISM's scores of 665,298 features on disk, against the disk's speed and the N x N form."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.reference import prism as reference

from benchmarks import llava_like
from benchmarks.harness import (
    Measurement,
    best_of,
    drop_from_page_cache,
    in_fresh_process,
    read_once,
)
from benchmarks.made import COLUMN, draw, must_fit
from benchmarks.table import Line
from visift.engine.measured import ByRow, StoredItems
from visift.engine.store import Store, item_keys, signal_folder
from visift.methods.prism import redundancy
from visift.signals.signal import Values

WIDTH, QUICK_WIDTH = 4096, 256
QUICK_RECORDS = 20_000
PAIRWISE, QUICK_PAIRWISE = 20_000, 3_000
PART_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Features:
    """Features on disk, one for every record of a pool, in the layout of the package's store.

    Attributes:
        cache: folder of the store.
        records: N.
        width: d.
    """

    cache: Path
    records: int
    width: int

    @property
    def identity(self) -> dict[str, Any]:
        """What the store files them under."""
        return {"signal": "benchmarks.Features", "records": self.records, "width": self.width}

    @property
    def keys(self) -> NDArray[np.uint64]:
        """(N, 2) item keys."""
        return item_keys([f"image {n}" for n in range(self.records)])

    @property
    def group(self) -> NDArray[np.int64]:
        """(N,) source of each record; the sources have the sizes of LLaVA-665K, mixed."""
        sizes = [count for count, *_ in llava_like.SOURCES.values()]
        shuffled = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
        return shuffled[: self.records]

    @property
    def files(self) -> list[Path]:
        """The files that hold them."""
        return sorted(signal_folder(self.cache, self.identity).glob("*.arrow"))

    def write(self) -> None:
        """Write what is not there yet, as measuring does: a part of 1,024 rows at a time."""
        store = Store.open(self.cache, self.identity, (COLUMN,))
        keys = self.keys
        missing = store.find(keys)[:, 0] < 0
        must_fit(int(missing.sum()) * self.width * 2, self.cache)
        for start in range(0, self.records, PART_ROWS):
            rows = slice(start, start + PART_ROWS)
            if missing[rows].any():
                features = draw(start, self.group[rows], self.width)
                store.commit(keys[rows], Values({COLUMN.name: features}, [None] * len(features)))

    def open(self) -> ByRow:
        """Return them as a method reads them."""
        store = Store.open(self.cache, self.identity, (COLUMN,))
        values = StoredItems.of((COLUMN,), store.parts, store.find(self.keys), {})
        return ByRow(values, np.arange(self.records + 1), np.arange(self.records))


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; the features are made where they are not there yet."""
    records, width = (QUICK_RECORDS, QUICK_WIDTH) if quick else (llava_like.RECORDS, WIDTH)
    features = Features(folder, records, width)
    features.write()
    yield from _streamed(features)
    few = QUICK_PAIRWISE if quick else PAIRWISE
    yield from _pairwise(features, few, one_group=True)
    yield from _pairwise(features, few, one_group=False)


def _streamed(features: Features) -> Iterator[Line]:
    read = best_of(2, read_once, features.files)
    cold = in_fresh_process(score, features, True)
    warm = in_fresh_process(score, features, False)
    size = f"{features.records:,} x {features.width:,}, {read.value / 1e9:.2f} GB"
    yield Line.of(f"prism: reading the files once from the disk ({size})", read, "1")
    yield Line.of("prism: three passes, each from the disk", cold, _speed(read, cold))
    differ = int((cold.value[0] != warm.value[0]).sum())
    yield Line.of(
        "prism: three passes, from the page cache as far as it holds them",
        warm,
        _speed(read, warm),
        f"{differ} scores differ from the line above",
        float(differ),
    )


def _speed(read: Measurement, run: Measurement) -> str:
    share = 3 * read.seconds / run.seconds
    passes = " + ".join(f"{seconds:.1f}" for seconds in run.value[1])
    disk = "" if run.disk is None else f", {run.disk / 1e9:.1f} GB from the disk"
    return f"{share:.0%} of the disk's speed ({passes} s{disk})"


def _pairwise(features: Features, few: int, one_group: bool) -> Iterator[Line]:
    slow = in_fresh_process(score_pairs, features, few, one_group)
    fast = in_fresh_process(score_some, features, few, one_group)
    difference = float(np.abs(fast.value - slow.value).max())
    size = f"{few:,} x {features.width:,}, {'one group' if one_group else 'by source'}"
    yield Line.of(f"prism: all pairs as printed ({size})", slow, "1")
    yield Line.of(
        f"prism: linear form ({size})",
        fast,
        f"{slow.seconds / fast.seconds:.0f} x as fast",
        f"largest difference {difference:.1e}, sd of R {slow.value.std():.1e}",
        difference,
    )


def score(features: Features, cold: bool) -> Generator[None, None, Any]:
    """As a job: R of all records, and the seconds of each pass, read as `Prism.choose` does.

    Args:
        features: on disk.
        cold: drop them from the page cache before each pass.
    """
    group, every, starts = features.group, np.arange(features.records), [0.0]
    held = [features.open()]

    def blocks() -> Iterable[NDArray[Any]]:
        if cold:
            held.clear()  # what is mapped cannot be dropped
            drop_from_page_cache(features.files)
            held.append(features.open())
        starts.append(time.perf_counter())
        return held[0].blocks(COLUMN.name, every)

    yield
    found = redundancy(blocks, group, len(llava_like.SOURCES))
    starts.append(time.perf_counter())
    yield
    return found.R, [after - before for before, after in pairwise(starts[1:])]


def score_some(features: Features, few: int, one_group: bool) -> Generator[None, None, Any]:
    """As a job: R of the first records, by the linear form."""
    F, group = _some(features, few, one_group)
    yield
    found = redundancy(lambda: [F], group, len(llava_like.SOURCES))
    yield
    return found.R


def score_pairs(features: Features, few: int, one_group: bool) -> Generator[None, None, Any]:
    """As a job: R of the first records, by the form printed."""
    F, group = _some(features, few, one_group)
    yield
    R = reference.redundancy(F, group)
    yield
    return R


def _some(features: Features, few: int, one_group: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
    group = features.group[:few]
    F = features.open().take(COLUMN.name, np.arange(few))
    return F, np.zeros_like(group) if one_group else group

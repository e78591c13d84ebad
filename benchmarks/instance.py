"""TIVE's instance values: the linear form against all pairs as printed, on random gradients."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import in_fresh_process
from benchmarks.table import Line

ROWS, WIDTH = 20_000, 8192
QUICK_ROWS, QUICK_WIDTH = 1500, 256
BLOCK = 1024


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; nothing is written."""
    del folder
    rows, width = (QUICK_ROWS, QUICK_WIDTH) if quick else (ROWS, WIDTH)
    slow = in_fresh_process(all_pairs, rows, width)
    fast = in_fresh_process(linear, rows, width)
    difference = float(np.abs(fast.value - slow.value).max())
    yield Line.of(f"instance: all pairs as printed ({rows:,} x {width:,}, one task)", slow, "1")
    yield Line.of(
        "instance: linear form, two passes over blocks",
        fast,
        f"{slow.seconds / fast.seconds:,.0f} x as fast",
        f"largest difference {difference:.1e}, sd of v {slow.value.std():.1e}",
        difference,
    )


def gradients(rows: int, width: int) -> NDArray[np.float16]:
    """Return directions that lean one way a little, as those of a task do."""
    rng = np.random.default_rng(0)
    out = np.empty((rows, width), np.float16)
    for start in range(0, rows, BLOCK):
        out[start : start + BLOCK] = rng.normal(0.2, 1.0, (len(out[start : start + BLOCK]), width))
    return out


def all_pairs(rows: int, width: int) -> Generator[None, None, Any]:
    """As a job: v of all rows, by the reference of the tests."""
    from tests.reference.tive import instance_values

    g = gradients(rows, width)
    yield
    v = instance_values(g, np.zeros(rows, np.int64))
    yield
    return v


def linear(rows: int, width: int) -> Generator[None, None, Any]:
    """As a job: v of all rows, as `Tive.choose` has it."""
    from visift.methods.tive_values import instance_values

    g = gradients(rows, width)
    yield

    def blocks() -> Iterator[NDArray[np.float16]]:
        return (g[start : start + BLOCK] for start in range(0, rows, BLOCK))

    v = instance_values(blocks, np.zeros(rows, np.int64), 1)
    yield
    return v

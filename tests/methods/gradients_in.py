"""Pools of tasks, and gradients handed in for them, so that no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import open_records, talk, write_json
from visift.pool.pool import Pool


def pool_of(folder: Path, tasks: str | Mapping[str, int], **more: Any) -> Pool:
    """Open text records: one for each letter, its task; or so many of each task."""
    folder.mkdir(exist_ok=True)
    names = list(tasks)
    if not isinstance(tasks, str):
        names = [name for name, count in tasks.items() for _ in range(count)]
    said = [talk(f"question {n}", f"answer {n}", task=name) for n, name in enumerate(names)]
    return open_records(folder, said, **more)


def with_targets(folder: Path, tasks: str, targets: str) -> Pool:
    """Open records as `pool_of`, and targets after them, likewise."""
    folder.mkdir(exist_ok=True)
    said = [talk(f"wanted {n}", f"so {n}", task=name) for n, name in enumerate(targets)]
    return pool_of(folder, tasks, target=[write_json(folder / "targets.json", said)])


def signals(folder: Path, **columns: Any) -> Path:
    """Write a `--signals` file for the first rows of a pool; two-dimensional columns are lists."""
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    table = {"row": np.arange(count), **{name: _column(a) for name, a in arrays.items()}}
    path = folder / "numbers.parquet"
    pq.write_table(pa.table(table), path)
    return path


def _column(values: np.ndarray) -> Any:
    if values.ndim == 1:
        return values
    return pa.FixedSizeListArray.from_arrays(values.astype(np.float32).ravel(), values.shape[1])


def gradients(folder: Path, g: Sequence[Any] | np.ndarray, **more: Any) -> Path:
    """Hand in whole gradients: their norms and their directions."""
    whole = np.asarray(g, np.float32)
    return signals(folder, grad_norm=np.linalg.norm(whole, axis=1), grad_projection=whole, **more)


def counts(pool: Pool, rows: Any) -> dict[str, int]:
    """Count rows by task, in the order in which tasks first stand in the pool."""
    tasks = pool.index["task"].to_pylist()
    named = dict.fromkeys(tasks, 0)
    for row in rows:
        named[tasks[int(row)]] += 1
    return named

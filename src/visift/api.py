"""Small public calls beside `select`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.config import EngineConfig
from visift.engine.lab import Examples, LocalLab
from visift.engine.measured import Measured
from visift.methods.method import METHODS, Method, method_class
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.signals.signal import Signal
from visift.staff import cache_folder, staffing


def list_methods() -> dict[str, type[Method]]:
    """Return the methods that come with visift, by name."""
    return {name: method_class(name) for name in METHODS}


def measure(
    pool: Pool,
    signal: Signal,
    rows: NDArray[np.int64] | None = None,
    *,
    cache: str | Path | None = None,
    workers: int | str = "auto",
) -> Measured:
    """Measure a signal over rows of a pool and return its values, memory-mapped.

    What is stored already is not measured again.

    Args:
        pool: what to measure on.
        signal: what to measure, for example `VisualFeatures(ModelRef("./checkpoint"))`.
        rows: all usable ones by default.
        cache: folder of measured values.
        workers: processes that measure.

    Raises:
        ModelError: the signal's model cannot be loaded.
    """
    engine = EngineConfig(None if cache is None else str(cache), str(workers))
    model = getattr(signal, "model", None)
    devices, executor = staffing(engine, model if isinstance(model, ModelRef) else None)
    lab = LocalLab(pool, cache_folder(engine, pool), devices, executor)
    handle = lab.measure(signal, Examples(pool.rows() if rows is None else rows))
    lab.resolve()
    return handle

"""One way to run a method in a test, on pools that are made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visift.budget import Budget
from visift.engine.lab import LocalLab
from visift.methods.method import build
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.imported import Imported, SignalFile


def chosen(
    pool: Pool,
    method: str,
    budget: str | int | None,
    seed: int = 0,
    signals: Path | None = None,
    **given: Any,
) -> Choice:
    """Choose from a pool; what must be measured comes from a `--signals` file or fails."""
    built = build(method, given, seed=seed)
    wanted = None if budget is None else Budget.parse(budget)
    files = () if signals is None else (SignalFile.open(signals),)
    lab = LocalLab(pool, Path("never used"), lambda: ["cpu"], imported=Imported(files))
    return built.choose(pool, built.measure(pool, lab, wanted), wanted)

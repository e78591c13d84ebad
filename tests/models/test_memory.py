"""The most memory that this process has held."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from visift.models import memory
from visift.models.memory import forget_peak, peak_memory

HUNDRED_MB = 100 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_peak_outlives_what_was_held_until_it_is_forgotten() -> None:
    forget_peak()
    before = peak_memory()
    assert before is not None
    held = np.ones(HUNDRED_MB, np.uint8)
    assert held[::4096].sum() > 0  # so that there is every page of it
    del held
    after = peak_memory()
    assert after is not None
    assert after - before > 0.9 * HUNDRED_MB
    if not _may_forget():
        pytest.skip("this system does not let a process forget its peak")
    forget_peak()
    assert (peak_memory() or after) < after - 0.5 * HUNDRED_MB


def _may_forget() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def test_nobody_counts_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    monkeypatch.setattr(sys, "platform", "other")
    forget_peak()
    assert peak_memory() is None

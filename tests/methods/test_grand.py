"""`grand`: the longest gradients first; norms are handed in, so that no model runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import open_records, talk
from methods.choosing import chosen
from methods.gradients_in import pool_of, signals
from visift.engine.lab import LocalLab
from visift.errors import InputError
from visift.methods.method import build
from visift.signals.imported import Imported, SignalFile


def test_the_longest_gradients_come_first(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaaa")
    path = signals(tmp_path, grad_norm=np.array([1, 5, 3, 0, 4, 2], np.float32))
    choice = chosen(pool, "grand", 4, signals=path)
    assert choice.rows.tolist() == [1, 4, 2, 5]
    assert choice.score.tolist() == [1, 5, 3, 0, 4, 2]
    assert choice.reasons[0] == "gradient of length 5, from the longest of 6 records (median 2.5)"
    assert choice.facts["direction"] == "highest first"


def test_inside_sources_the_pool_s_mixture_stays(tmp_path: Path) -> None:
    said = [talk(f"q{n}", source="ab"[n >= 8]) for n in range(12)]
    pool = open_records(tmp_path, said)
    path = signals(tmp_path, grad_norm=np.arange(12, dtype=np.float32))
    assert chosen(pool, "grand", 3, signals=path).rows.tolist() == [11, 10, 9]
    assert sorted(chosen(pool, "grand", 3, signals=path, per_source=True).rows) == [6, 7, 11]


def test_equal_norms_go_by_tie_key_and_rows_without_one_are_left(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    path = signals(tmp_path, grad_norm=np.array([1, np.nan, 1, 1], np.float32))
    keys = pool.tie_keys(0)
    rows = chosen(pool, "grand", "100%", signals=path).rows.tolist()
    assert rows == sorted([0, 2, 3], key=lambda row: int(keys[row]))


def test_the_warm_up_is_a_share_at_random(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 60)
    path = SignalFile.open(signals(tmp_path, grad_norm=np.ones(60)))
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"], imported=Imported((path,)))
    keys = pool.tie_keys(2, b"warmup")
    for ratio, count in ((0.05, 3), (0.001, 1), (0, 0)):
        inputs = build("grand", {"warmup_ratio": ratio}, seed=2).measure(pool, lab, None)
        expected = sorted(range(60), key=lambda row: int(keys[row]))[:count]
        assert inputs.reference.warmup.tolist() == expected


def test_without_norms_a_model_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a model"):
        chosen(pool_of(tmp_path, "aa"), "grand", 1)

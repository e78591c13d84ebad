"""Counting what is asked for: the same items, the same store, nothing measured, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.simple import MeanColour, TextLength, noted, plain_pool, write_pool
from visift.engine.counting import Count, CountingLab, asked_for, left_to_measure, plan_text
from visift.engine.lab import Examples, LocalLab
from visift.errors import InputError
from visift.pool.pool import Pool
from visift.signals.cost import Cost
from visift.signals.features import VisualFeatures
from visift.signals.imported import Imported, SignalFile


def rows(pool: Pool, upto: int | None = None) -> Any:
    return np.arange(len(pool))[:upto]


def real_lab(pool: Pool, cache: Path, **more: Any) -> LocalLab:
    return LocalLab(pool, cache, lambda: ("cpu",), **more)


def counted(pool: Pool, cache: Path, *signals: Any, upto: int | None = None) -> list[Count]:
    lab = CountingLab(pool, cache)
    for signal in signals:
        lab.measure(signal, Examples(rows(pool, upto)))
    return lab.counts()


def test_counting_measures_nothing_and_writes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    pool = plain_pool(tmp_path / "pool", 5)
    (count,) = counted(pool, tmp_path / "cache", MeanColour(log=str(log)))
    assert (count.entry.items, count.entry.measured) == (5, 5)
    assert noted(log) == noted(log, "opened") == []
    assert not (tmp_path / "cache").exists()


def test_what_is_stored_is_not_left(tmp_path: Path) -> None:
    pool, cache = plain_pool(tmp_path / "pool", 6), tmp_path / "cache"
    lab = real_lab(pool, cache)
    lab.measure(MeanColour(), Examples(rows(pool, 4)))
    lab.resolve()
    before = sorted(cache.rglob("*"))
    (count,) = counted(pool, cache, MeanColour())
    assert (count.entry.items, count.entry.measured) == (6, 2)
    assert count.left.tolist() == [4, 5]
    (other,) = counted(pool, cache, MeanColour(gain=2.0))
    assert other.entry.measured == 6
    assert sorted(cache.rglob("*")) == before


def test_content_that_occurs_twice_is_one_item(tmp_path: Path) -> None:
    records = [("same", []), ("other", []), ("same", []), ("seen", ["1.png"]), ("no", ["1.png"])]
    pool = Pool.open(write_pool(tmp_path / "pool", records))
    text, colour = counted(pool, tmp_path / "cache", TextLength(), MeanColour())
    assert (text.entry.items, text.left.tolist()) == (4, [0, 1, 3, 4])
    assert (colour.entry.items, colour.entry.measured) == (1, 1)


def test_a_second_request_asks_for_what_the_first_left_out(tmp_path: Path) -> None:
    pool, cache = plain_pool(tmp_path / "pool", 6), tmp_path / "cache"
    plan = CountingLab(pool, cache)
    run = real_lab(pool, cache)
    for lab in (plan, run):
        lab.measure(MeanColour(), Examples(rows(pool, 4)))
        lab.measure(MeanColour(), Examples(rows(pool)))
    counts = [count.entry for count in plan.counts()]
    assert [(one.items, one.measured) for one in counts] == [(4, 4), (6, 2)]
    assert [count.entry for count in left_to_measure(run)] == counts
    run.resolve()
    assert run.ledger == counts
    assert [count.entry.measured for count in left_to_measure(run)] == [0, 0]


def test_imported_numbers_leave_nothing(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 3)
    path = tmp_path / "numbers.parquet"
    values = pa.array([[1.0, 2.0, 3.0]] * 3)
    pq.write_table(pa.table({"row": [0, 1, 2], "visual_feature": values}), path)
    imported = Imported((SignalFile.open(path),))
    plan = CountingLab(pool, tmp_path / "cache", imported)
    assert plan.given("visual_feature")
    assert not plan.given("nll")
    run = real_lab(pool, tmp_path / "cache", imported=imported)
    for lab in (plan, run):
        lab.measure(VisualFeatures(None), Examples(rows(pool)))
    run.resolve()
    (count,) = plan.counts()
    assert [count.entry] == run.ledger
    assert not count.lacks_model
    assert asked_for(count) == "visual_feature from --signals"


def test_without_a_model_everything_counts_and_the_store_is_not_looked_at(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "VisualFeatures-0").mkdir(parents=True)
    (count,) = counted(plain_pool(tmp_path / "pool", 3), cache, VisualFeatures(None, layer=1))
    assert count.lacks_model
    assert count.entry.cost == Cost(
        forwards_partial=3, blocks=3, tokens=None, bytes_stored=None, flops=None
    )
    assert asked_for(count) == "3 partial forwards (1 block)"


def test_values_must_not_be_read_while_asking(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 2)
    handle = CountingLab(pool, tmp_path).measure(MeanColour(), Examples(rows(pool)))
    with pytest.raises(RuntimeError, match="read while its method was still asking"):
        handle.ok(rows(pool))


def test_a_run_without_its_model_says_so_before_it_counts(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 2)
    lab = real_lab(pool, tmp_path / "cache")
    lab.measure(VisualFeatures(None), Examples(rows(pool)))
    with pytest.raises(InputError, match="needs a model"):
        left_to_measure(lab)


def test_one_line_says_what_is_left(tmp_path: Path) -> None:
    pool, cache = plain_pool(tmp_path / "pool", 3), tmp_path / "cache"
    assert plan_text([]) == ""
    assert plan_text(counted(pool, cache, TextLength())) == "length of 3 records"
    lab = real_lab(pool, cache)
    lab.measure(TextLength(), Examples(rows(pool, 2)))
    lab.resolve()
    (part,) = counted(pool, cache, TextLength())
    assert asked_for(part) == "length of 1 record, 2 stored"
    stored = plan_text(counted(pool, cache, TextLength(), upto=2))
    assert stored == "nothing to measure: length of 2 records, all stored"


def test_costs_add_up_and_what_is_not_known_stays_unknown() -> None:
    one, unknown = Cost(forwards_full=1, tokens=5), Cost(backwards=1, tokens=None)
    assert one.times(3) + one == Cost(forwards_full=4, tokens=20)
    assert one + unknown == Cost(forwards_full=1, backwards=1, tokens=None)
    assert unknown.times(2) == Cost(backwards=2, tokens=None)
    assert unknown.times(0) == Cost()

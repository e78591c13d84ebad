"""Slices: they never meet, together they are everything, and the store merges them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.simple import MeanColour, NeverOpens, noted, plain_pool
from visift.cli import run
from visift.engine import blocks
from visift.engine.lab import Examples, LocalLab
from visift.engine.slices import Slice, SliceMeasured, measure_slice
from visift.errors import InputError
from visift.pool.pool import Pool

ITEMS = 22


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ITEMS", 4)


def lab_on(pool: Pool, cache: Path, signal: MeanColour) -> LocalLab:
    """Return a lab that was asked for a signal over all rows."""
    lab = LocalLab(pool, cache, lambda: ("cpu",))
    lab.measure(signal, Examples(np.arange(len(pool))))
    return lab


def parts(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*.arrow")}


@given(st.integers(1, 9), st.sets(st.integers(0, 60)))
def test_slices_never_meet_and_are_everything(count: int, numbers: set[int]) -> None:
    whole = {number: np.array([number]) for number in numbers}
    slices = [Slice(number, count).of(whole) for number in range(1, count + 1)]
    assert sorted(itertools.chain(*slices)) == sorted(numbers)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_in_any_order_slices_leave_what_one_run_leaves(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    pool = plain_pool(tmp_path / "pool", ITEMS)
    lab_on(pool, tmp_path / "plain", MeanColour()).resolve()
    done = [
        measure_slice(lab_on(pool, tmp_path / "cache", MeanColour()), Slice(number, 3))
        for number in order
    ]
    assert parts(tmp_path / "cache") == parts(tmp_path / "plain")
    assert sum(one.measured for one in done) == ITEMS
    assert done[0].elsewhere == ITEMS - done[0].measured
    assert done[-1].elsewhere == 0


def test_a_slice_holds_every_nth_block(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", ITEMS)
    (tmp_path / "log").mkdir()
    signal = MeanColour(log=str(tmp_path / "log"))
    measure_slice(lab_on(pool, tmp_path / "cache", signal), Slice(2, 3))
    assert noted(tmp_path / "log") == [f"{i}.png" for i in (4, 5, 6, 7, 16, 17, 18, 19)]


def test_a_slice_that_is_measured_opens_nothing(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", ITEMS)
    (tmp_path / "log").mkdir()
    signal = MeanColour(log=str(tmp_path / "log"))
    for _ in range(2):
        done = measure_slice(lab_on(pool, tmp_path / "cache", signal), Slice(1, 2))
    assert done == SliceMeasured(0, (), 10)
    assert len(noted(tmp_path / "log", "opened")) == 1


def test_more_slices_than_blocks_leave_some_empty(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 3)
    lab = LocalLab(pool, tmp_path / "cache", lambda: ("cpu",))
    lab.measure(NeverOpens(), Examples(np.arange(3)))
    assert measure_slice(lab, Slice(2, 2)) == SliceMeasured(0, (), 3)


def test_what_cannot_be_measured_is_said_and_not_stored(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 4)
    assert len(pool.images) == 4  # it was there when the pool was opened
    (tmp_path / "pool" / "2.png").unlink()
    done = measure_slice(lab_on(pool, tmp_path / "cache", MeanColour()), Slice(1, 1))
    assert (done.measured, done.elsewhere) == (3, 0)
    assert done.lost == ("image missing: 2.png",)


def test_how_a_slice_is_written() -> None:
    assert Slice.parse("2/16") == Slice(2, 16)
    assert str(Slice.parse(" 16/16 ")) == "16/16"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0/4", 'there is no slice "0/4".\nSlices are numbered from 1: 1/4 to 4/4.'),
        ("5/4", 'there is no slice "5/4".\nSlices are numbered from 1: 1/4 to 4/4.'),
        ("0/0", 'there is no slice "0/0".\nSlices are numbered from 1: 1/1 to 1/1.'),
        *(
            (text, f'"{text}" is not a slice.\nFor example: --shard-range 2/16, of 1/16 to 16/16')
            for text in ("", "3", "1-4", "-1/4", "1/4/2", "a/b", "²/3", "1.0/2")
        ),
    ],
)
def test_what_is_no_slice_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Slice.parse(text)
    assert str(caught.value) == said


def test_slices_from_the_command_line_then_the_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain_pool(tmp_path / "pool", ITEMS)
    common = ["--pool", str(tmp_path / "pool" / "pool.json"), "--method", "engine.simple:Reddest"]
    common += ["--budget", "5", "--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "out")]
    assert run(["select", *common, "--shard-range", "1/2"]) == 0
    said = capsys.readouterr().out
    assert "Measured  slice 1/2 · 12 measured now · 10 in other slices\n" in said
    assert "run without --shard-range to choose" in said
    assert not (tmp_path / "out").exists()
    assert run(["select", *common, "--shard-range", "2/2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"slice": "2/2", "measured": 10, "lost": [], "elsewhere": 0}
    assert run(["select", *common]) == 0
    assert "nothing to measure" in capsys.readouterr().out
    assert (tmp_path / "out" / "selection.parquet").exists()


def test_a_wrong_slice_is_said_before_the_pool_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["select", "--pool", "no.json", "--budget", "5", "--shard-range", "3/2"]) == 1
    assert 'There is no slice "3/2".' in capsys.readouterr().err

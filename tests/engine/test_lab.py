"""The lab: nothing happens before it is needed, and nothing is measured twice."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.faulty import Faulty
from engine.simple import MeanColour, NeverOpens, TextLength, noted, plain_pool, write_pool
from visift.engine import blocks
from visift.engine import measured as measured_module
from visift.engine.blocks import TRIES
from visift.engine.executor import Executor, Inline
from visift.engine.lab import Examples, LocalLab
from visift.engine.ledger import Entry
from visift.engine.processes import Processes
from visift.errors import ModelError, StorageError
from visift.pool.pool import Pool
from visift.signals.signal import Signal

CPU = ("cpu",)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ITEMS", 4)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def lab_on(pool: Pool, cache: Path, executor: Executor | None = None, **more: Any) -> LocalLab:
    chosen = executor or Inline()
    return LocalLab(pool, cache, lambda: CPU, lambda blocks: chosen, **more)


def all_rows(pool: Pool) -> Any:
    return np.arange(len(pool))


def texts(folder: Path, answers: Sequence[str]) -> Pool:
    """Return a pool of text-only records with these answers."""
    return Pool.open(write_pool(folder, [(answer, []) for answer in answers]))


def files(cache: Path) -> dict[str, bytes]:
    """Return what is stored; a worker that is stopped may leave a `.tmp`, which is no part."""
    found = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".tmp")
    return {path.relative_to(cache).as_posix(): path.read_bytes() for path in found}


# --- nothing before it is needed -------------------------------------------------------------


def test_asking_measures_nothing(tmp_path: Path, log: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 3)

    def devices() -> Sequence[str]:
        raise AssertionError("asked for devices")

    lab = LocalLab(pool, tmp_path / "cache", devices)
    lab.measure(MeanColour(log=str(log)), Examples(all_rows(pool)))
    assert noted(log, "opened") == []
    assert not (tmp_path / "cache").exists()
    assert lab.ledger == []


def test_reading_one_value_measures_the_request(tmp_path: Path, log: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 6)
    lab = lab_on(pool, tmp_path / "cache")
    handle = lab.measure(MeanColour(log=str(log)), Examples(all_rows(pool)))
    assert handle.take("visual_feature", np.array([5])).shape == (1, 3)
    assert sorted(noted(log)) == [f"{i}.png" for i in range(6)]
    assert len(noted(log, "opened")) == 1
    lab.resolve()
    assert len(noted(log)) == 6
    assert [part.name for part in (tmp_path / "cache").iterdir()] != []


def test_what_is_stored_needs_no_device(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 5)
    first = lab_on(pool, tmp_path / "cache").measure(MeanColour(), Examples(all_rows(pool)))
    expected = first.take("visual_feature", all_rows(pool))

    def devices() -> Sequence[str]:
        raise AssertionError("asked for devices")

    lab = LocalLab(pool, tmp_path / "cache", devices)
    again = lab.measure(MeanColour(), Examples(all_rows(pool)))
    np.testing.assert_array_equal(again.take("visual_feature", all_rows(pool)), expected)
    assert lab.ledger == [Entry("MeanColour", "image", 5, 0, 0)]


# --- nothing twice ---------------------------------------------------------------------------


def test_appended_rows_are_the_only_ones_measured(tmp_path: Path, log: Path) -> None:
    signal = MeanColour(log=str(log))
    for count in (6, 11):
        pool = plain_pool(tmp_path / "pool", count)
        lab = lab_on(pool, tmp_path / "cache")
        lab.measure(signal, Examples(all_rows(pool)))
        lab.resolve()
    assert sorted(noted(log)) == sorted(f"{i}.png" for i in range(11))
    assert lab.ledger == [Entry("MeanColour", "image", 11, 5, 0)]


def test_an_image_that_rows_share_is_measured_once(tmp_path: Path, log: Path) -> None:
    records = [("a", ["1.png"]), ("b", ["2.png", "1.png"]), ("c", ["1.png"]), ("d", [])]
    pool = Pool.open(write_pool(tmp_path / "pool", records))
    lab = lab_on(pool, tmp_path / "cache")
    handle = lab.measure(MeanColour(log=str(log)), Examples(all_rows(pool)))
    one, two, three = handle.take("visual_feature", np.array([0, 1, 2]))
    assert sorted(noted(log)) == ["1.png", "2.png"]
    np.testing.assert_array_equal(one, three)
    assert not np.array_equal(one, two)
    assert handle.ok(all_rows(pool)).tolist() == [True, True, True, False]


def test_identical_records_are_measured_once(tmp_path: Path, log: Path) -> None:
    pool = texts(tmp_path / "pool", ["same", "other one", "same", "", "same", "x", ""])
    lab = lab_on(pool, tmp_path / "cache")
    handle = lab.measure(TextLength(log=str(log)), Examples(all_rows(pool)))
    assert handle.ok(all_rows(pool)).tolist() == [True, True, True, False, True, True, False]
    assert handle.take("length", np.array([0, 1, 2, 4, 5])).tolist() == [4, 9, 4, 4, 1]
    assert sorted(noted(log)) == ["", "other one", "same", "x"]
    assert lab.ledger == [Entry("TextLength", "record", 4, 4, 1)]


def test_two_signals_of_one_lab_do_not_mix(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 3)
    lab = lab_on(pool, tmp_path / "cache")
    one = lab.measure(MeanColour(), Examples(all_rows(pool)))
    two = lab.measure(MeanColour(gain=2), Examples(all_rows(pool)))
    lengths = lab.measure(TextLength(), Examples(all_rows(pool)[1:]))
    lab.resolve()
    rows = all_rows(pool)
    expected = 2 * one.take("visual_feature", rows)
    np.testing.assert_array_equal(two.take("visual_feature", rows), expected)
    assert lengths.ok(rows).tolist() == [False, True, True]
    assert lengths.reasons(rows) == ["not asked for", None, None]
    assert [entry.items for entry in lab.ledger] == [3, 3, 2]
    assert [known["signal"] for known in lab.identities()] == [
        "engine.simple.MeanColour",
        "engine.simple.MeanColour",
        "engine.simple.TextLength",
    ]


# --- values by row ---------------------------------------------------------------------------


def test_the_value_of_a_row_is_the_mean_over_its_images(tmp_path: Path) -> None:
    records = [("a", ["1.png"]), ("b", ["2.png"]), ("c", ["1.png", "2.png", "1.png"])]
    pool = Pool.open(write_pool(tmp_path / "pool", records))
    handle = lab_on(pool, tmp_path / "cache").measure(MeanColour(), Examples(all_rows(pool)))
    one, two, both = handle.take("visual_feature", all_rows(pool))
    np.testing.assert_allclose(both, (one.astype(float) + two) / 2)  # a set: twice is once


def test_rows_with_the_same_images_have_the_same_bytes(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(6)]
    records = [(str(i), [names[n] for n in order] * (1 + i % 2)) for i, order in enumerate(
        itertools.islice(itertools.permutations(range(6)), 0, 720, 60)
    )]  # fmt: skip
    pool = Pool.open(write_pool(tmp_path / "pool", records))
    signal = MeanColour(gain=1 / 3)
    handle = lab_on(pool, tmp_path / "cache").measure(signal, Examples(all_rows(pool)))
    values = handle.take("visual_feature", all_rows(pool))
    assert len({row.tobytes() for row in values}) == 1


def test_the_block_size_of_reading_changes_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    names = [[f"{n}.png" for n in draw.integers(0, 12, draw.integers(1, 4))] for _ in range(40)]
    pool = Pool.open(write_pool(tmp_path / "pool", [(str(i), n) for i, n in enumerate(names)]))
    lab = lab_on(pool, tmp_path / "cache")
    handle = lab.measure(MeanColour(gain=800), Examples(all_rows(pool)))  # some need a scale
    rows = draw.permutation(len(pool))
    expected = handle.take("visual_feature", rows)
    for size in (1, 3, 7, 40, 1000):
        monkeypatch.setattr(measured_module, "BLOCK_ROWS", size)
        blocks = list(handle.blocks("visual_feature", rows))
        assert all(len(block) == size for block in blocks[:-1])
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_rows_the_pool_cannot_offer_are_not_measured_and_take_none_along(
    tmp_path: Path, log: Path
) -> None:
    path = write_pool(tmp_path / "pool", [("a", ["1.png"]), ("b", ["2.png", "gone.png"])])
    (tmp_path / "pool" / "gone.png").unlink()
    path.write_text(path.read_text()[:-1] + ', {"conversations": 3}]')
    pool = Pool.open(path)
    lab = lab_on(pool, tmp_path / "cache")
    colours = lab.measure(MeanColour(log=str(log)), Examples(all_rows(pool)))
    lengths = lab.measure(TextLength(), Examples(all_rows(pool)))
    assert colours.ok(all_rows(pool)).tolist() == [True, False, False]
    assert lengths.ok(all_rows(pool)).tolist() == [True, False, False]
    assert noted(log) == ["1.png"]


def test_a_pool_without_any_image_that_is_there(tmp_path: Path) -> None:
    path = write_pool(tmp_path / "pool", [("a", ["1.png"])])
    (tmp_path / "pool" / "1.png").unlink()
    pool = Pool.open(path)
    lab = lab_on(pool, tmp_path / "cache")
    assert lab.measure(MeanColour(), Examples(all_rows(pool))).ok(all_rows(pool)).tolist() == [
        False
    ]


# --- what fails ------------------------------------------------------------------------------


def broken_pool(folder: Path) -> Pool:
    """Return eight records; the image of row 2 is cut, that of rows 5 and 6 is no image."""
    names = ["0", "1", "cut", "3", "4", "text", "text", "7"]
    path = write_pool(folder, [(str(i), [f"{name}.png"]) for i, name in enumerate(names)])
    cut = folder / "cut.png"
    cut.write_bytes(cut.read_bytes()[:50])
    (folder / "text.png").write_text("no image at all")
    return Pool.open(path)


def test_an_item_that_fails_has_a_reason_and_is_not_tried_again(tmp_path: Path, log: Path) -> None:
    pool = broken_pool(tmp_path / "pool")
    for tried in (7, 0):
        lab = lab_on(pool, tmp_path / "cache")
        handle = lab.measure(MeanColour(log=str(log)), Examples(all_rows(pool)))
        fine = [True, True, False, True, True, False, False, True]
        assert handle.ok(all_rows(pool)).tolist() == fine
        reasons = lab.failures()
        assert sorted(reasons) == [2, 5, 6]
        assert reasons[2].startswith("image truncated: cut.png (")
        assert reasons[5] == reasons[6]
        assert reasons[5].startswith("image unreadable: text.png (not an image: starts with ")
        assert [why is None for why in handle.reasons(all_rows(pool))] == fine
        assert lab.ledger == [Entry("MeanColour", "image", 7, tried, 2)]
        assert handle.take("visual_feature", np.array([0, 7])).shape == (2, 3)
    assert len(noted(log)) == 7


def test_failures_are_of_rows_that_were_asked_for(tmp_path: Path) -> None:
    pool = broken_pool(tmp_path / "pool")
    lab = lab_on(pool, tmp_path / "cache")
    lab.measure(MeanColour(), Examples(np.array([0, 5])))
    lab.measure(TextLength(), Examples(np.array([1])))
    assert sorted(lab.failures()) == [5]


def test_a_block_that_fails_three_times_is_set_aside_and_not_stored(
    tmp_path: Path, log: Path
) -> None:
    answers = [f"answer {i}" for i in range(12)] + ["answer 5"]  # the last one is row 5 again
    pool = texts(tmp_path / "pool", answers)
    signal = TextLength(str(log), raises_on="answer 5")
    for again in (1, 2):
        lab = lab_on(pool, tmp_path / "cache")
        handle = lab.measure(signal, Examples(all_rows(pool)))
        lost = [4, 5, 6, 7, 12]  # the block of row 5, and its copy
        assert np.flatnonzero(~handle.ok(all_rows(pool))).tolist() == lost
        assert lab.failures() == dict.fromkeys(lost, "RuntimeError: cannot read answer 5")
        assert noted(log).count("answer 5") == again * TRIES
        assert noted(log).count("answer 0") == noted(log).count("answer 9") == 1
    assert lab.ledger == [Entry("TextLength", "record", 12, 0, 4)]


def test_an_image_that_cannot_be_read_now_takes_none_along_and_is_tried_by_the_next_run(
    tmp_path: Path, log: Path
) -> None:
    pool = plain_pool(tmp_path / "pool", 12)
    assert len(pool.images) == 12  # looked up before one goes
    (tmp_path / "pool" / "5.png").rename(tmp_path / "5.png")
    signal = MeanColour(log=str(log))
    lab = lab_on(pool, tmp_path / "cache")
    lab.measure(signal, Examples(all_rows(pool)))
    lab.resolve()
    assert lab.failures() == {5: "image missing: 5.png"}
    assert lab.ledger == [Entry("MeanColour", "image", 12, 11, 1)]
    assert noted(log).count("5.png") == TRIES
    assert len(noted(log)) == 12 + TRIES - 1  # the others once
    (tmp_path / "5.png").rename(tmp_path / "pool" / "5.png")
    again = lab_on(pool, tmp_path / "cache")
    again.measure(signal, Examples(all_rows(pool)))
    assert again.failures() == {}
    assert again.ledger == [Entry("MeanColour", "image", 12, 1, 0)]


def test_a_run_whose_few_missing_items_all_fail_again_goes_on(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 12)
    assert len(pool.images) == 12
    for number in (2, 9):  # in two blocks
        (tmp_path / "pool" / f"{number}.png").unlink()
    for measured in (10, 0):
        lab = lab_on(pool, tmp_path / "cache")
        lab.measure(MeanColour(), Examples(all_rows(pool)))
        assert lab.failures() == {2: "image missing: 2.png", 9: "image missing: 9.png"}
        assert lab.ledger == [Entry("MeanColour", "image", 12, measured, 2)]


@pytest.mark.parametrize("executor", [Inline(), Processes(2)], ids=["inline", "processes"])
def test_a_fault_that_passes_between_tries_costs_nothing(
    tmp_path: Path, log: Path, executor: Executor
) -> None:
    pool = plain_pool(tmp_path / "pool", 12)
    seen = Impatient()
    lab = lab_on(pool, tmp_path / "cache", executor, progress=seen)
    handle = lab.measure(MeanColour(log=str(log), fails_once_on="5.png"), Examples(all_rows(pool)))
    assert handle.ok(all_rows(pool)).all()
    assert lab.failures() == {}
    assert seen.done == 12
    assert len(noted(log)) == 13


def test_a_fault_of_every_item_is_stored_for_none(tmp_path: Path, log: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 3)
    for _ in range(2):
        lab = lab_on(pool, tmp_path / "cache")
        lab.measure(MeanColour(log=str(log), gain=1e9, broken=True), Examples(all_rows(pool)))
        reasons = lab.failures()
        assert reasons[1] == "not measurable: 1.png (RuntimeError: CUDA error: illegal address)"
        assert not list((tmp_path / "cache").rglob("*.arrow"))
    assert len(noted(log)) == 2 * 3 * TRIES


def test_a_handle_shows_what_it_is_and_no_arrays(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 3)
    handle = lab_on(pool, tmp_path / "cache").measure(MeanColour(), Examples(all_rows(pool)))
    assert repr(handle) == "Handle(MeanColour of 3 rows, asked)"
    handle.ok(all_rows(pool))
    assert repr(handle) == "Handle(MeanColour of 3 rows, measured)"


def test_an_error_of_ours_stops_at_once_and_what_is_measured_stays(
    tmp_path: Path, log: Path
) -> None:
    pool = texts(tmp_path / "pool", [f"answer {i}" for i in range(12)])
    lab = lab_on(pool, tmp_path / "cache")
    lab.measure(TextLength(str(log), stops_on="answer 5"), Examples(all_rows(pool)))
    with pytest.raises(ModelError, match=r"the model: does not fit\.\nTake another\."):
        lab.resolve()
    assert noted(log) == [f"answer {i}" for i in range(6)]
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1


@pytest.mark.parametrize("executor", [Inline(), Processes(2)], ids=["inline", "processes"])
def test_a_model_that_does_not_open_stops_at_once(tmp_path: Path, executor: Executor) -> None:
    pool = texts(tmp_path / "pool", [str(i) for i in range(12)])
    lab = lab_on(pool, tmp_path / "cache", executor)
    lab.measure(NeverOpens(), Examples(all_rows(pool)))
    with pytest.raises(ModelError, match="no model on cpu"):
        lab.resolve()


@pytest.mark.parametrize("executor", [Inline(), Processes(2)], ids=["inline", "processes"])
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, executor: Executor
) -> None:
    pool = plain_pool(tmp_path / "pool", 30)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(240_000))
    lab = lab_on(pool, small_disk / "cache", executor)
    lab.measure(MeanColour(), Examples(all_rows(pool)))
    with pytest.raises(StorageError, match="the disk is full"):
        lab.resolve()
    kept = list(small_disk.rglob("*.arrow"))
    assert 0 < len(kept) < 8
    ballast.unlink()
    again = lab_on(pool, small_disk / "cache", executor)
    again.measure(MeanColour(), Examples(all_rows(pool)))
    again.resolve()
    assert again.ledger[0].measured <= 30 - 4 * (len(kept) - 1)
    assert files(small_disk / "cache") == undisturbed(pool, tmp_path / "other")


# --- whoever measures, and whatever happens --------------------------------------------------


def undisturbed(pool: Pool, cache: Path) -> dict[str, bytes]:
    lab = lab_on(pool, cache)
    lab.measure(MeanColour(), Examples(all_rows(pool)))
    lab.resolve()
    return files(cache)


@pytest.mark.parametrize(
    "executor",
    [Faulty(), Faulty(seed=1), Faulty(lost=1, denied=0), Faulty(lost=0, denied=1), Processes(2)],
    ids=["faulty", "other faults", "all lost", "all denied", "two processes"],
)
def test_all_executors_leave_the_same_bytes(tmp_path: Path, executor: Executor) -> None:
    pool = plain_pool(tmp_path / "pool", 30)
    lab = lab_on(pool, tmp_path / "cache", executor)
    handle = lab.measure(MeanColour(), Examples(all_rows(pool)))
    assert handle.ok(all_rows(pool)).all()
    assert lab.ledger == [Entry("MeanColour", "image", 30, 30, 0)]
    assert files(tmp_path / "cache") == undisturbed(pool, tmp_path / "other")


@dataclass
class Impatient:
    """A progress display whose reader presses Ctrl-C after some blocks; keeps what it was told."""

    blocks: int = 10**9
    begun: list[tuple[int, int]] = field(default_factory=list)
    done: int = 0
    ended: int = 0

    def begin(self, signal: Signal, total: int, done: int) -> None:
        self.begun.append((total, done))

    def advance(self, items: int) -> None:
        self.done += items
        self.blocks -= 1
        if self.blocks == 0:
            raise KeyboardInterrupt

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("executor", [Inline(), Processes(2)], ids=["inline", "processes"])
def test_stopped_and_continued_leaves_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, executor: Executor
) -> None:
    pool = plain_pool(tmp_path / "pool", 30)
    cache = tmp_path / "cache"
    stopped = lab_on(pool, cache, executor, progress=Impatient(blocks=3))
    stopped.measure(MeanColour(), Examples(all_rows(pool)))
    with pytest.raises(KeyboardInterrupt):
        stopped.resolve()
    assert 3 <= len(list(cache.rglob("*.arrow"))) < 8
    before = files(cache)
    lab = lab_on(pool, cache, executor)
    lab.measure(MeanColour(), Examples(all_rows(pool)))
    lab.resolve()
    assert lab.ledger[0].measured == 30 - 4 * (len(before) - 1)
    assert files(cache) == undisturbed(pool, tmp_path / "other")


def test_progress_counts_distinct_items_up_to_the_total(tmp_path: Path) -> None:
    answers = [str(i % 9) for i in range(20)]
    pool = texts(tmp_path / "pool", answers)
    lab_on(pool, tmp_path / "cache").measure(TextLength(), Examples(np.array([0, 1]))).ok(
        np.array([0])
    )
    seen = Impatient()
    lab = lab_on(pool, tmp_path / "cache", progress=seen)
    lab.measure(TextLength(), Examples(all_rows(pool)))
    lab.resolve()
    assert seen.begun == [(9, 2)]
    assert seen.done == 7
    assert seen.ended == 1


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from engine.simple import MeanColour
from visift.engine import blocks, lab
from visift.pool.pool import Pool

blocks.BLOCK_ITEMS = 4
pool = Pool.open(sys.argv[1])
here = lab.LocalLab(pool, Path(sys.argv[2]), lambda: ("cpu",))
handle = here.measure(MeanColour(seconds=0.02), lab.Examples(np.arange(len(pool))))
values = handle.take("visual_feature", np.arange(len(pool)))
print(here.ledger[0].failed, values.astype(np.float64).sum())
"""


def test_two_labs_may_share_a_cache_at_the_same_time(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 60)
    path = str(tmp_path / "pool" / "pool.json")
    tests = str(Path(__file__).parent.parent)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, path, str(tmp_path / cache)],
            env={**os.environ, "PYTHONPATH": tests, "PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, cache in enumerate(["shared", "shared", "alone"])
    ]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert said[0].startswith("0 ")
    assert said[0] == said[1] == said[2]
    assert files(tmp_path / "shared") == files(tmp_path / "alone")
    assert len(pool) == 60


def test_requests_that_overlap_in_any_way_give_the_same_values(tmp_path: Path) -> None:
    pool = plain_pool(tmp_path / "pool", 12)
    whole = lab_on(pool, tmp_path / "whole").measure(MeanColour(), Examples(all_rows(pool)))
    expected = whole.take("visual_feature", all_rows(pool))
    for number, rows in enumerate(itertools.permutations([3, 9, 10], 2)):
        lab = lab_on(pool, tmp_path / f"cache {number}")
        lab.measure(MeanColour(), Examples(np.array(rows)))
        handle = lab.measure(MeanColour(), Examples(all_rows(pool)[::-1]))
        lab.resolve()
        assert [entry.measured for entry in lab.ledger] == [2, 10]
        np.testing.assert_array_equal(handle.take("visual_feature", all_rows(pool)), expected)

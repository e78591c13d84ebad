"""`visnec`: by how much the image lowers the loss of the answers, highest first in every group."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from helpers import sources_only
from methods.choosing import chosen
from methods.handed_in import losses, pool_of
from visift.api import measure
from visift.errors import InfeasibleBudget, InputError
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.run import select
from visift.selection import Choice
from visift.signals.losses import AnswerLoss


def gains(pool: Pool, folder: Path, gain: list[float], budget: str | int, **given: Any) -> Choice:
    """Choose by gains of the rows with images, which come first in the pool."""
    nll = np.full(len(gain), 1.0)
    file = losses(folder, nll=nll, nll_no_image=nll + gain)
    return chosen(pool, "visnec", budget, signals=file, **given)


def test_the_case_of_the_specification(tmp_path: Path) -> None:
    """Losses (1.2, .7), (.5, .6), (.9, .9), (2.0, .4): G .5, -.1, 0, 1.6; two of them: 3 and 0."""
    pool = pool_of(tmp_path, "aaaa")
    file = losses(tmp_path, nll=[0.7, 0.6, 0.9, 0.4], nll_no_image=[1.2, 0.5, 0.9, 2.0])
    choice = chosen(pool, "visnec", 2, signals=file)
    assert choice.score.tolist() == pytest.approx([0.5, -0.1, 0, 1.6])
    assert choice.rows.tolist() == [3, 0]
    assert choice.facts["direction"] == "highest first"
    assert choice.reasons[0] == (
        "gain 1.6 (answer loss 2 without the image, 0.4 with it), "
        "among the highest of 3 a records (median 0.5)"
    )


def test_images_that_do_not_help_are_dropped_and_counted(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    choice = gains(pool, tmp_path, [0.5, -0.25, 0, 1.5], "100%")
    assert choice.rows.tolist() == [3, 0, 2], "a gain of 0 stays"
    assert choice.status == [None, "gain below 0: -0.25", None, None]
    assert choice.facts["left_out"] == {"gain below 0": 1}
    assert choice.facts["usable"] == 3
    every = gains(pool, tmp_path, [0.5, -0.25, 0, 1.5], "100%", drop_negative=False)
    assert every.rows.tolist() == [3, 0, 2, 1]
    assert every.facts["left_out"] == {}


def test_groups_keep_the_shares_they_have_before_the_drop(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaabbbb")
    gain = [9, 8, -1, -1, 1, 2, 3, 4]
    assert set(gains(pool, tmp_path, gain, 4).rows) == {0, 1, 6, 7}
    assert set(gains(pool, tmp_path, gain, 6).rows) == {0, 1, 4, 5, 6, 7}
    assert gains(pool, tmp_path, gain, 6, groups="all").rows.tolist() == [0, 1, 7, 6, 5, 4]


def test_text_only_rows_keep_their_share_in_every_prefix(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaaabb", "aa..")
    choice = gains(pool, tmp_path, [1, 2, 3, 4, 5, 6, 7, 8], 6)
    assert Counter(choice.group[row] for row in choice.rows) == {"a": 3, "b": 1, "text-only": 2}
    keys = pool.tie_keys(0)
    text = sorted(range(8, 12), key=lambda row: int(keys[row]))
    assert [row for row in choice.rows if row >= 8] == text[:2]
    said = next(r for row, r in zip(choice.rows, choice.reasons, strict=True) if row >= 8)
    assert said == "text-only: drawn at random from 4 (seed 0)"
    assert np.isnan(choice.score[8:]).all()
    assert not choice.tied.any(), "rows without a score do not tie"


def test_text_only_rows_all_in_or_all_out(tmp_path: Path) -> None:
    pool, gain = pool_of(tmp_path, "aabb", "ab"), [1, 2, 3, 4]
    keep = gains(pool, tmp_path, gain, 4, text_only="keep")
    assert set(keep.rows[:2]) == {4, 5}
    assert set(keep.rows[2:]) == {1, 3}
    assert keep.reasons[0] == "text-only: all are in"
    with pytest.raises(InfeasibleBudget, match="fewer than the 2 of the 2 text-only rows"):
        gains(pool, tmp_path, gain, 1, text_only="keep")
    drop = gains(pool, tmp_path, gain, "100%", text_only="drop")
    assert sorted(drop.rows.tolist()) == [0, 1, 2, 3]
    assert drop.status[4] == "text-only: no image that could help"
    assert drop.facts["left_out"] == {"text-only": 2}
    assert drop.facts["usable"] == 4


def test_kept_text_is_held_against_what_is_left_after_the_drop(tmp_path: Path) -> None:
    """Half of 6 rows would hold the 3 text-only ones; half of the 4 that are left does not."""
    pool = pool_of(tmp_path, "aaa", "aaa")
    with pytest.raises(InfeasibleBudget, match="Budget 50% is 2 rows"):
        gains(pool, tmp_path, [1, -1, -1], "50%", text_only="keep")


def test_rows_without_losses_are_never_ranked(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaa", "a")
    choice = gains(pool, tmp_path, [1, math.nan, 2], "100%")
    assert set(choice.rows) == {0, 2, 3}
    with pytest.raises(InputError, match="no record with an image has losses"):
        gains(pool, tmp_path, [math.nan] * 3, 1)


def test_text_only_rows_alone_are_no_answer(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aa", "aa")
    with pytest.raises(InputError) as caught:
        gains(pool, tmp_path, [-1, -2], 1)
    assert caught.value.what == "nothing is left to choose from (2 records: gain below 0)."
    assert caught.value.fix == "To rank those below 0, too: --set drop_negative=false"
    with pytest.raises(InputError, match="no usable record has an image"):
        chosen(sources_only(tmp_path / "text", {"a": 3}), "visnec", 1)


def test_equal_gains_are_settled_by_tie_key_and_marked(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaab")
    keys = pool.tie_keys(0)
    choice = gains(pool, tmp_path, [0.5, 0.5, 0.5, 2.0], 3)
    tied = dict(zip(choice.rows.tolist(), choice.tied.tolist(), strict=True))
    best = sorted(range(3), key=lambda row: int(keys[row]))[:2]
    assert tied == {**dict.fromkeys(best, True), 3: False}


def test_cuts_are_stated_in_gains(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaabb", "a")
    one, two = gains(pool, tmp_path, [1, 2, 4, -1, 3], 3).facts["groups"]
    assert (one["group"], one["items"], one["chosen"]) == ("a", 3, 2)
    assert (one["median"], one["cut"], one["margin"]) == (2, 2, 1)
    assert (two["group"], two["items"], two["chosen"], two["cut"]) == ("b", 1, 1, 3)


def test_a_run_with_a_model(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pool = pool_of(tmp_path, "aab", "a")
    asked = {"model": "builtin:tiny", "cache": tmp_path / "cache", "workers": 1}
    run = select(
        pool, method="visnec", budget="100%", output=tmp_path / "out",
        settings={"drop_negative": False}, **asked,
    )  # fmt: skip
    signal = AnswerLoss(ModelRef("builtin:tiny"), ("given", "no_image"))
    rows = np.arange(3)
    values = measure(pool, signal, rows, cache=tmp_path / "cache")
    gain = values.take("nll_no_image", rows).astype(float) - values.take("nll", rows)
    scores = pq.read_table(tmp_path / "out/scores.parquet")["score"].to_pylist()
    assert scores[:3] == pytest.approx(gain.tolist(), abs=1e-7)
    assert scores[3] is None
    mine = [row for row in run.rows.tolist() if row < 2]
    assert mine == sorted((0, 1), key=lambda row: -gain[row])
    assert run.ledger[0].items == 3, "text-only rows are not measured"


def test_clusters_of_images_can_be_the_groups(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaaa")
    gain = [6, 5, 4, 3, 2, 1]
    place = [[1, 0.01 * n] if n < 3 else [0.01 * n, 1] for n in range(6)]
    file = losses(
        tmp_path,
        nll=np.ones(6),
        nll_no_image=1.0 + np.array(gain),
        image_embedding=[list(map(float, one)) for one in place],
    )
    choice = chosen(pool, "visnec", 2, signals=file, groups="cluster:2")
    assert choice.rows.tolist() == [0, 3]
    assert {choice.group[row] for row in range(6)} == {"cluster 1", "cluster 2"}
    with pytest.raises(InputError, match="cluster:20 was expected"):
        chosen(pool, "visnec", 2, signals=file, groups="clusters")

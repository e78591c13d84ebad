"""`perplexity`: rows by the loss of their answers, from the middle, the low end or the high end."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from helpers import sources_only
from methods.choosing import chosen
from methods.handed_in import losses, pool_of
from visift.api import measure
from visift.errors import InputError
from visift.models.ref import ModelRef
from visift.run import select
from visift.signals.losses import AnswerLoss

NLL = [0.9, 0.1, 0.5, 0.3, 1.0, 0.7, 0.2, 0.8, 0.4, 0.6]
SORTED = [1, 6, 3, 8, 2, 9, 5, 7, 0, 4]


def test_the_middle_four_of_ten(tmp_path: Path) -> None:
    """N = 10, n = 4: the places 3, 4, 5, 6 of the ascending order."""
    pool, file = sources_only(tmp_path, {"a": 10}), losses(tmp_path, nll=NLL)
    choice = chosen(pool, "perplexity", 4, signals=file)
    assert sorted(choice.rows.tolist()) == sorted(SORTED[3:7])
    assert choice.rows.tolist() == [2, 9, 8, 5], "from the centre outwards"
    assert choice.score.tolist() == pytest.approx(NLL)


@pytest.mark.parametrize("n", range(1, 11))
def test_every_budget_is_the_window_in_the_middle(tmp_path: Path, n: int) -> None:
    pool, file = sources_only(tmp_path, {"a": 10}), losses(tmp_path, nll=NLL)
    start = (10 - n) // 2
    rows = chosen(pool, "perplexity", n, signals=file).rows.tolist()
    assert sorted(rows) == sorted(SORTED[start : start + n])
    assert chosen(pool, "perplexity", 10, signals=file).rows.tolist()[:n] == rows


def test_low_and_high(tmp_path: Path) -> None:
    pool, file = sources_only(tmp_path, {"a": 10}), losses(tmp_path, nll=NLL)
    low = chosen(pool, "perplexity", 4, signals=file, band="low")
    high = chosen(pool, "perplexity", 4, signals=file, band="high")
    assert low.rows.tolist() == SORTED[:4]
    assert high.rows.tolist() == SORTED[:-5:-1]
    assert (low.facts["direction"], high.facts["direction"]) == ("lowest first", "highest first")
    assert chosen(pool, "perplexity", 4, signals=file).facts["direction"] == "middle first"


def test_the_reason_gives_perplexity_and_loss(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 3})
    file = losses(tmp_path, nll=[math.log(2), math.log(4), math.log(16)])
    assert chosen(pool, "perplexity", 1, signals=file).reasons == [
        "perplexity 4 of its answers (loss 1.39), from the middle of 3 records (median 1.39)"
    ]
    said = chosen(pool, "perplexity", 1, signals=file, per_source=True, band="high").reasons[0]
    assert said == (
        "perplexity 16 of its answers (loss 2.77), from the highest of 3 a records (median 1.39)"
    )
    beyond = losses(tmp_path, nll=[1.0, 2.0, 800.0])
    said = chosen(pool, "perplexity", 1, signals=beyond, band="high").reasons[0]
    assert said.startswith("perplexity inf of its answers (loss 800), ")


def test_inside_every_source_the_window_is_its_own(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 6, "b": 3})
    file = losses(tmp_path, nll=[1, 2, 3, 4, 5, 6, 10, 20, 30])
    assert set(chosen(pool, "perplexity", 3, signals=file, per_source=True).rows) == {2, 3, 7}
    assert set(chosen(pool, "perplexity", 3, signals=file).rows) == {3, 4, 5}


def test_text_only_rows_are_scored_like_any_other(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "aa", "bb"), losses(tmp_path, nll=[4, 1, 3, 2])
    choice = chosen(pool, "perplexity", 3, signals=file, band="high")
    assert choice.rows.tolist() == [0, 2, 3]
    assert set(choice.group) == {"all"}


def test_rows_without_a_loss_are_never_ranked(tmp_path: Path) -> None:
    pool, file = sources_only(tmp_path, {"a": 5}), losses(tmp_path, nll=[1, math.nan, 2, 3, 4])
    choice = chosen(pool, "perplexity", "100%", signals=file)
    assert set(choice.rows) == {0, 2, 3, 4}
    assert choice.facts["usable"] == 4
    assert math.isnan(choice.score[1])


def test_losses_that_differ_beyond_six_digits_are_ties(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 4})
    file = losses(tmp_path, nll=[1.0000001, 1.0000002, 1.0, 2.0])
    keys = pool.tie_keys(0)
    choice = chosen(pool, "perplexity", 2, signals=file, band="low")
    assert choice.rows.tolist() == sorted(range(3), key=lambda row: int(keys[row]))[:2]
    assert choice.tied.tolist() == [True, True]
    exact = chosen(pool, "perplexity", 2, signals=file, band="low", score_digits=9)
    assert exact.rows.tolist() == [2, 0]
    assert not exact.tied.any()
    by_uid = chosen(pool, "perplexity", 2, signals=file, band="low", tie="uid")
    assert by_uid.rows.tolist() == [0, 1]


def test_the_middle_band_is_cut_on_both_sides(tmp_path: Path) -> None:
    pool, file = sources_only(tmp_path, {"a": 10}), losses(tmp_path, nll=NLL)
    (cut,) = chosen(pool, "perplexity", 4, signals=file).facts["groups"]
    assert (cut["items"], cut["chosen"], cut["cut"]) == (10, 4, 0.7)
    assert cut["margin"] == pytest.approx(0.1)
    tied = losses(tmp_path, nll=[1, 2, 2, 2, 3])
    pool = sources_only(tmp_path, {"a": 5})
    choice = chosen(pool, "perplexity", 2, signals=tied)
    assert choice.tied.all()
    (cut,) = choice.facts["groups"]
    assert cut["margin"] == 0
    (cut,) = chosen(pool, "perplexity", 5, signals=tied).facts["groups"]
    assert cut["margin"] is None


def test_records_without_a_source_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "aab."), losses(tmp_path, nll=[1, 2, 3, 4])
    with pytest.raises(InputError, match="1 records have no source"):
        chosen(pool, "perplexity", 2, signals=file, per_source=True)
    choice = chosen(pool, "perplexity", 4, signals=file, per_source=True, unlabelled="other")
    assert choice.group[3] == "other"


def test_without_a_model_it_says_what_to_hand_in(tmp_path: Path) -> None:
    sources_only(tmp_path, {"a": 4})
    with pytest.raises(InputError) as caught:
        select(tmp_path / "pool.json", method="perplexity", budget=2, output=tmp_path / "out")
    assert caught.value.fix == "Name one with --model, or hand in nll with --signals FILE."


def test_a_run_with_a_model(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pool = pool_of(tmp_path, "aaabb", "a")
    asked = {"model": "builtin:tiny", "cache": tmp_path / "cache", "workers": 1}
    run = select(pool, method="perplexity", budget=3, output=tmp_path / "out", **asked)
    signal = AnswerLoss(ModelRef("builtin:tiny"))
    nll = measure(pool, signal, cache=tmp_path / "cache").take("nll", np.arange(6))
    assert run.selection.scores["score"].to_pylist() == pytest.approx(nll.tolist())
    assert set(run.rows) == set(np.argsort(nll)[1:4])

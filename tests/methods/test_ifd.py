"""`ifd`: the share of an answer's loss that its question leaves; above 1 it misleads."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from helpers import open_records, sources_only, talk
from methods.choosing import chosen
from methods.handed_in import losses, pool_of
from visift.api import measure
from visift.errors import InfeasibleBudget, InputError
from visift.models.ref import ModelRef
from visift.run import select
from visift.signals.losses import AnswerLoss

GIVEN = [0.6, 1.0, 1.5, 0.2, 0.9]
ALONE = [1.2, 1.0, 1.0, 2.0, 1.0]  # IFD .5, 1, 1.5, .1, .9


def test_the_quotient_of_both_losses(tmp_path: Path) -> None:
    """.6 given the question over 1.2 without it is .5."""
    pool = sources_only(tmp_path, {"a": 5})
    choice = chosen(pool, "ifd", 2, signals=losses(tmp_path, nll=GIVEN, nll_answer_only=ALONE))
    assert choice.score.tolist() == pytest.approx([0.5, 1.0, 1.5, 0.1, 0.9])
    assert choice.facts["score"] == "IFD"
    assert choice.facts["direction"] == "highest first"


def test_above_one_is_dropped_and_the_highest_of_the_rest_come_first(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 5})
    file = losses(tmp_path, nll=GIVEN, nll_answer_only=ALONE)
    choice = chosen(pool, "ifd", "100%", signals=file)
    assert choice.rows.tolist() == [1, 4, 0, 3], "exactly 1 stays"
    assert [status for status in choice.status if status] == ["IFD above 1: 1.5"]
    assert choice.status[2] == "IFD above 1: 1.5"
    assert choice.facts["left_out"] == {"IFD above 1": 1}
    assert choice.facts["usable"] == 4
    assert choice.reasons[2] == (
        "IFD 0.5 (answer loss 0.6, 1.2 without question and image), "
        "among the highest of 4 records (median 0.7)"
    )


def test_the_inverse_and_other_limits(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 5})
    file = losses(tmp_path, nll=GIVEN, nll_answer_only=ALONE)
    low = chosen(pool, "ifd", 4, signals=file, order="low")
    assert low.rows.tolist() == [3, 0, 4, 1]
    assert low.facts["direction"] == "lowest first"
    assert "among the lowest of 4 records" in low.reasons[0]
    assert chosen(pool, "ifd", 5, signals=file, drop_above="none").rows.tolist() == [2, 1, 4, 0, 3]
    strict = chosen(pool, "ifd", 2, signals=file, drop_above=0.8)
    assert strict.rows.tolist() == [0, 3]
    assert strict.facts["left_out"] == {"IFD above 0.8": 3}


def test_noise_beyond_six_digits_is_not_above_one(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 2})
    file = losses(tmp_path, nll=[1.0000002, 1.00001], nll_answer_only=[1.0, 1.0])
    choice = chosen(pool, "ifd", "100%", signals=file)
    assert choice.rows.tolist() == [0]
    assert choice.status[1] == "IFD above 1: 1.00001"


def test_what_cannot_be_divided_is_left_out_with_a_status(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 4})
    file = losses(tmp_path, nll=[0.0, 0.1, 1e-7, 0.5], nll_answer_only=[0.0, 1e-6, 2e-6, 1.0])
    choice = chosen(pool, "ifd", "100%", signals=file)
    assert choice.rows.tolist() == [3, 2]
    nothing = "no IFD: the loss without question and image is not above 1e-06"
    assert choice.status[:2] == [nothing, nothing]
    assert np.isnan(choice.score[:2]).all()
    assert choice.facts["left_out"] == {"no IFD": 2}


def test_keeping_the_image_divides_by_the_loss_without_the_question_only(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 2})
    file = losses(tmp_path, nll=[0.5, 0.5], nll_answer_only=[9.0, 9.0], nll_no_question=[1.0, 2.0])
    choice = chosen(pool, "ifd", 1, signals=file, keep_image=True)
    assert choice.score.tolist() == [0.5, 0.25]
    assert choice.facts["score"] == "IRS"
    assert "1 without the question)" in choice.reasons[0]


def test_inside_every_source_shares_are_those_before_the_drop(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 6, "b": 6})
    given = [0.1, 0.2, 0.3, 1.1, 1.2, 1.3, *np.linspace(0.4, 0.9, 6)]
    file = losses(tmp_path, nll=given, nll_answer_only=[1.0] * 12)
    choice = chosen(pool, "ifd", 6, signals=file, per_source=True)
    assert sorted(choice.rows.tolist()) == [0, 1, 2, 9, 10, 11]
    assert chosen(pool, "ifd", 6, signals=file).rows.tolist() == [11, 10, 9, 8, 7, 6]
    everything = chosen(pool, "ifd", "100%", signals=file, per_source=True)
    assert len(everything.rows) == 9, "a source that has no more leaves its turns to others"


def test_a_budget_beyond_what_is_left_names_the_largest(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 5})
    file = losses(tmp_path, nll=GIVEN, nll_answer_only=ALONE)
    with pytest.raises(InfeasibleBudget) as caught:
        chosen(pool, "ifd", 5, signals=file)
    assert caught.value.what == (
        "Budget 5 is more than the 4 usable records. Left out: 1 record: IFD above 1."
    )
    assert caught.value.fix == (
        "Largest: 4 or 100%. To rank those above, too: --set drop_above=none"
    )


def test_nothing_left_is_said(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 2})
    file = losses(tmp_path, nll=[2.0, 3.0], nll_answer_only=[1.0, 0.0])
    with pytest.raises(InputError) as caught:
        chosen(pool, "ifd", 1, signals=file)
    assert caught.value.what == (
        "nothing is left to choose from (1 record: no IFD, 1 record: IFD above 1)."
    )


def test_dropped_rows_are_no_failures_of_a_run(tmp_path: Path) -> None:
    sources_only(tmp_path, {"a": 5})
    file = losses(tmp_path, nll=[*GIVEN[:4], math.nan], nll_answer_only=ALONE)
    run = select(
        tmp_path / "pool.json", method="ifd", budget=2, signals=file, max_unusable="20%",
        output=tmp_path / "out",
    )  # fmt: skip
    assert run.rows.tolist() == [1, 0]
    scores = pq.read_table(tmp_path / "out/scores.parquet").to_pylist()
    assert [row["status"] for row in scores] == [
        "selected", "selected", "IFD above 1: 1.5", "not selected",
        "set aside: no value in --signals",
    ]  # fmt: skip
    assert scores[2]["score"] == 1.5
    assert set(run.quarantine.reasons) == {4}


def test_without_a_model_it_says_what_to_hand_in(tmp_path: Path) -> None:
    sources_only(tmp_path, {"a": 4})
    for settings, columns in (
        ({}, "nll, nll_answer_only"),
        ({"keep_image": True}, "nll, nll_no_question"),
    ):
        with pytest.raises(InputError, match=f"hand in {columns} with --signals FILE"):
            select(
                tmp_path / "pool.json", method="ifd", budget=2, settings=settings,
                output=tmp_path / "out",
            )  # fmt: skip


@pytest.mark.parametrize("keep_image", [False, True])
def test_a_run_with_a_model(tmp_path: Path, keep_image: bool) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pool = pool_of(tmp_path, "aab", "a")
    asked = {"model": "builtin:tiny", "cache": tmp_path / "cache", "workers": 1}
    run = select(
        pool, method="ifd", budget=2, output=tmp_path / "out",
        settings={"drop_above": None, "keep_image": keep_image}, **asked,
    )  # fmt: skip
    without = "no_question" if keep_image else "answer_only"
    signal = AnswerLoss(ModelRef("builtin:tiny"), ("given", without))  # type: ignore[arg-type]
    values = measure(pool, signal, cache=tmp_path / "cache")
    given, alone = (values.take(n, np.arange(4)).astype(float) for n in ("nll", f"nll_{without}"))
    assert run.selection.scores["score"].to_pylist() == pytest.approx((given / alone).tolist())
    assert set(run.rows) == set(np.argsort(given / alone)[2:])


def test_a_record_without_an_answer_is_set_aside(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    silent = {"conversations": [{"from": "human", "value": "anybody?"}]}
    pool = open_records(tmp_path, [talk("a"), talk("b"), silent])
    run = select(
        pool, method="ifd", budget=1, output=tmp_path / "out", model="builtin:tiny", workers=1,
        cache=tmp_path / "cache", settings={"drop_above": None}, max_unusable="50%",
    )  # fmt: skip
    assert run.quarantine.reasons == {2: "no answer tokens"}

"""Where a budget curve meets its control."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validate.verdicts import validated
from visift.validate.meeting import Curve, Meeting, Point, curves
from visift.validate.verdict import Word
from visift.validate.writing import facts, page

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "validate.schema.json"
WIDE = (-0.2, 0.2)


def curve(*leads: float, words: Sequence[Word | None] = ()) -> Curve:
    """Return a curve at 100, 200, … records: 1%, 2% and so on."""
    told = words or [None] * len(leads)
    points = tuple(
        Point(f"{n}%", 100 * n, lead, WIDE, word)
        for n, (lead, word) in enumerate(zip(leads, told, strict=True), 1)
    )
    return Curve("prism", "stratified", points)


@pytest.mark.parametrize(
    ("leads", "sentence"),
    [
        ((0.02, 0.01), "prism stays ahead of stratified at all 2 budgets"),
        ((-0.02, -0.01, -0.01), "prism stays behind stratified at all 3 budgets"),
        (
            (0.03, -0.01),
            "prism meets stratified at about 175 records (between 1% and 2%): ahead at 1%, behind "
            "at 2%",
        ),
        (
            (-0.01, 0.01, 0.02, -0.02),
            "prism meets stratified at about 150 records (between 1% and 2%) and at about 350 "
            "records (between 3% and 4%): ahead at 2% and 3%, behind at 1% and 4%",
        ),
        ((0.02, 0.0), "prism meets stratified at 200 records (2%): ahead at 1%, level at 2%"),
        ((0.0, 0.02), "prism meets stratified at 100 records (1%): ahead at 2%, level at 1%"),
    ],
)
def test_a_sentence_says_where_the_lead_changes(leads: tuple[float, ...], sentence: str) -> None:
    assert curve(*leads).sentence == f"{sentence}."


def test_a_sentence_repeats_the_verdicts_and_claims_no_more() -> None:
    words: list[Word] = ["better", "better", "no evidence", "no evidence"]
    found = curve(0.05, 0.04, 0.01, -0.01, words=words).sentence
    assert found.endswith("behind at 4%. Verdicts: better at 1% and 2%, no evidence at 3% and 4%.")


@given(st.lists(st.sampled_from([-0.03, -0.01, 0.0, 0.01, 0.02]), min_size=2, max_size=8))
def test_there_is_a_meeting_for_every_change_of_sides(leads: list[float]) -> None:
    found = curve(*leads).meetings
    sides = [lead > 0 for lead in leads if lead]
    changes = sum(one != other for one, other in pairwise(sides))
    assert len(found) >= changes
    assert [one.records for one in found] == sorted(one.records for one in found)
    for one in found:
        before, after = (int(budget.rstrip("%")) for budget in (one.before, one.after))
        assert 100 * before <= one.records <= 100 * after
        assert (before == after) == (leads[before - 1] == 0)


def test_every_arm_of_several_budgets_has_a_curve(tmp_path: Path) -> None:
    behind = validated(tmp_path / "a", {"balanced": -0.3}, budgets=("12", "24"), rounds=2)
    ahead = validated(tmp_path / "b", {"balanced": 0.3}, budgets=("12", "24"), rounds=2)
    # Asked for in any order, told by size.
    done = replace(behind, judged=(ahead.judged[1], behind.judged[0]))
    by_arm = {one.arm: one for one in curves(done.judged)}
    assert set(by_arm) == {"balanced", "random", "source-balanced", "longest"}
    found = by_arm["balanced"]
    assert [(one.budget, one.records) for one in found.points] == [("12", 12), ("24", 24)]
    assert found.judged
    assert not by_arm["random"].judged
    (met,) = found.meetings
    assert isinstance(met, Meeting)
    assert (met.before, met.after) == ("12", "24")
    assert 12 < met.records < 24
    assert found.sentence.endswith("Verdicts: better at 24, worse at 12.")
    assert by_arm["random"].sentence.count("Verdicts") == 0
    assert f"\n## From budget to budget\n\n- {found.sentence}\n" in page(done)
    said = json.loads(json.dumps(facts(done), allow_nan=False))
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    assert said["curves"][0]["meets"] == [{"records": met.records, "between": ["12", "24"]}]


def test_one_budget_has_no_curve(tmp_path: Path) -> None:
    done = validated(tmp_path, {"balanced": 0.3})
    assert curves(done.judged) == []
    assert "From budget to budget" not in page(done)

"""What replies mean: ratings read strictly and as the official code does, labels of styles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.annotate.capabilities import STYLES
from visift.signals.rating_replies import OTHER, labels_of, official_rating, rating


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("4.0", 4),
        ("Score: 4", 4),
        ("4/5", 4),
        ("I rate it 4.", 4),
        ("Rating: 5 out of 5", 5),
        ("0", 0),
        ("0-5: 4", 4),
        ("Score (0-5): 3", 3),
        ("0 to 5: 2", 2),
        ("On a scale from 0 to 5, I say 1", 1),
        ("4 (0-5)", 4),
        ("6/5", 5),
        ("4-5", 4),
        ("0\u22125: 3", 3),
    ],
)
def test_u9_the_first_number_in_range_is_the_rating(text: str, value: float) -> None:
    assert rating(text) == value


@pytest.mark.parametrize(
    "text", ["10", "7", "-1", "\u22121", "4.7", "0.5", "05", "five", "", "0-5"]
)
def test_u9_no_rating_is_read_out_of_another_number(text: str) -> None:
    assert math.isnan(rating(text))


@given(st.text())
def test_a_rating_is_in_range_or_missing(text: str) -> None:
    assert rating(text) in range(6) or math.isnan(rating(text))


@pytest.mark.parametrize(
    ("text", "value"), [("4", 4), (" 4\n", 4), ("7", 7), ("-1", -1), ("12345", 12345)]
)
def test_officially_any_integer_counts(text: str, value: float) -> None:
    assert official_rating(text) == value


@pytest.mark.parametrize("text", ["4.0", "Score: 4", "4/5", "", "nan", "9" * 400, "9" * 9999])
def test_officially_nothing_else_counts(text: str) -> None:
    assert math.isnan(official_rating(text))


# --- styles --------------------------------------------------------------------------------------


def test_u10_repeated_labels_count_once_in_order() -> None:
    text = "yes/no, word/short-phrase, yes/no"
    assert labels_of(text, STYLES) == ("yes/no", "word/short-phrase")
    assert labels_of(text, None) == ("yes/no", "word/short-phrase")


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("Multi choice", "multi-choice"),
        ("multiple-choice", "multi-choice"),
        ("Yes or no", "yes/no"),
        ("YES/NO.", "yes/no"),
        ("chain-of-thought", "chain-of-thought (step-by-step)"),
        ("Step by step", "chain-of-thought (step-by-step)"),
        ("[detailed descriptions]", "detailed description"),
        ("word", "word/short-phrase"),
        ("a poem", OTHER),
        ("short", OTHER),
        ("说明", OTHER),
    ],
)
def test_a_label_becomes_the_nearest_that_is_allowed(said: str, label: str) -> None:
    assert labels_of(said, STYLES) == (label,)


@pytest.mark.parametrize("label", STYLES)
def test_allowed_labels_stay(label: str) -> None:
    assert labels_of(label, STYLES) == (label,)


def test_labels_without_a_vocabulary_stay_as_said() -> None:
    assert labels_of("A poem, [x] ,, A poem,b", None) == ("A poem", "[x]", "b")


@pytest.mark.parametrize("text", ["", " , ", "[]", "."])
def test_nothing_said_is_no_label(text: str) -> None:
    assert labels_of(text, STYLES) == ()

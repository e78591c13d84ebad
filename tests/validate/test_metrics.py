"""Scores of answers, against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.validate.metrics import (
    METRICS,
    anls,
    box_overlap,
    boxes_in,
    edit_distance,
    exact_match,
    intersection_over_union,
    majority_scores,
    metric_for,
    normalised,
    token_f1,
)

texts = st.text("abc AÄ.,[]()0123456789-−+#", max_size=12)


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("The Red circle.", "red circle", 1),
        ("(B)", "b", 1),
        ("A", "a", 1),
        ("1,000", "1000", 1),
        ("yes, it is", "yes", 0),
        ("3.5", "35", 0),
        ("-5", "5", 0),
        ("", "no", 0),
        ("ﬁve", "five", 1),
        (".5", "5", 0),
        (".5", "0.5", 1),
        ("-.5", "(-0.5)", 1),
        ("...5", "5", 1),
        ("C++", "c", 0),
        ("C#.", "c#", 1),
        ("+5", "5", 1),
        ("−5", "-5", 1),
        ("−5", "5", 0),
    ],
)
def test_exact_match(answer: str, truth: str, score: float) -> None:
    assert exact_match(answer, truth) == score


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_edit_distance(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == distance


@given(texts, texts)
def test_edit_distance_is_that_of_the_definition(a: str, b: str) -> None:
    def by_definition(i: int, j: int, known: dict[tuple[int, int], int]) -> int:
        if min(i, j) == 0:
            return i + j
        if (i, j) not in known:
            known[i, j] = min(
                by_definition(i - 1, j, known) + 1,
                by_definition(i, j - 1, known) + 1,
                by_definition(i - 1, j - 1, known) + (a[i - 1] != b[j - 1]),
            )
        return known[i, j]

    assert edit_distance(a, b) == by_definition(len(a), len(b), {})


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("Total  48.00", "total 48.00", 1),
        ("48.00", "48.08", 0.8),
        ("abcd", "abxy", 0.5),
        ("abcd", "axyz", 0),
        ("", "", 1),
        ("", "a", 0),
    ],
)
def test_anls(answer: str, truth: str, score: float) -> None:
    assert anls(answer, truth) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("a red circle", "the red square", 0.5),
        ("red red", "red", 2 / 3),
        ("blue", "red", 0),
        ("", "red", 0),
        ("", "", 1),
    ],
)
def test_token_f1(answer: str, truth: str, score: float) -> None:
    assert token_f1(answer, truth) == pytest.approx(score)


@pytest.mark.parametrize(
    "text",
    [
        "[0.1, 0.2, 0.3, 0.4]",
        "It is at <box>[[0.1, 0.2, 0.3, 0.4]]</box>.",
        '{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "label": "cell"}',
        "(0.1,0.2),(0.3,0.4)",
        "[0.3, 0.4, 0.1, 0.2]",
    ],
)
def test_boxes_in_any_way_of_writing(text: str) -> None:
    assert boxes_in(text) == ((0.1, 0.2, 0.3, 0.4),)


def test_overlap_of_two_boxes() -> None:
    assert intersection_over_union((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert intersection_over_union((0, 0, 1, 1), (1, 1, 2, 2)) == 0
    assert intersection_over_union((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_boxes_are_matched_one_to_one() -> None:
    truth = "[0, 0, 2, 2] and [4, 4, 6, 6]"
    assert box_overlap("[4, 4, 6, 6] [1, 0, 3, 2]", truth) == pytest.approx((1 + 1 / 3) / 2)
    assert box_overlap("[0, 0, 2, 2]", truth) == pytest.approx(1 / 2)
    assert box_overlap("[0, 0, 2, 2]" * 4, truth) == pytest.approx(1 / 4)
    assert box_overlap("no idea", truth) == 0


@given(st.sampled_from(sorted(METRICS)), texts, texts)
def test_scores_are_from_0_to_1_and_the_truth_is_right(name: str, a: str, b: str) -> None:
    assert 0 <= METRICS[name](a, b) <= 1
    if name != "box overlap":
        assert METRICS[name](a, a) == 1


@given(texts)
def test_what_is_normalised_stays(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("task", "answers", "name"),
    [
        ("grounding", ["[0.1, 0.2, 0.3, 0.4]"] * 9 + ["nothing"], "box overlap"),
        ("receipt_ocr", ["LOT 7, JALAN BUNGA, 47000 SHAH ALAM"], "ANLS"),
        ("TextVQA_val", ["stop"], "ANLS"),
        ("caption", ["Two black squares and one yellow circle.", "A cat."] * 2, "exact match"),
        ("caption", ["Two black squares and one yellow circle."], "token F1"),
        ("OCR-VQA", ["stop"], "ANLS"),
        ("ocrbench_v2", ["stop"], "ANLS"),
        ("InvoiceOCR", ["stop"], "ANLS"),
        ("st_vqa", ["stop"], "ANLS"),
        ("mediocre questions", ["stop"], "exact match"),
        ("testvqa", ["stop"], "exact match"),
        ("count", ["3", "7"], "exact match"),
        ("unknown", [], "exact match"),
    ],
)
def test_the_metric_that_fits_a_task(task: str, answers: list[str], name: str) -> None:
    assert metric_for(task, answers) == name


def test_always_giving_the_commonest_answer() -> None:
    assert majority_scores("exact match", ["yes", "no", "Yes.", "no", "yes"]) == [1, 0, 1, 0, 1]
    assert majority_scores("exact match", ["b", "a"]) == [1, 0]
    assert majority_scores("exact match", []) == []

"""One table of scores: every arm on the same questions, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visift.errors import InputError
from visift.validate.results import COLUMNS, Results


def columns(*rows: tuple[Any, ...]) -> dict[str, list[Any]]:
    return {
        name: list(values) for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    }


ROWS = (
    ("random", 0, 1, "count", "b.png", "q2", 0.25),
    ("random", 0, 1, "colour", "a.png", "q1", 1.0),
    ("prism", 0, 1, "colour", "a.png", "q1", 0.5),
    ("prism", 0, 1, "count", "b.png", "q2", 1.0),
)


def test_answers_are_put_together_by_question_whatever_their_order() -> None:
    results = Results.from_columns(**columns(*ROWS))
    assert results.questions == ("q2", "q1")
    assert results.tasks == ("count", "colour")
    assert results.groups == ("b.png", "a.png")
    assert results.arm_names == ("random", "prism")
    assert results.task_names == ("colour", "count")
    assert results.scores.tolist() == [[0.25, 1.0], [1.0, 0.5]]
    assert results.of_arm("prism").tolist() == [1]
    assert results.missing() == {}


def test_a_missing_reply_scores_nothing_and_is_counted() -> None:
    rows = [*ROWS, ("prism", 0, 2, "colour", "a.png", "q1", None)]  # and q2 is not there at all
    results = Results.from_columns(**columns(*rows))
    assert results.scores.tolist() == [[0.25, 1.0], [1.0, 0.5], [0.0, 0.0]]
    assert results.answered.tolist() == [[True, True], [True, True], [False, False]]
    assert results.missing() == {"prism": 2}


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    rows = [*ROWS, ("prism", 3, 2, "colour", "a.png", "q1", None)]
    results = Results.from_columns(**columns(*rows))
    results.save(tmp_path / "results.parquet")
    read = Results.load(tmp_path / "results.parquet")
    assert read.table().equals(results.table())
    assert read.table().column_names == list(COLUMNS)
    assert read.table()["score"].null_count == 2
    assert np.array_equal(read.scores, results.scores)
    assert np.array_equal(read.answered, results.answered)


def test_questions_of_some_tasks() -> None:
    results = Results.from_columns(**columns(*ROWS)).only(["colour"])
    assert results.questions == ("q1",)
    assert results.scores.tolist() == [[1.0], [0.5]]
    with pytest.raises(InputError, match="no question is left"):
        results.only(["count"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:3], 'arm "prism" lacks 1 of 2 questions that others answered (first: "q2").'),
        (
            (*ROWS, ROWS[0]),
            'question "q2" stands twice in arm "random" (selection seed 0, training seed 1).',
        ),
        (
            (*ROWS, ("prism", 0, 2, "count", "b.png", "q1", 1.0)),
            'question "q1" has two tasks, "colour" and "count".',
        ),
        (
            (*ROWS, ("prism", 0, 2, "colour", "b.png", "q1", 1.0)),
            'question "q1" has two groups, "a.png" and "b.png".',
        ),
        (
            (("prism", 0, 1, "colour", "a.png", "q1", 50.0),),
            '50 is no score: question "q1" of arm "prism" (selection seed 0, training seed 1).',
        ),
    ],
)
def test_what_does_not_fit_together_is_named(rows: Any, said: str) -> None:
    with pytest.raises(InputError) as told:
        Results.from_columns(**columns(*rows))
    assert told.value.what == said


def test_an_arm_that_is_not_there() -> None:
    with pytest.raises(InputError, match="Arms: random, prism"):
        Results.from_columns(**columns(*ROWS)).of_arm("full")


def test_a_file_that_holds_no_results(tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no results"):
        Results.load(tmp_path / "results.parquet")

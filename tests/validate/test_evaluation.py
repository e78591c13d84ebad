"""The answer sheet: which questions there are, and how right answers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import open_records, talk
from visift.signals.texts import decoded, encoded
from visift.validate.evaluation import Evaluation, Sheet
from visift.validate.splitting import Questions


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    two = talk("how many?", "2", task="count")
    two["conversations"] += talk("and now?", "3")["conversations"]
    records = [talk("what?", "red", task="colour"), two, talk("what?", "red", task="colour")]
    pool = open_records(tmp_path, records)
    return Sheet.of(Questions.of(pool, np.arange(3)), turns=4)


def given(*answers: list[str]) -> np.ndarray:
    out = np.zeros((len(answers), 4, 16), np.uint8)
    for record, some in enumerate(answers):
        out[record, : len(some)] = encoded(some, 16)
    return out


def test_every_answer_of_a_record_is_a_question(sheet: Sheet) -> None:
    assert sheet.questions == (
        "pool.json#0",
        "pool.json#1, answer 1",
        "pool.json#1, answer 2",
        "pool.json#2",
    )
    assert sheet.tasks == ("colour", "count", "count", "colour")
    assert sheet.truths == ("red", "2", "3", "red")
    # The first and the last record say the same, and show no image.
    assert sheet.groups[0] == sheet.groups[3] != sheet.groups[1] == sheet.groups[2]


def test_answers_are_scored_by_the_metric_of_their_task(sheet: Sheet) -> None:
    answers = given(["Red."], ["2", "2"], ["blue"])
    assert sheet.metrics == {"colour": "exact match", "count": "exact match"}
    assert sheet.said(answers) == ["Red.", "2", "2", "blue"]
    assert sheet.scores(answers).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_the_commonest_answer_of_a_task_scores_what_it_scores(sheet: Sheet) -> None:
    assert sheet.majority().tolist() == [1.0, 1.0, 0.0, 1.0]


def test_later_answers_are_not_asked_for(tmp_path: Path) -> None:
    record = talk("one?", "1")
    for _ in range(5):
        record["conversations"] += talk("next?", "2")["conversations"]
    pool = open_records(tmp_path, [record])
    sheet = Sheet.of(Questions.of(pool, np.arange(1)), turns=3)
    assert sheet.questions[-1] == "pool.json#0, answer 3"


@pytest.mark.parametrize("text", ["", "red", "rouge é", "a\0b", "猫" * 9])
def test_texts_survive_as_bytes(text: str) -> None:
    plain = text.replace("\0", "")
    assert decoded(encoded([text], 16)) == [plain if len(plain.encode()) <= 16 else "猫" * 5]


def test_what_is_asked_follows_from_the_evaluation() -> None:
    signal = Evaluation(turns=2, new_tokens=8, max_tokens=99).answers(None)
    assert signal.columns[0].shape == (2, 48)
    assert Evaluation(max_tokens=99).loss(None).max_tokens == 99

"""What a teacher that knows the demo says about its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from helpers import talk
from visift.annotate.capabilities import CAPABILITIES, STYLES
from visift.demo.generator import write_demo_pool
from visift.demo.ratings import demo_ratings, rate


def record(task: str, *turns: tuple[str, str]) -> dict[str, Any]:
    (question, answer), *rest = turns
    said = talk(f"<image>\n{question}", answer, task=task)
    for more in rest:
        said["conversations"] += talk(*more)["conversations"]
    return said


@pytest.mark.parametrize(
    ("task", "turn", "scores", "style"),
    [
        (
            "attribute",
            ("What colour is the shape at the top?", "red"),
            {"attribute_identification": 4, "object_spatial_understanding": 3},
            "word/short-phrase",
        ),
        (
            "count",
            ("How many shapes are there?", "6"),
            {"attribute_identification": 5, "scene_understanding": 1},
            "word/short-phrase",
        ),
        ("digit", ("Read the digit.", "7"), {"optical_character_recognition": 5}, None),
        (
            "caption",
            ("Describe the picture.", "A red ring at the top, a cyan cross and a blue circle."),
            {
                "language_generation": 4,
                "scene_understanding": 4,
                "object_spatial_understanding": 3,
                "attribute_identification": 2,
            },
            "detailed description",
        ),
        (
            "caption",
            ("Describe the picture.", "Black and white stripes."),
            {
                "language_generation": 2,
                "scene_understanding": 2,
                "object_spatial_understanding": 3,
                "attribute_identification": 2,
            },
            "short description",
        ),
        ("count", ("Count the shapes.", "unclear"), {}, "word/short-phrase"),
        ("count", ("Count the shapes.", "It is a picture."), {}, "short description"),
        (
            "chat",
            ("Sort these numbers: 3, 1.", "1, 3."),
            {"in_context_learning": 3, "logical_deduction": 3},
            "specified style",
        ),
    ],
)
def test_a_record_is_rated_by_what_it_was_made_to_ask(
    task: str, turn: tuple[str, str], scores: dict[str, int], style: str | None
) -> None:
    rating = rate(record(task, turn))
    assert {key: score for key, score in rating.scores.items() if score} == scores
    assert rating.styles == (style or "word/short-phrase",)


def test_a_conversation_has_what_its_turns_have() -> None:
    turns = (("Is there a red ring?", "no"), ("Where is it?", "top"), ("Count the shapes.", "2"))
    rating = rate(record("conversation", *turns))
    assert rating.scores["object_spatial_understanding"] == 5
    assert rating.scores["in_context_learning"] == 3
    assert rating.styles == ("word/short-phrase", "yes/no")


def test_every_record_has_a_rating_and_a_wrong_one_a_low_one(tmp_path: Path) -> None:
    write_demo_pool(tmp_path, records=200)
    ratings = demo_ratings(tmp_path)
    assert len(ratings) == 200
    for rating in ratings:
        assert tuple(rating.scores) == CAPABILITIES
        assert set(rating.scores.values()) <= set(range(6))
        assert rating.styles
        assert set(rating.styles) <= set(STYLES)
    planted = pq.read_table(tmp_path / "planted.parquet").to_pylist()
    wrong = [row["row"] for row in planted if row["kind"] == "wrong-answer"]
    assert wrong
    assert all(max(ratings[row].scores.values()) == 1 for row in wrong)
    best = {key: max(rating.scores[key] for rating in ratings) for key in CAPABILITIES}
    assert [key for key in CAPABILITIES if not best[key]] == [
        "activity_recognition",
        "causal_reasoning",
        "humanities",
        "data_understanding",
    ]

"""Agreement of a model's own answers: the measure, and greedy generation on every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from visift.signals.own_answers import agreement

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.families import FAMILIES  # noqa: E402
from models.pictures import pictures  # noqa: E402
from visift.models.asking import own_answers, questions  # noqa: E402
from visift.models.batch import Collator, Conversation  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Turn  # noqa: E402


@pytest.mark.parametrize(
    ("given", "expected", "share"),
    [
        ("A red circle.", "the RED circle", 1.0),
        ("red", "red circle", 2 / 3),
        ("blue", "red", 0.0),
        ("", "red", 0.0),
        ("the", "A.", 1.0),
        ("two two", "two", 2 / 3),
    ],
)
def test_agreement_is_token_f1(given: str, expected: str, share: float) -> None:
    assert agreement(given, expected) == pytest.approx(share)


def talk(*said: str, images: int = 0) -> Conversation:
    turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(said))
    return Conversation(turns, tuple(pictures()[:images]))


TALKS = [
    talk("<image>\nWhat is it?", "A cat.", "Its colour?", "Black", images=1),
    talk("Say hello.", "Hello!"),
    talk("<image>\nFirst?", "Yes.", "<image>\nAnd the second one?", "No.", images=2),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_in_a_batch_are_those_of_single_questions(
    family: str, tiny_model: Callable[[str], Path]
) -> None:
    vlm = VLM.load(ModelRef(str(tiny_model(family))), "cpu")
    collate = Collator.of(vlm)
    asked = [question for one in TALKS for question in questions(collate, one)]
    # Without a template of its own a model is shown all images first.
    third = 1 if vlm.processor.chat_template else 2
    assert [len(one.images) for one in asked] == [1, 1, 0, third, 2]
    together = own_answers(vlm, collate, asked, 4)
    assert together == [own_answers(vlm, collate, [one], 4)[0] for one in asked]
    assert vlm.processor.tokenizer.padding_side == "right"

"""Styles as a model names them: greedy replies, stored as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.saying import saying  # noqa: E402
from signals.test_losses import ITEMS, conversation, item  # noqa: E402
from visift.annotate.capabilities import STYLES  # noqa: E402
from visift.errors import InputError  # noqa: E402
from visift.models.batch import Collator  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.replies import replied  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.signals.cost import Load  # noqa: E402
from visift.signals.losses import NO_ANSWER  # noqa: E402
from visift.signals.rating_prompts import STYLE_QUERY, style_query  # noqa: E402
from visift.signals.ratings import shown  # noqa: E402
from visift.signals.signal import identity  # noqa: E402
from visift.signals.styles import InteractionStyles  # noqa: E402
from visift.signals.texts import decoded  # noqa: E402

LABELS = ("yes/no", "word/short-phrase")
SAID = ["yes/no", "no, é木", ""]


@pytest.fixture(scope="module")
def ref(tiny_model: Callable[[str], Path]) -> ModelRef:
    return ModelRef(str(tiny_model("llava")), dtype="float32")


@pytest.fixture(scope="module")
def vlm(ref: ModelRef) -> VLM:
    return VLM.load(ref, "cpu")


def test_replies_are_stored_as_they_were_said(
    ref: ModelRef, vlm: VLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VLM, "load", lambda *_, **__: vlm)
    signal, query = InteractionStyles(ref, LABELS), style_query(STYLE_QUERY, LABELS)
    talks = [shown(conversation(one), query) for one in ITEMS[:3]]
    said = [replied(one, text) for one, text in zip(talks, SAID, strict=True)]
    silent = item("<image>\nAnyone?", images=1)
    long = item("Tell all.", "word " * 500)
    with saying(vlm, Collator.of(vlm), said):
        found = signal.open("cpu")([*ITEMS[:2], silent, long, ITEMS[2]])
        cut = replace(signal, new_tokens=3).open("cpu")(ITEMS[:1])
    assert list(found.reasons) == [
        None,
        None,
        NO_ANSWER,
        "it and what is asked about it take more than 2,048 tokens",
        None,
    ]
    assert found.columns["styles"].shape == (5, 256)
    assert decoded(found.columns["styles"]) == [*SAID[:2], "", "", SAID[2]]
    assert decoded(cut.columns["styles"]) == ["ye"]


def test_every_field_is_part_of_the_identity(ref: ModelRef) -> None:
    base = InteractionStyles(ref, LABELS)
    changes: list[dict[str, Any]] = [
        {},
        {"styles": LABELS[:1]},
        {"query": "{styles}?"},
        {"new_tokens": 9},
        {"max_tokens": 9},
        {"batch_tokens": 9},
    ]
    assert len({str(identity(replace(base, **change))) for change in changes}) == len(changes)


def test_a_query_without_candidates_is_refused() -> None:
    with pytest.raises(InputError, match="does not say where"):
        InteractionStyles(None, LABELS, query="Which style?")


def test_a_record_and_the_candidates_are_read_once(ref: ModelRef) -> None:
    load = Load(items=10, text_tokens=400, images=8)
    query = len(style_query(STYLE_QUERY, STYLES)) // 4
    found = InteractionStyles(ref, STYLES).cost(load)
    assert (found.forwards_full, found.tokens) == (10, 8 * 16 + 400 + 10 * query)

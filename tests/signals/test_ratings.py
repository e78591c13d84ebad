"""Ratings of records: what greedy generation says, and the probabilities of the digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from helpers import open_records, png  # noqa: E402
from helpers import talk as raw_talk  # noqa: E402
from models.saying import saying  # noqa: E402
from signals.test_losses import ITEMS, conversation, item  # noqa: E402
from visift.annotate.capabilities import CAPABILITIES  # noqa: E402
from visift.engine.lab import Examples, LocalLab  # noqa: E402
from visift.errors import InputError  # noqa: E402
from visift.models.batch import Collator  # noqa: E402
from visift.models.ref import BUILTIN_TINY, ModelRef  # noqa: E402
from visift.models.replies import replied  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.signals.batching import NOT_FINITE, ItemsAtFault  # noqa: E402
from visift.signals.cost import Load  # noqa: E402
from visift.signals.losses import NO_ANSWER  # noqa: E402
from visift.signals.rating_prompts import QUERY, rating_query  # noqa: E402
from visift.signals.ratings import CapabilityRatings, Rater, shown  # noqa: E402
from visift.signals.signal import RecordItem, Values, identity  # noqa: E402

KEYS = ("humanities", "stem_knowledge", "scene_understanding")
TALKS = [conversation(one) for one in ITEMS[:3]]
NAN = float("nan")

#: What a scorer is made to reply, three capabilities and three records, and what that means.
SAID = (("3", "5", "0"), ("4.", "1", "x"), ("2", "-1", "12"))
SCORES = [[3, 5, 0], [4, 1, NAN], [2, NAN, NAN]]
OFFICIAL = [[3, 5, 0], [NAN, 1, NAN], [2, -1, 12]]


@pytest.fixture(scope="module")
def ref(tiny_model: Callable[[str], Path]) -> ModelRef:
    return ModelRef(str(tiny_model("llava")), dtype="float32")


@pytest.fixture(scope="module")
def vlm(ref: ModelRef) -> VLM:
    return VLM.load(ref, "cpu")


@pytest.fixture(scope="module")
def opened(ref: ModelRef, vlm: VLM) -> Rater:
    return Rater.of(CapabilityRatings(ref, KEYS), vlm, Collator.of(vlm))


@pytest.fixture
def rater(opened: Rater, monkeypatch: pytest.MonkeyPatch) -> Rater:
    """A rater that every signal opens, whatever else it asks."""
    keep = classmethod(lambda _, signal, *__: replace(opened, signal=signal))
    monkeypatch.setattr(Rater, "of", keep)
    return opened


def stacked(columns: dict[str, Any], name: str) -> np.ndarray:
    return np.stack([columns[f"{name}.{key}"] for key in KEYS])


def rated(rater: Rater) -> dict[str, Any]:
    """Rate with a scorer that says what is in `SAID`."""
    talks = [
        replied(shown(one, rating_query(QUERY, key)), text)
        for key, texts in zip(KEYS, SAID, strict=True)
        for one, text in zip(TALKS, texts, strict=True)
    ]
    with saying(rater.vlm, rater.collate, talks):
        return rater.values(TALKS)


# --- values --------------------------------------------------------------------------------------


def test_a_rating_is_what_the_scorer_replies(rater: Rater) -> None:
    np.testing.assert_array_equal(stacked(rated(rater), "score"), SCORES)


def test_officially_integers_of_any_size_count(rater: Rater) -> None:
    official = replace(rater, signal=replace(rater.signal, official=True))
    np.testing.assert_array_equal(stacked(rated(official), "score"), OFFICIAL)


def test_probabilities_of_the_six_digits_sum_to_one(rater: Rater) -> None:
    found = rated(rater)
    likely = stacked(found, "p")
    assert likely.shape == (3, 3, 6)
    np.testing.assert_allclose(likely.sum(axis=2), 1, rtol=1e-5)
    clear = likely.max(axis=2) > 0.9
    assert clear.sum() >= 5
    assert likely.argmax(axis=2)[clear].tolist() == [3, 5, 0, 4, 1, 2, 1][: clear.sum()]


def test_digits_of_several_tokens_are_generated_and_weighed_as_whole_replies(
    rater: Rater,
) -> None:
    whole = rated(replace(rater, reader=None))
    np.testing.assert_array_equal(stacked(whole, "score"), SCORES)
    likely = stacked(whole, "p")
    np.testing.assert_allclose(likely.sum(axis=2), 1, rtol=1e-5)
    assert likely.argmax(axis=2)[0].tolist() == [3, 5, 0]


def test_a_model_that_gives_no_numbers_is_no_value(
    rater: Rater, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = np.zeros((3, 3, 6), np.float32)
    logs[1, 2, 4] = NAN
    greedy = np.zeros((3, 3), np.int64)
    monkeypatch.setattr(Rater, "_read", lambda *_: (logs, greedy))
    with pytest.raises(ItemsAtFault) as caught:
        rater.values(TALKS)
    assert {row: error.what for row, error in caught.value.errors.items()} == {2: NOT_FINITE}


# --- records -------------------------------------------------------------------------------------


def measure(signal: CapabilityRatings, items: list[RecordItem]) -> Values:
    return signal.open("cpu")(items)


@pytest.mark.usefixtures("rater")
def test_batches_and_other_capabilities_change_nothing_but_last_bits(
    ref: ModelRef,
) -> None:
    signal = CapabilityRatings(ref, KEYS[:2], new_tokens=1)
    found = measure(signal, ITEMS[:3])
    assert list(found.reasons) == [None] * 3
    single = measure(replace(signal, batch_tokens=1), ITEMS[:3])
    alone = measure(replace(signal, capabilities=KEYS[1:2]), ITEMS[:3])
    for name in single.columns:
        np.testing.assert_allclose(single.columns[name], found.columns[name], atol=1e-3)
    for name in alone.columns:
        np.testing.assert_allclose(alone.columns[name], found.columns[name], atol=1e-3)


@pytest.mark.usefixtures("rater")
def test_records_without_a_value_have_a_reason_and_harm_no_other(
    ref: ModelRef,
) -> None:
    silent = item("<image>\nAnyone?", images=1)
    long = item("Tell all.", "word " * 400)
    signal = CapabilityRatings(ref, KEYS[:1], new_tokens=2, max_tokens=900)
    found = measure(signal, [silent, ITEMS[0], long, ITEMS[1]])
    assert list(found.reasons) == [
        NO_ANSWER,
        None,
        "it and what is asked about it take more than 900 tokens",
        None,
    ]
    alone = measure(signal, [ITEMS[0], ITEMS[1]])
    for name, column in found.columns.items():
        np.testing.assert_allclose(column[1::2], alone.columns[name], atol=1e-3)


# --- identity, cost, a whole pool ----------------------------------------------------------------


def test_columns_are_ratings_that_may_be_missing_and_probabilities_beside() -> None:
    columns = CapabilityRatings(None, KEYS[:2]).columns
    assert [(one.name, one.dtype, one.shape, one.extra, one.missing) for one in columns] == [
        ("score.humanities", "float32", (), False, True),
        ("score.stem_knowledge", "float32", (), False, True),
        ("p.humanities", "float16", (6,), True, True),
        ("p.stem_knowledge", "float16", (6,), True, True),
    ]


def test_every_field_is_part_of_the_identity(ref: ModelRef) -> None:
    base = CapabilityRatings(ref, KEYS)
    changes: list[dict[str, Any]] = [
        {},
        {"capabilities": KEYS[:1]},
        {"query": "{capability}?"},
        {"official": True},
        {"max_tokens": 9},
        {"new_tokens": 9},
        {"batch_tokens": 9},
    ]
    assert len({str(identity(replace(base, **change))) for change in changes}) == len(changes)


def test_a_query_without_a_capability_is_refused() -> None:
    with pytest.raises(InputError, match="does not say where"):
        CapabilityRatings(None, KEYS, query="How good is it?")


def test_what_capabilities_share_costs_once(ref: ModelRef) -> None:
    load = Load(items=10, text_tokens=400, images=8)
    one, all_of_them = (
        CapabilityRatings(ref, keys).cost(load) for keys in (CAPABILITIES[:1], CAPABILITIES)
    )
    assert one.forwards_full == all_of_them.forwards_full == 10
    assert one.tokens is not None
    assert all_of_them.tokens == one.tokens + 10 * 13 * 16
    assert CapabilityRatings(None, KEYS).cost(load).tokens is None


def test_a_whole_pool(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1, (80, 60)))
    records = [
        raw_talk("<image>\nWhat?", "That.", image="a.png"),
        raw_talk("Say something.", "Something."),
        {"conversations": [{"from": "human", "value": "Anyone?"}]},
    ]
    pool = open_records(tmp_path, records, image_folder=tmp_path / "images")
    lab = LocalLab(pool, tmp_path / "cache", lambda: ["cpu"])
    rows = np.arange(len(pool))
    found = lab.measure(
        CapabilityRatings(ModelRef(BUILTIN_TINY), KEYS[:2], new_tokens=2), Examples(rows)
    )
    assert found.ok(rows).tolist() == [True, True, False]
    likely = found.take("p.humanities", rows[:2])
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=5e-3)
    scores = found.take("score.humanities", rows[:2])
    assert all(np.isnan(score) or score in range(6) for score in scores)

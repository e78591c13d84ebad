"""Answer losses of records: means over answer tokens, the same ones under every condition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from helpers import open_records, png  # noqa: E402
from helpers import talk as raw_talk  # noqa: E402
from models.pictures import pictures  # noqa: E402
from models.test_answers import full_losses  # noqa: E402
from visift.engine.lab import Examples, LocalLab  # noqa: E402
from visift.errors import ImageError  # noqa: E402
from visift.models.batch import Collator, Conversation  # noqa: E402
from visift.models.conditions import Condition, asked_as  # noqa: E402
from visift.models.ref import BUILTIN_TINY, ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Record, Role, Turn  # noqa: E402
from visift.signals.cost import Load  # noqa: E402
from visift.signals.lengths import batches_by_length  # noqa: E402
from visift.signals.losses import NO_ANSWER, AnswerLoss, Answers, values  # noqa: E402
from visift.signals.signal import ImageItem, RecordItem, Values, identity  # noqa: E402

WAYS: tuple[Condition, ...] = get_args(Condition)
NAMES = ["nll", "nll_no_question", "nll_no_image", "nll_answer_only"]


def item(
    *said: str, images: int = 0, roles: tuple[Role, ...] = ("user", "assistant")
) -> RecordItem:
    turns = tuple(Turn(roles[number % len(roles)], text) for number, text in enumerate(said))
    shown = [ImageItem(f"{n}.png", partial(picture, n)) for n in range(images)]
    return RecordItem(Record("", turns, (), None, None, "", b""), tuple(shown))


def picture(number: int) -> Image.Image:
    return pictures()[number]


def conversation(one: RecordItem) -> Conversation:
    return Conversation(one.record.turns, tuple(image.load() for image in one.images))


ITEMS = [
    item("<image>\nWhat is it?", "A cat.", images=1),
    item("Say hello.", "Hello!", "Again, and more words than before.", "Hello!"),
    item("See <image> first.", "Seen.", "<image>\nNow?", "Seen too.", "Sure?", "", images=2),
    item("<image>\nDescribe it.", "A cat on a mat. " * 12, images=1),
    item("<image>\n?", "No.", images=1),
]


@pytest.fixture(scope="module")
def ref(tiny_model: Callable[[str], Path]) -> ModelRef:
    return ModelRef(str(tiny_model("llava")), dtype="float32")


@pytest.fixture(scope="module")
def vlm(ref: ModelRef) -> VLM:
    return VLM.load(ref, "cpu")


def measure(signal: AnswerLoss, items: list[RecordItem]) -> Values:
    return signal.open("cpu")(items)


def tokens_of(vlm: VLM, one: RecordItem, way: Condition = "given") -> np.ndarray:
    """Losses of a record's answer tokens from a full forward pass of its own."""
    batch = Collator.of(vlm)([asked_as(conversation(one), way)])
    return np.asarray(full_losses(vlm, batch)[0])


# --- values --------------------------------------------------------------------------------------


def test_a_loss_is_the_mean_over_all_answer_tokens() -> None:
    """U1: token losses .1 and .3 give .2, and .4 as a sum."""
    one = Answers(np.array([0.1, 0.3], np.float32), np.array([0, 0]), 0)
    found = values(AnswerLoss(None), [[one]])
    assert found["nll"].tolist() == pytest.approx([0.2])
    assert (found["nll"] * found["answer_tokens"]).tolist() == pytest.approx([0.4])


def test_turns_are_pooled_by_their_tokens() -> None:
    """U2: turns [1.0] and [.2, .2, .2] give .4, not the mean of turn means."""
    losses = np.array([1.0, 0.2, 0.2, 0.2], np.float32)
    one = Answers(losses, np.array([0, 1, 1, 1]), 0)
    found = values(AnswerLoss(None, turns=2), [[one]])
    assert found["nll"].tolist() == pytest.approx([0.4])
    assert found["nll_turns"].tolist() == [pytest.approx([1.0, 0.6])]
    assert found["answer_tokens_turns"].tolist() == [[1, 3]]


def test_the_last_slot_takes_all_further_answers() -> None:
    one = Answers(np.array([1, 2, 4, 8], np.float32), np.array([0, 1, 2, 3]), 0)
    found = values(AnswerLoss(None, turns=2), [[one]])
    assert found["nll_turns"].tolist() == [[1, 14]]
    assert values(AnswerLoss(None, turns=6), [[one]])["nll_turns"].tolist() == [[1, 2, 4, 8, 0, 0]]


def test_losses_of_records_are_those_of_full_forward_passes(ref: ModelRef, vlm: VLM) -> None:
    found = measure(AnswerLoss(ref, WAYS, turns=3), ITEMS)
    assert list(found.reasons) == [None] * len(ITEMS)
    for name, way in zip(NAMES, WAYS, strict=True):
        wanted = [tokens_of(vlm, one, way) for one in ITEMS]
        means = [tokens.mean() for tokens in wanted]
        np.testing.assert_allclose(found.columns[name], means, atol=1e-4)
        sums = found.columns[f"{name}_turns"].sum(axis=1)
        np.testing.assert_allclose(sums, [tokens.sum() for tokens in wanted], rtol=1e-4)
    counts = [len(tokens_of(vlm, one)) for one in ITEMS]
    assert found.columns["answer_tokens"].tolist() == counts
    assert found.columns["answer_tokens_turns"].sum(axis=1).tolist() == counts
    # " Seen.", " Seen too." and " ", in bytes, each with its end.
    assert found.columns["answer_tokens_turns"][2].tolist() == [7, 11, 2]


def test_the_turns_of_a_record_have_the_sums_of_their_own_tokens(ref: ModelRef, vlm: VLM) -> None:
    found = measure(AnswerLoss(ref, turns=2), ITEMS)
    tokens = tokens_of(vlm, ITEMS[1])
    first = len(" Hello!") + 1
    wanted = [tokens[:first].sum(), tokens[first:].sum()]
    np.testing.assert_allclose(found.columns["nll_turns"][1], wanted, rtol=1e-4)


def test_one_condition_alone_gives_what_it_gives_beside_others(ref: ModelRef) -> None:
    together = measure(AnswerLoss(ref, WAYS), ITEMS)
    for name, way in zip(NAMES, WAYS, strict=True):
        alone = measure(AnswerLoss(ref, (way,)), ITEMS)
        np.testing.assert_allclose(alone.columns[name], together.columns[name], atol=1e-4)


def test_a_record_without_images_loses_nothing_with_them(ref: ModelRef) -> None:
    found = measure(AnswerLoss(ref, WAYS), [ITEMS[1]]).columns
    assert found["nll_no_image"].tobytes() == found["nll"].tobytes()
    assert found["nll_answer_only"].tobytes() == found["nll_no_question"].tobytes()
    assert found["nll_no_question"] != found["nll"]


def test_joined_answers_are_asked_for_in_one_turn(ref: ModelRef, vlm: VLM) -> None:
    found = measure(AnswerLoss(ref, ("given", "no_question"), joined=True), ITEMS).columns
    one = item("<image><image>", "Seen. Seen too. ", images=2)
    assert found["nll_no_question"][2] == pytest.approx(tokens_of(vlm, one).mean(), abs=1e-4)
    assert found["nll"][2] == pytest.approx(tokens_of(vlm, ITEMS[2]).mean(), abs=1e-4)


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
def test_batches_change_nothing_but_last_bits(ref: ModelRef, batch_tokens: int) -> None:
    one = measure(AnswerLoss(ref, WAYS), ITEMS).columns
    other = measure(AnswerLoss(ref, WAYS, batch_tokens=batch_tokens), ITEMS).columns
    for name in NAMES:
        np.testing.assert_allclose(one[name], other[name], atol=1e-4)


def test_measuring_twice_gives_the_same_bits(ref: ModelRef) -> None:
    signal = AnswerLoss(ref, WAYS)
    one, two = measure(signal, ITEMS), measure(signal, ITEMS)
    assert all(one.columns[name].tobytes() == two.columns[name].tobytes() for name in NAMES)


@given(st.lists(st.integers(1, 300)), st.integers(1, 1000))
def test_a_batch_holds_records_of_like_length(lengths: list[int], budget: int) -> None:
    batches = batches_by_length(lengths, budget)
    assert sorted(chain(*batches)) == list(range(len(lengths)))
    longest = [max(lengths[n] for n in batch) for batch in batches]
    shortest = [min(lengths[n] for n in batch) for batch in batches]
    assert all(len(b) * most <= max(budget, most) for b, most in zip(batches, longest, strict=True))
    assert all(low >= most for low, most in zip(shortest, longest[1:], strict=False))
    for (batch, after), most in zip(pairwise(batches), longest, strict=False):
        assert after
        assert (len(batch) + 1) * most > budget


# --- what has no value ---------------------------------------------------------------------------


def broken() -> Image.Image:
    raise ImageError("damaged")


def test_records_without_a_value_have_a_reason_and_harm_no_other(ref: ModelRef) -> None:
    silent = item("<image>\nAnyone?", images=1)
    damaged = RecordItem(ITEMS[0].record, (ImageItem("bad.png", broken),))
    untemplated = item("<image>", "No.", images=2, roles=("assistant",))
    mixed = [silent, ITEMS[0], damaged, ITEMS[1], untemplated, ITEMS[2]]
    found, alone = measure(AnswerLoss(ref, WAYS), mixed), measure(AnswerLoss(ref, WAYS), ITEMS[:3])
    assert [bool(reason) for reason in found.reasons] == [True, False] * 3
    assert found.reasons[0] == NO_ANSWER
    assert found.reasons[2] == "image damaged: bad.png"
    assert "writes 0 image tokens for 2 images" in str(found.reasons[4])
    assert not found.passing
    for name in NAMES:
        np.testing.assert_allclose(found.columns[name][1::2], alone.columns[name], atol=1e-4)
        assert not found.columns[name][::2].any()


# --- long conversations --------------------------------------------------------------------------


def length_of(vlm: VLM, one: RecordItem, way: Condition = "given") -> int:
    return int(Collator.of(vlm)([asked_as(conversation(one), way)]).turns.shape[1])


@pytest.mark.parametrize("ways", [("given",), WAYS])
def test_a_long_conversation_is_cut_as_in_training(
    ref: ModelRef, vlm: VLM, ways: tuple[Condition, ...]
) -> None:
    cut = 50
    found = measure(AnswerLoss(ref, ways, max_tokens=length_of(vlm, ITEMS[3]) - cut), ITEMS)
    tokens = tokens_of(vlm, ITEMS[3])[:-cut]
    assert found.columns["nll"][3] == pytest.approx(tokens.mean(), abs=1e-4)
    assert found.columns["answer_tokens"][3] == len(tokens)
    assert list(found.reasons) == [None] * len(ITEMS)


def test_what_is_cut_under_one_condition_counts_under_none(ref: ModelRef, vlm: VLM) -> None:
    cut, long = 50, ITEMS[3]
    signal = AnswerLoss(ref, WAYS, turns=1, max_tokens=length_of(vlm, long) - cut)
    found = measure(signal, ITEMS)
    for name, way in zip(NAMES, WAYS, strict=True):
        tokens = tokens_of(vlm, long, way)[:-cut]
        assert found.columns[name][3] == pytest.approx(tokens.mean(), abs=1e-4)
        assert found.columns[f"{name}_turns"][3, 0] == pytest.approx(tokens.sum(), rel=1e-4)


def test_images_and_answers_behind_the_cut_are_reasons(ref: ModelRef, vlm: VLM) -> None:
    asked = item("<image>\nA question without end" + "." * 99, "Yes.", images=1)
    images = item("<image>\n<image>\n<image>\n<image>\nWhich?", "This.", images=4)
    found = measure(AnswerLoss(ref, WAYS, max_tokens=60), [ITEMS[0], asked, images, ITEMS[4]])
    assert list(found.reasons) == [
        None,
        NO_ANSWER,
        "its images and what is said before them take more than 60 tokens",
        None,
    ]
    alone = measure(AnswerLoss(ref, WAYS), [ITEMS[0], ITEMS[4]])
    np.testing.assert_allclose(found.columns["nll"][[0, 3]], alone.columns["nll"], atol=1e-4)


# --- identity, cost, a whole pool ----------------------------------------------------------------


def test_columns_follow_from_the_conditions() -> None:
    def names(**fields: Any) -> list[str]:
        return [column.name for column in AnswerLoss(None, **fields).columns]

    assert names() == ["nll", "answer_tokens"]
    assert names(conditions=WAYS) == [*NAMES, "answer_tokens"]
    assert names(conditions=("no_image", "given"), turns=4) == [
        "nll_no_image",
        "nll",
        "answer_tokens",
        "nll_no_image_turns",
        "nll_turns",
        "answer_tokens_turns",
    ]
    columns = AnswerLoss(None, WAYS, turns=4).columns
    assert [column.name for column in columns if not column.extra] == NAMES


def test_every_field_is_part_of_the_identity(ref: ModelRef) -> None:
    base: dict[str, Any] = {}
    changes = [
        base,
        {"conditions": ("no_image",)},
        {"turns": 1},
        {"max_tokens": 99},
        {"joined": True},
        {"batch_tokens": 99},
    ]
    assert len({str(identity(AnswerLoss(ref, **change))) for change in changes}) == len(changes)


def test_what_conditions_share_costs_once(ref: ModelRef) -> None:
    load = Load(items=10, text_tokens=400, images=8)
    one = AnswerLoss(ref).cost(load)
    assert (one.forwards_full, one.tokens) == (10, 8 * 16 + 400)
    two = AnswerLoss(ref, ("given", "no_question")).cost(load)
    assert (two.forwards_full, two.tokens) == (20, 8 * 16 + 400 + 200)
    assert AnswerLoss(ref, ("no_image",)).cost(load).tokens == 400
    assert one.flops is not None
    assert two.flops is not None
    assert one.flops < two.flops < 2 * one.flops
    assert AnswerLoss(None).cost(load).tokens is None


def test_a_whole_pool(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1, (80, 60)))
    (tmp_path / "images" / "cut.png").write_bytes(png(2, (80, 60))[:60])
    long = "word " * 3000
    records = [
        raw_talk("<image>\nWhat?", "That.", image="a.png"),
        raw_talk("Say something.", "Something."),
        raw_talk("<image>\nWhat?", "That.", image="cut.png"),
        raw_talk("<image>\nTell all.", long, image="a.png"),
        raw_talk(f"<image>\n{long}", "Never seen.", image="a.png"),
        {"conversations": [{"from": "human", "value": "Anyone?"}]},
    ]
    pool = open_records(tmp_path, records, image_folder=tmp_path / "images")
    lab = LocalLab(pool, tmp_path / "cache", lambda: ["cpu"])
    found = lab.measure(
        AnswerLoss(ModelRef(BUILTIN_TINY), WAYS, turns=2), Examples(np.arange(len(pool)))
    )
    rows = np.arange(len(pool))
    assert found.ok(rows).tolist() == [True, True, False, True, False, False]
    assert found.reasons(rows)[4] == NO_ANSWER
    assert "cut.png" in str(found.reasons(rows)[2])
    fine = np.flatnonzero(found.ok(rows))
    assert (found.take("nll", fine) > 0).all()
    assert found.take("answer_tokens", fine)[2] > 1900
    sums = found.take("nll_turns", fine).sum(axis=1)
    np.testing.assert_allclose(
        sums, found.take("nll", fine) * found.take("answer_tokens", fine), rtol=1e-4
    )

"""Replies to many queries about a record, read in one pass: those of separate full passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.families import FAMILIES  # noqa: E402
from models.saying import saying  # noqa: E402
from models.test_answers import NOT_PACKED  # noqa: E402
from models.test_conformance import END, talk  # noqa: E402
from visift.models.answers import asking  # noqa: E402
from visift.models.asking import own_answers, questions  # noqa: E402
from visift.models.batch import Batch, Collator, Conversation  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.replies import (  # noqa: E402
    ends_of_turn,
    find_replies,
    plain_greedy,
    replied,
)
from visift.models.suffixes import Reading, ReplyReader  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402

DIGITS = ("0", "1", "2", "3", "4", "5")
QUERIES = ("Rate it: stem knowledge", "Rate it: scene understanding")
RECORDS = [
    ("<image>\nWhat is it? A cat. 一只猫", 1),
    ("Say hello. Hello! Again, and more of it. Hello!", 0),
    ("See <image> and <image>: the same? No,\nnot at all.", 2),
]

#: What the model is made to reply: two queries, three records.
SAID = (("3", "5", "0"), ("4.", "2", "x"))
READ = [[3, 5, 0], [-1, 2, -1]]


def shown(query: str) -> list[Conversation]:
    return [talk(f"{text}\n{query}", images=images) for text, images in RECORDS]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def vlm(family: str, tiny_model: Callable[[str], Path]) -> VLM:
    return VLM.load(ModelRef(str(tiny_model(family)), dtype="float32"), "cpu")


@pytest.fixture(scope="module")
def collate(vlm: VLM) -> Collator:
    return Collator.of(vlm)


@pytest.fixture(scope="module")
def reader(vlm: VLM, collate: Collator) -> ReplyReader:
    replies = find_replies(collate, DIGITS)
    assert replies is not None
    return ReplyReader.of(vlm, collate, replies, ends_of_turn(vlm, collate))


def batches(collate: Collator) -> list[Batch]:
    return [collate([replied(one, "0") for one in shown(query)]) for query in QUERIES]


def read(reader: ReplyReader, collate: Collator) -> Reading:
    with asking(reader.vlm):
        return reader.read(batches(collate))


def full_logs(reader: ReplyReader, collate: Collator, one: Conversation) -> torch.Tensor:
    """From a forward pass of its own, the reply another one than the reader writes."""
    batch = collate([replied(one, "3")])
    spot = int(reader.replies.spots(batch))
    assert batch.inputs["input_ids"][0, spot] == reader.replies.tokens[3]
    with torch.inference_mode():
        logits = reader.vlm.model(**reader.vlm.moved(batch.inputs), use_cache=False).logits
    return logits[0, spot - 1].float().log_softmax(dim=-1)[list(reader.replies.tokens)]


def test_probabilities_are_those_of_separate_full_prompts(
    reader: ReplyReader, collate: Collator, family: str
) -> None:
    assert reader.packs == (family not in NOT_PACKED)
    found = read(reader, collate).logs
    wanted = [[full_logs(reader, collate, one) for one in shown(query)] for query in QUERIES]
    torch.testing.assert_close(
        found, torch.stack([torch.stack(w) for w in wanted]), rtol=0, atol=1e-3
    )
    assert float((found[0] - found[1]).abs().max()) > 1e-2


def test_what_greedy_decoding_gives_is_known_where_it_is_a_reply_and_ends(
    reader: ReplyReader, collate: Collator, family: str
) -> None:
    said = [
        replied(one, text)
        for query, texts in zip(QUERIES, SAID, strict=True)
        for one, text in zip(shown(query), texts, strict=True)
    ]
    with saying(reader.vlm, collate, said):
        assert read(reader, collate).greedy.tolist() == READ
        if family == "llava":  # others say it in rows of their own, or cannot
            assert read(replace(reader, packs=False), collate).greedy.tolist() == READ
        with plain_greedy(reader.vlm, reader.ends):
            asked = [question for one in said for question in questions(collate, one)]
            generated = own_answers(reader.vlm, collate, asked, 4)
    assert generated == [text for texts in SAID for text in texts]


def test_the_end_of_a_reply_is_what_the_template_writes(reader: ReplyReader, family: str) -> None:
    tokenizer = reader.vlm.processor.tokenizer
    assert tokenizer.convert_tokens_to_ids(END[family]) in reader.ends
    assert set(reader.replies.written.inputs["input_ids"][0].tolist()) & reader.ends


def test_the_reply_stands_where_it_is_looked_for(reader: ReplyReader, collate: Collator) -> None:
    zeros, others = (
        collate([replied(one, text) for one in shown(QUERIES[0])]) for text in ("0", "no")
    )
    assert reader.replies.stands(zeros).tolist() == [True] * 3
    assert reader.replies.stands(others).tolist() == [False] * 3


# --- one family is enough ------------------------------------------------------------------------

only = pytest.mark.parametrize("family", ["llava"], indirect=True)


@only
@pytest.mark.parametrize("texts", [("10", "11"), ("yes", "yes, but"), ("4", "4 ")])
def test_replies_that_differ_otherwise_are_not_read(
    collate: Collator, texts: tuple[str, ...]
) -> None:
    assert (find_replies(collate, texts) is None) == (texts != ("10", "11"))


@only
def test_replies_need_not_be_single_characters(collate: Collator) -> None:
    found = find_replies(collate, ("10", "13"))
    assert found is not None
    assert (len(found.lead), found.offset) == (2, 2)


@only
def test_rules_of_generation_that_a_model_brings_do_not_count(
    vlm: VLM, collate: Collator, reader: ReplyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replied(shown(QUERIES[0])[0], "33")
    config = vlm.model.generation_config
    monkeypatch.setattr(config, "repetition_penalty", 50.0)
    with saying(vlm, collate, [one]):
        asked = questions(collate, one)
        assert own_answers(vlm, collate, asked, 4) != ["33"]
        with plain_greedy(vlm, reader.ends):
            assert own_answers(vlm, collate, asked, 4) == ["33"]
    assert vlm.model.generation_config is config


def broken(*_: object) -> None:
    raise TypeError("rows like this I do not take")


@only
@pytest.mark.parametrize(("name", "value"), [("_TOLERANCE", -1.0), ("run_packed", broken)])
def test_a_model_that_reads_packed_replies_otherwise_or_not_at_all_is_not_packed(
    vlm: VLM,
    collate: Collator,
    reader: ReplyReader,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
) -> None:
    monkeypatch.setattr(f"visift.models.suffixes.{name}", value)
    assert not ReplyReader.of(vlm, collate, reader.replies, reader.ends).packs


@only
def test_logits_may_be_made_a_few_at_a_time(
    vlm: VLM, collate: Collator, reader: ReplyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(reader, collate)
    monkeypatch.setattr("visift.models.suffixes.MOST_LOGITS", 1)
    few = read(reader, collate)
    torch.testing.assert_close(few.logs, whole.logs)
    assert few.greedy.tolist() == whole.greedy.tolist()

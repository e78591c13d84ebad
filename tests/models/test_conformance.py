"""What every model family promises where whole conversations are read: one suite for all.

Multi-turn, text-only and multi-image rows stand in one batch. What a family does otherwise is in
`visift.models.families`, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.families import BLOCKS, FAMILIES  # noqa: E402
from models.observing import inputs_of, parts  # noqa: E402
from models.pictures import pictures  # noqa: E402
from visift.models.batch import Batch, Collator, Conversation  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Turn  # noqa: E402

#: What ends an answer, as people wrote it down for each family.
END = {
    "llava": "</s>",
    "llava_next": "</s>",
    "llava_onevision": "<|im_end|>",
    "qwen2_vl": "<|im_end|>",
    "qwen2_5_vl": "<|im_end|>",
    "qwen3_vl": "<|im_end|>",
    "idefics3": "<end_of_utterance>",
    "smolvlm": "<end_of_utterance>",
    "internvl": "<|im_end|>",
    "paligemma": "<eos>",
    "gemma3": "<end_of_turn>",
}
#: What these templates write behind the prompt that asks for an answer: the model must say it, too.
OPENING = {"llava": " ", "llava_next": " ", "idefics3": " ", "smolvlm": " "}


def talk(*said: str, images: int = 0) -> Conversation:
    """Questions and answers in turn, about the first so many pictures."""
    roles = ("user", "assistant")
    turns = tuple(Turn(roles[i % 2], text) for i, text in enumerate(said))  # type: ignore[arg-type]
    return Conversation(turns, tuple(pictures()[:images]))


#: Conversations with the answers that each holds.
TALKS = {
    "one image": (talk("<image>\nWhat is it?", "A cat.", images=1), ["A cat."]),
    "two turns": (
        talk("<image>\nWhat is it?", "A cat.", "And its colour?", "A cat. Black", images=1),
        ["A cat.", "A cat. Black"],
    ),
    "text only": (talk("Say hello.", "Hello!", "Again.", "Hello!"), ["Hello!", "Hello!"]),
    "two images": (
        talk("<image>\n<image>\nThe same?", "No,\nnot at all.", images=2),
        ["No,\nnot at all."],
    ),
    "an image in each turn": (
        talk("See <image> first.", "Seen.", "<image>\nNow this?", "Seen.", images=2),
        ["Seen.", "Seen."],
    ),
    "other letters": (
        talk("<image>\n这是什么？", "一只猫 🐈, naïve", images=1),
        ["一只猫 🐈, naïve"],
    ),
}
CONVERSATIONS = [conversation for conversation, _ in TALKS.values()]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def vlm(family: str, tiny_model: Callable[[str], Path]) -> VLM:
    return VLM.load(ModelRef(str(tiny_model(family))), "cpu")


@pytest.fixture(scope="module")
def collate(vlm: VLM) -> Collator:
    return Collator.of(vlm)


@pytest.fixture(scope="module")
def batch(collate: Collator) -> Batch:
    return collate(CONVERSATIONS)


def spoken(vlm: VLM, batch: Batch, row: int) -> list[str]:
    """Return the marked tokens of a row as text, one string for each answer, without openings."""
    marked, ids = batch.answers[row].tolist(), batch.inputs["input_ids"][row]
    starts = [i for i, on in enumerate(marked) if on and not marked[i - 1]]
    ends = [i for i, on in enumerate(marked) if on and not [*marked, False][i + 1]]
    slices = [ids[start : end + 1] for start, end in zip(starts, ends, strict=True)]
    texts = [vlm.processor.tokenizer.decode(one) for one in slices]
    opening = OPENING.get(vlm.model.config.model_type, "")
    assert all(text.startswith(opening) for text in texts)
    return [text.removeprefix(opening) for text in texts]


# --- image positions -----------------------------------------------------------------------------


def test_image_features_stand_in_order_where_the_image_token_is(vlm: VLM, batch: Batch) -> None:
    visual = {
        name: value
        for name, value in batch.inputs.items()
        if name.startswith(("pixel", "image", "batch_num"))
    }
    with torch.inference_mode():
        found = vlm.model.get_image_features(**visual).pooler_output
    features = torch.cat([one.reshape(-1, vlm.width) for one in found])
    positions = batch.inputs["input_ids"] == vlm.image_token
    assert int(positions.sum()) == len(features)
    assert torch.allclose(vlm.hidden_states(batch.inputs, 0)[positions], features, atol=1e-6)


def test_every_row_has_image_tokens_for_its_own_images_only(vlm: VLM, batch: Batch) -> None:
    counts = (batch.inputs["input_ids"] == vlm.image_token).sum(dim=1).tolist()
    assert [count > 0 for count in counts] == [bool(one.images) for one in CONVERSATIONS]
    by_name = dict(zip(TALKS, counts, strict=True))
    assert by_name["two turns"] == by_name["one image"]
    assert by_name["two images"] == by_name["an image in each turn"] > by_name["one image"] / 2


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TALKS)
def test_marked_are_exactly_the_answers_and_their_ends(
    vlm: VLM, family: str, batch: Batch, name: str
) -> None:
    row, (_, answers) = list(TALKS).index(name), TALKS[name]
    assert spoken(vlm, batch, row) == [answer + END[family] for answer in answers]


def test_neither_images_nor_padding_are_marked(vlm: VLM, batch: Batch) -> None:
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    assert not bool((batch.answers & (ids == vlm.image_token)).any())
    assert not bool((batch.answers & (mask == 0)).any())
    assert bool((mask.diff(dim=1) <= 0).all())  # padded on the right


def test_what_the_model_is_asked_with_is_a_prefix_of_the_whole(collate: Collator) -> None:
    for conversation in CONVERSATIONS:
        rendering = collate.rendering(conversation)
        prompts = collate.template.prompts(conversation.turns, len(conversation.images))
        assert len(prompts) == len(rendering.answers)
        for prompt, (start, _) in zip(prompts, rendering.answers, strict=True):
            assert rendering.text[:start] == prompt


def test_a_system_turn_is_written_and_not_marked(vlm: VLM, family: str, collate: Collator) -> None:
    question = talk("<image>\nWhat is it?", "A cat.", images=1)
    turns = (Turn("system", "Be brief."), *question.turns)
    one = collate([Conversation(turns, question.images)])
    assert "Be brief." in vlm.processor.tokenizer.decode(one.inputs["input_ids"][0])
    assert spoken(vlm, one, 0) == ["A cat." + END[family]]


def test_tokens_that_texts_spell_out_stay_text(vlm: VLM, family: str, collate: Collator) -> None:
    """Nobody shows an image, or ends a turn, by writing so."""
    plain = talk("<image>\nWhat?", "Yes.", images=1)
    hostile = "".join(collate.template.reserved)
    told = talk(f"<image>\nWhat? {hostile}", f"Yes. {hostile}", images=1)
    batch = collate([plain, told])
    counts = (batch.inputs["input_ids"] == vlm.image_token).sum(dim=1)
    assert counts[0] == counts[1]
    (answer,) = spoken(vlm, batch, 1)
    assert answer.count(END[family]) == 1
    assert answer.startswith("Yes. ")
    assert answer.replace(" ", "") == f"Yes.{hostile}{END[family]}".replace(" ", "")


# --- as the family's own code does it ------------------------------------------------------------


def test_tokens_are_those_of_the_processor(vlm: VLM, family: str, collate: Collator) -> None:
    processor, shown = vlm.processor, pictures()[:2]
    one = collate([talk("<image>\n<image>\nThe same?", "No.", images=2)])
    if family == "paligemma":
        text = f"{processor.image_token * 2}The same?"
        own = dict(processor(images=[shown], text=[text], suffix=["No."], return_tensors="pt"))
        length = own["input_ids"].shape[1]
        for name in ("input_ids", "token_type_ids"):
            assert torch.equal(one.inputs[name][:, :length], own[name])
        return
    parts: list[Any] = [{"type": "image", "image": image} for image in shown]
    said = [{"role": "user", "content": [*parts, {"type": "text", "text": "The same?"}]}]
    own = processor.apply_chat_template(
        said,
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
        processor_kwargs={"return_tensors": "pt"},
    )
    ids = one.inputs["input_ids"][0].tolist()
    prompt = torch.as_tensor(own["input_ids"])[0].tolist()
    assert ids[: len(prompt)] == prompt
    answer = processor.tokenizer.decode(ids[len(prompt) :])
    assert answer.strip() == "No." + END[family]


# --- forward -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", range(BLOCKS + 1))
def test_stopping_early_gives_what_the_block_receives(vlm: VLM, batch: Batch, layer: int) -> None:
    with inputs_of(parts(vlm)) as seen, torch.inference_mode():
        vlm.model(**batch.inputs)
    real = batch.inputs["attention_mask"].bool()
    states = vlm.hidden_states(batch.inputs, layer)
    assert torch.allclose(states[real], seen[layer][0][real], atol=1e-5)


@pytest.mark.parametrize("layer", [0, 2, BLOCKS])
def test_a_batch_gives_what_single_conversations_give(
    vlm: VLM, collate: Collator, batch: Batch, layer: int
) -> None:
    together = vlm.hidden_states(batch.inputs, layer)
    for row, conversation in enumerate(CONVERSATIONS):
        one = collate([conversation])
        length = one.answers.shape[1]
        alone = vlm.hidden_states(one.inputs, layer)[0]
        assert torch.equal(batch.answers[row, :length], one.answers[0])
        assert torch.allclose(together[row, :length], alone, atol=1e-5)


def test_no_answer_is_seen_before_it_is_due(vlm: VLM, collate: Collator) -> None:
    """What an answer says changes no state before it, so nothing can be copied from it."""
    said = ("<image>\nWhat is it?", "A cat.", "Its colour?")
    batch = collate([talk(*said, "Black", images=1), talk(*said, "White", images=1)])
    states = vlm.hidden_states(batch.inputs, BLOCKS)
    first, second = batch.inputs["input_ids"]
    start = int(torch.nonzero(first != second)[0])
    assert bool(batch.answers[:, start].all())
    assert torch.allclose(states[0, :start], states[1, :start], atol=1e-6)
    assert not torch.allclose(states[0, start:], states[1, start:], atol=1e-3)

"""Losses of answers asked for in several ways at once: those of separate full forward passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models import automatic  # noqa: E402
from models.families import FAMILIES  # noqa: E402
from models.test_conformance import CONVERSATIONS, talk  # noqa: E402
from visift.models.answers import Asked, Packing, answer_losses, asking, why_not_packed  # noqa: E402
from visift.models.batch import Batch, Collator, Conversation  # noqa: E402
from visift.models.conditions import Condition, asked_as, effective  # noqa: E402
from visift.models.conversation import ConversationError  # noqa: E402
from visift.models.handed import Unpackable, run_packed  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Turn  # noqa: E402

WAYS: tuple[Condition, ...] = get_args(Condition)
TALKS = [
    *CONVERSATIONS,
    talk("Look at <image> and say: what is it?", "A dog.", "Sure?", "Yes.", "Why?", "", images=1),
]

#: Of the families of the suite, those whose conversations share no row of the decoder.
NOT_PACKED = {"paligemma": "every token of its prompts sees all of the prompt"}


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
def llava(tiny_model: Callable[[str], Path]) -> VLM:
    return VLM.load(ModelRef(str(tiny_model("llava"))), "cpu")


def ask(collate: Collator, talks: list[Conversation], *ways: Condition) -> list[Asked]:
    rows = tuple(range(len(talks)))
    return [Asked(collate([asked_as(one, way) for one in talks]), rows) for way in ways or WAYS]


def full_losses(vlm: VLM, batch: Batch) -> list[torch.Tensor]:
    """As a trainer computes them: a forward pass with the logits of all tokens."""
    with torch.inference_mode():
        logits = vlm.model(**vlm.moved(batch.inputs), use_cache=False).logits.float()
    targets = batch.inputs["input_ids"][:, 1:, None]
    losses = -logits[:, :-1].log_softmax(dim=-1).gather(2, targets)[..., 0]
    return [row[marked] for row, marked in zip(losses, batch.answers[:, 1:], strict=True)]


def assert_alike(found: list[list[torch.Tensor]], wanted: list[list[torch.Tensor]]) -> None:
    for some, others in zip(found, wanted, strict=True):
        for one, other in zip(some, others, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["always", "never"])
def test_losses_are_those_of_separate_full_forward_passes(
    vlm: VLM, collate: Collator, packing: Packing
) -> None:
    with asking(vlm):
        asked = ask(collate, TALKS)
        found = answer_losses(vlm, asked, packing)
    assert_alike(found, [full_losses(vlm, one.batch) for one in asked])
    assert all(len(tokens) for some in found for tokens in some)


def test_which_families_pack(vlm: VLM, family: str, collate: Collator) -> None:
    assert why_not_packed(vlm, collate) == NOT_PACKED.get(family)


def test_a_batch_gives_what_single_conversations_give(vlm: VLM, collate: Collator) -> None:
    with asking(vlm):
        together = answer_losses(vlm, ask(collate, TALKS), "always")
    for row, one in enumerate(TALKS):
        with asking(vlm):
            alone = answer_losses(vlm, ask(collate, [one]), "always")
        assert_alike([[some[row]] for some in together], alone)


def test_how_many_rows_go_through_the_decoder_at_once_changes_nothing(
    vlm: VLM, collate: Collator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(collate, TALKS)
    together = answer_losses(vlm, asked, "always")
    for most in (1, 500):
        monkeypatch.setattr("visift.models.answers._MOST_CPU_TOKENS", most)
        assert_alike(answer_losses(vlm, asked, "always"), together)


def test_ways_may_have_different_records(vlm: VLM, collate: Collator) -> None:
    few = [1, 5, 2]
    with asking(vlm):
        given, no_image = ask(collate, TALKS, "given", "no_image")
        some = Asked(collate([asked_as(TALKS[n], "no_image") for n in few]), tuple(few))
        found = answer_losses(vlm, [given, some], "always")
        every = answer_losses(vlm, [given, no_image], "always")
    assert_alike([found[0], found[1]], [every[0], [every[1][n] for n in few]])


@pytest.mark.parametrize("family", ["paligemma"], indirect=True)
def test_logits_are_scaled_as_the_model_scales_them(
    vlm: VLM, collate: Collator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(collate, TALKS[:2], "given")
    before = answer_losses(vlm, asked, "never")
    monkeypatch.setattr(vlm.model.config.get_text_config(), "final_logit_softcapping", 0.5, False)
    capped = answer_losses(vlm, asked, "never")
    assert_alike(capped, [full_losses(vlm, asked[0].batch)])
    assert not torch.allclose(capped[0][0], before[0][0], atol=1e-2)


def test_blocks_with_a_state_of_their_own_are_not_packed() -> None:
    torch.manual_seed(0)
    model, processor = automatic.build("lfm3_vl")
    processor.tokenizer.padding_side = "right"
    vlm = VLM("lfm3_vl", model, processor)
    collate = Collator.of(vlm)
    assert why_not_packed(vlm, collate) == (
        "its conv blocks carry more than attention from token to token"
    )
    asked = ask(collate, TALKS[:3])
    assert_alike(answer_losses(vlm, asked, "never"), [full_losses(vlm, one.batch) for one in asked])
    with pytest.raises(Unpackable, match="block 0 has a mask of shape"):
        answer_losses(vlm, asked, "always")
    assert_alike(answer_losses(vlm, asked, "if less work"), answer_losses(vlm, asked, "never"))


def test_a_model_that_would_give_other_losses_in_packed_rows_is_found_out(
    llava: VLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here one whose blocks mix a token with the one that stands before it in the row."""
    block = llava.blocks[1]
    forward = block.forward

    def mixing(hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        return forward(hidden_states + hidden_states.roll(1, dims=1), *args, **kwargs)

    monkeypatch.setattr(block, "forward", mixing)
    reason = why_not_packed(llava, Collator.of(llava))
    assert str(reason).startswith("its losses in packed rows are off by ")


def test_half_precision_packs_as_well(tiny_model: Callable[[str], Path]) -> None:
    vlm = VLM.load(ModelRef(str(tiny_model("llava")), dtype="bfloat16"), "cpu")
    assert why_not_packed(vlm, Collator.of(vlm)) is None
    found = answer_losses(vlm, ask(Collator.of(vlm), TALKS[:1]), "always")
    assert {one.dtype for some in found for one in some} == {torch.float32}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_may_be_computed_in_any_way(llava: VLM, attention: str) -> None:
    asked = ask(Collator.of(llava), TALKS)
    wanted = [full_losses(llava, one.batch) for one in asked]
    llava.model.set_attn_implementation(attention)
    try:
        found = answer_losses(llava, asked, "always")
    finally:
        llava.model.set_attn_implementation("sdpa")
    assert_alike(found, wanted)


# --- work ----------------------------------------------------------------------------------------


def test_rows_are_shared_where_that_is_less_work(
    llava: VLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of long answers compares each of its tokens with those of all of them."""
    calls: list[str] = []
    monkeypatch.setattr("visift.models.answers.run_packed", _noting(run_packed, calls))
    for answer, packed in (("A cat.", True), ("A cat. " * 50, False)):
        calls.clear()
        question = "<image>\nWhat do you see here, and what else, and what is in front of it?"
        asked = ask(Collator.of(llava), [talk(question, answer, images=1)], "given", "no_question")
        found = answer_losses(llava, asked, "if less work")
        assert bool(calls) == packed
        assert_alike(found, [full_losses(llava, one.batch) for one in asked])


def _noting(function: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def noted(*args: Any) -> Any:
        calls.append(function.__name__)
        return function(*args)

    return noted


@pytest.mark.parametrize("packing", ["always", "never"])
def test_logits_are_made_of_answer_tokens_only(
    vlm: VLM, collate: Collator, packing: Packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = vlm.model.get_output_embeddings().weight.shape[0]
    monkeypatch.setattr("visift.models.answers.MOST_LOGITS", 50 * words)
    asked = ask(collate, TALKS)
    seen: list[int] = []
    head = vlm.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, args: seen.append(args[0][..., 0].numel()))
    try:
        found = answer_losses(vlm, asked, packing)
    finally:
        hook.remove()
    assert sum(seen) == sum(len(tokens) for some in found for tokens in some)
    assert 1 < len(seen)
    assert max(seen) <= 50


def test_images_are_read_once_for_all_ways(vlm: VLM, collate: Collator) -> None:
    def work(*ways: Condition) -> Counter[str]:
        """Count what is done, text decoder and output layer left out."""
        done: Counter[str] = Counter()
        inner = vlm.model.model
        aside = {id(part) for part in (*vlm.decoder.modules(), vlm.model.get_input_embeddings())}
        aside |= {id(inner), id(vlm.model), id(vlm.model.get_output_embeddings())}
        images, preprocess = vlm.processor.image_processor, "_preprocess"
        with ExitStack() as stack:
            for name, part in vlm.model.named_modules():
                if id(part) not in aside:
                    count = lambda *_, name=name: done.update([name])  # noqa: E731
                    stack.callback(part.register_forward_pre_hook(count).remove)
            real = getattr(images, preprocess)
            counted = lambda *a, **k: (done.update([preprocess]), real(*a, **k))[1]  # noqa: E731
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(images, preprocess, counted)
            with asking(vlm):
                answer_losses(vlm, ask(collate, TALKS, *ways), "always")
        return done

    once = work("given")
    assert once["_preprocess"] == 1
    assert sum(once.values()) > 5
    assert work(*WAYS) == once
    assert work("no_question") == once
    assert not work("no_image", "answer_only")


def test_nothing_stays_changed(vlm: VLM, collate: Collator) -> None:
    owners = [*vlm.model.modules(), vlm.processor.image_processor]
    before = [set(vars(one)) for one in owners]
    hooks = [len(one._forward_pre_hooks) for one in vlm.model.modules()]
    with asking(vlm):
        answer_losses(vlm, ask(collate, TALKS[:2]), "always")
    assert [set(vars(one)) for one in owners] == before
    assert [len(one._forward_pre_hooks) for one in vlm.model.modules()] == hooks


# --- ways of asking ------------------------------------------------------------------------------


def said(conversation: Conversation) -> list[str]:
    return [turn.text for turn in conversation.turns]


TWO_TURNS = talk("See <image> now.", "Seen.", "<image>\nAnd this?", "That.", images=2)


@pytest.mark.parametrize(
    ("way", "texts", "images"),
    [
        ("given", ["See <image> now.", "Seen.", "<image>\nAnd this?", "That."], 2),
        ("no_question", ["<image>", "Seen.", "<image>", "That."], 2),
        ("no_image", ["See  now.", "Seen.", "And this?", "That."], 0),
        ("answer_only", ["", "Seen.", "", "That."], 0),
    ],
)
def test_what_a_way_leaves_of_a_conversation(way: Condition, texts: list[str], images: int) -> None:
    asked = asked_as(TWO_TURNS, way)
    assert said(asked) == texts
    assert len(asked.images) == images


def test_system_turns_stay() -> None:
    system = Turn("system", "Be brief.")
    asked = asked_as(Conversation((system, *TWO_TURNS.turns), TWO_TURNS.images), "answer_only")
    assert asked.turns[0] == system


def test_joined_answers_follow_all_images() -> None:
    assert said(asked_as(TWO_TURNS, "no_question", joined=True)) == [
        "<image><image>",
        "Seen. That.",
    ]
    assert asked_as(TWO_TURNS, "given", joined=True) == TWO_TURNS


def test_images_without_a_tag_stand_first() -> None:
    assert said(asked_as(talk("What?", "That.", images=2), "no_question"))[0] == "<image><image>"


def test_without_images_there_is_none_to_take_away() -> None:
    text = talk("Say hello.", "Hello!")
    assert [effective(way, text) for way in WAYS] == [
        "given",
        "no_question",
        "given",
        "no_question",
    ]
    assert [effective(way, TWO_TURNS) for way in WAYS] == list(WAYS)


# --- cutting -------------------------------------------------------------------------------------


def test_a_cut_batch_gives_the_losses_of_the_tokens_that_are_left(
    vlm: VLM, collate: Collator
) -> None:
    batch = collate([TALKS[1], TALKS[2]])
    length = int(batch.answers[0].nonzero()[-1]) - 2
    cut = batch.cut(length)
    assert cut.turns.shape[1] == length
    assert int(cut.answers[0].sum()) == int(batch.answers[0].sum()) - 3
    whole, left = (answer_losses(vlm, [Asked(one, (0, 1))], "never")[0] for one in (batch, cut))
    if not collate.template.family.prefix_attention:
        assert_alike([left], [[one[: len(some)] for one, some in zip(whole, left, strict=True)]])
    assert batch.cut(batch.turns.shape[1]) is batch


def test_a_cut_through_images_is_refused(collate: Collator) -> None:
    batch = collate([TALKS[2], TALKS[0]])
    last = int(batch.images[1].nonzero()[-1])
    assert batch.cut_off(last).tolist() == [False, True]
    assert batch.cut_off(last + 1).tolist() == [False, False]
    with pytest.raises(ConversationError, match=rf"take more than {last} tokens"):
        batch.cut(last)


def test_every_answer_token_says_which_answer_it_is_of(collate: Collator) -> None:
    batch = collate(TALKS)
    for row, one in enumerate(TALKS):
        answers = sum(turn.role == "assistant" for turn in one.turns)
        found = batch.turns[row][batch.answers[row]]
        assert found.unique().tolist() == list(range(answers))
        assert bool((found.diff() >= 0).all())

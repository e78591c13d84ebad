"""Conversations in a model's own words: where images and answers go, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.parts import t  # noqa: E402
from models.pictures import pictures  # noqa: E402
from visift.errors import ModelError  # noqa: E402
from visift.models.batch import Collator, Conversation  # noqa: E402
from visift.models.conversation import ConversationError, Template, messages  # noqa: E402
from visift.models.families import Family, family_of  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Turn  # noqa: E402

IMAGE = {"type": "image"}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def content(said: str, images: int) -> list[dict[str, str]]:
    (message,) = messages([Turn("user", said)], images)
    return list(message["content"])


@pytest.fixture
def folder(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a model folder that a test may change."""
    return shutil.copytree(tiny_model("llava"), tmp_path / "model")


def template(folder: Path, source: str | None = None, family: Family | None = None) -> Template:
    processor = t.AutoProcessor.from_pretrained(folder)
    processor.chat_template = processor.chat_template if source is None else source
    return Template.of(processor, family or Family())


def collator(folder: Path) -> Collator:
    return Collator.of(VLM.load(ModelRef(str(folder)), "cpu"))


# --- where images go -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "images", "parts"),
    [
        ("<image>\nWhat?", 1, [IMAGE, text("What?")]),
        ("What?\n<image>", 1, [text("What?"), IMAGE]),
        ("<image>What?", 1, [IMAGE, text("What?")]),
        ("<image>\n<image>\nSame?", 2, [IMAGE, IMAGE, text("Same?")]),
        ("See <image> and\n<image>\nhere.", 2, [
            text("See "), IMAGE, text(" and\n"), IMAGE, text("\nhere."),
        ]),
        ("<image>", 1, [IMAGE]),
        ("What?", 0, [text("What?")]),
        ("What?", 2, [IMAGE, IMAGE, text("What?")]),
        ("<image>\nWhat?", 2, [IMAGE, IMAGE, text("What?")]),
        ("The tag <image> means?", 0, [text("The tag <image> means?")]),
        ("<image>\nThe tag <image>?", 1, [IMAGE, text("The tag <image>?")]),
        ("", 0, [text("")]),
    ],
)  # fmt: skip
def test_images_stand_where_the_user_put_them(
    said: str, images: int, parts: list[dict[str, str]]
) -> None:
    assert content(said, images) == parts


def test_only_users_show_images_and_each_image_once() -> None:
    turns = [Turn("user", "<image> a"), Turn("assistant", "<image>"), Turn("user", "<image> b")]
    said = messages(turns, 2)
    assert [sum(part == IMAGE for part in one["content"]) for one in said] == [1, 0, 1]
    assert said[1]["content"] == [text("<image>")]


@given(st.lists(st.sampled_from(["<image>", "\n", " ", "a", "b\n"]), max_size=9), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_every_image_gets_one_place_and_no_word_is_lost(pieces: list[str], images: int) -> None:
    said = "".join(pieces)
    parts = content(said, images)
    assert sum(part == IMAGE for part in parts) == images
    kept = "".join(part.get("text", "") for part in parts)
    surplus = max(said.count("<image>") - images, 0)
    assert kept.count("<image>") == surplus
    assert "".join(kept.replace("<image>", "").split()) == "".join(
        said.replace("<image>", "").split()
    )


# --- what templates do ---------------------------------------------------------------------------

PLAIN = (
    "{% for m in messages %}{{ '[' + m['role'] + ']' }}{% for part in m['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
TALK = (Turn("user", "one?"), Turn("assistant", "1"), Turn("user", "two?"), Turn("assistant", "2"))


def answers(made: Template, turns: tuple[Turn, ...]) -> list[str]:
    rendering = made.render(turns)
    return [rendering.text[start:end] for start, end in rendering.answers]


def test_an_answer_without_an_end_of_turn_gets_the_end_token(folder: Path) -> None:
    made = template(folder, PLAIN)
    assert made.render(TALK).text == "[user]one?[assistant]1</s>[user]two?[assistant]2</s>"
    assert answers(made, TALK) == ["1</s>", "2</s>"]
    first = "[user]one?[assistant]"
    assert made.prompts(TALK) == [first, f"{first}1</s>[user]two?[assistant]"]


def test_an_answer_that_repeats_its_question_is_found_where_it_is_given(folder: Path) -> None:
    turns = (Turn("user", "1"), Turn("assistant", "1"), Turn("user", "1"), Turn("assistant", "1"))
    rendering = template(folder, PLAIN).render(turns)
    assert rendering.text == "[user]1[assistant]1</s>[user]1[assistant]1</s>"
    assert rendering.answers == ((18, 23), (41, 46))


def test_a_template_that_trims_gives_trimmed_answers(folder: Path) -> None:
    trimming = PLAIN.replace("part['text'] }}", "part['text'] | trim }}")
    assert answers(template(folder, trimming), (TALK[0], Turn("assistant", " 1\n"))) == ["1</s>"]
    assert answers(template(folder, PLAIN), (TALK[0], Turn("assistant", " 1\n"))) == [" 1\n</s>"]


def test_an_empty_answer_is_its_end_of_turn(folder: Path) -> None:
    assert answers(template(folder, PLAIN), (TALK[0], Turn("assistant", ""))) == ["</s>"]


def test_what_a_template_writes_before_an_answer_is_no_part_of_it(folder: Path) -> None:
    """As templates of models do that can think aloud: the prompt is then no prefix."""
    thinking = PLAIN.replace("{{ '[assistant]' }}", "{{ '[assistant](thought:' }}")
    made = template(folder, thinking)
    assert answers(made, TALK) == ["1</s>", "2</s>"]
    assert not made.render(TALK).text.startswith(made.prompts(TALK)[0])


def test_a_template_that_changes_answers_is_refused(folder: Path) -> None:
    hiding = PLAIN.replace("else part['text'] }}", "else part['text'].split('</t>')[-1] }}")
    made = template(folder, hiding)
    assert answers(made, TALK) == ["1</s>", "2</s>"]
    with pytest.raises(ConversationError, match="does not write the answers as they are"):
        made.render((TALK[0], Turn("assistant", "<t>hm</t>1")))


@pytest.mark.parametrize("times", [0, 2])
def test_a_template_that_drops_or_repeats_answers_is_refused(folder: Path, times: int) -> None:
    odd = "{% for m in messages %}" + "{{ m['content'][0]['text'] }}" * times + "{% endfor %}"
    with pytest.raises(ConversationError, match="leaves out or repeats"):
        template(folder, odd or " ").render(TALK)


def test_what_a_template_refuses_is_said_in_its_words(tiny_model: Callable[[str], Path]) -> None:
    with pytest.raises(ConversationError, match="roles must alternate"):
        template(tiny_model("gemma3")).render((TALK[0], TALK[2], TALK[1]))


def test_without_a_template_images_come_first_and_each_answer_ends(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    turns = (Turn("user", "See <image>"), *TALK[1:])
    rendering = template(folder).render(turns, 1)
    assert rendering.text == "<image>See \n1</s>two?\n2</s>"
    assert [rendering.text[a:b] for a, b in rendering.answers] == ["1</s>", "2</s>"]
    assert template(folder).prompts(turns, 1) == ["<image>See \n", "<image>See \n1</s>two?\n"]


def test_most_families_have_no_entry() -> None:
    assert family_of("llava") == Family()
    assert family_of("paligemma").prefix_attention


# --- batches -------------------------------------------------------------------------------------


def test_a_conversation_without_answers_has_nothing_marked(folder: Path) -> None:
    batch = collator(folder)([Conversation((Turn("user", "What?"),)), Conversation(TALK)])
    assert batch.answers.sum(dim=1).tolist() == [0, 2 * len(" 1") + 2]


def test_a_template_that_drops_an_image_is_refused(folder: Path) -> None:
    one = "{% set ns = namespace(left=1) %}{% for m in messages %}{% for part in m['content'] %}{% if part['type'] == 'image' and ns.left %}<image>{% set ns.left = 0 %}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"  # fmt: skip  # noqa: E501
    (folder / "chat_template.jinja").write_text(one)
    made = collator(folder)
    shown = tuple(pictures()[:2])
    made([Conversation((Turn("user", "<image>a"),), shown[:1])])
    with pytest.raises(ConversationError, match="1 image tokens for 2 images"):
        made([Conversation((Turn("user", "<image><image>a"),), shown)])


def test_tokens_that_merge_with_what_an_image_became_are_no_hindrance(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """Gemma 3 writes line breaks behind an image; tokenizers join them to those of the text."""
    folder = shutil.copytree(tiny_model("gemma3"), tmp_path / "model")
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["\n\n\n"])
    tokenizer.save_pretrained(folder)
    chat = folder / "chat_template.jinja"
    chat.write_text(chat.read_text().replace(" | trim", ""))
    turns = (Turn("user", "<image>\n\nWhat?"), Turn("assistant", "A cat."))
    batch = collator(folder)([Conversation(turns, tuple(pictures()[:1]))])
    ids = batch.inputs["input_ids"][0]
    assert tokenizer.convert_tokens_to_ids("\n\n\n") in ids
    assert tokenizer.decode(ids[batch.answers[0]]) == "A cat.<end_of_turn>"


def test_an_answer_keeps_its_first_word_where_tokens_begin_with_the_blank(folder: Path) -> None:
    """As in Llama's tokenizer: the blank that the template writes is part of the first token.

    Or a token of its own before a digit, which a model must say as well: it is learnt, too.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted({chr(code) for code in range(33, 127)} | {"\n", "▁", "▁A", "▁Yes"})
    pieces = [("<unk>", 0.0), *((piece, -float(len(letters)) / len(piece)) for piece in letters)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    made.decoder = decoders.Metaspace(prepend_scheme="first")
    made.add_special_tokens(["<pad>", "</s>", "<image>"])
    words = t.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>")
    words.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["image_token_index"] = words.convert_tokens_to_ids("<image>")
    (folder / "config.json").write_text(json.dumps(config))
    turns = (Turn("user", "<image>\nIs it?"), Turn("assistant", "A cat."), *TALK[2:])
    batch = collator(folder)([Conversation(turns, tuple(pictures()[:1]))])
    ids = batch.inputs["input_ids"][0][batch.answers[0]]
    tokens = ["▁A", "▁", "c", "a", "t", ".", "</s>", "▁", "2", "</s>"]
    assert words.convert_ids_to_tokens(ids) == tokens


def test_a_tokenizer_that_knows_no_positions_is_refused(folder: Path) -> None:
    vlm = VLM.load(ModelRef(str(folder)), "cpu")

    class Slow:
        is_fast = False

    vlm.processor.tokenizer = Slow()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Collator.of(vlm)


def test_a_template_that_writes_the_first_token_does_not_double_it(
    tiny_model: Callable[[str], Path],
) -> None:
    batch = collator(tiny_model("gemma3"))([Conversation(TALK)])
    begin = json.loads((tiny_model("gemma3") / "tokenizer_config.json").read_text())["bos_token"]
    ids = batch.inputs["input_ids"][0]
    tokenizer = t.AutoTokenizer.from_pretrained(tiny_model("gemma3"))
    assert tokenizer.decode(ids).count(begin) == 1

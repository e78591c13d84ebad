"""What may stand in a list, and which prompt a line takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.annotate import ToAnnotate, read_todo, write_todo
from visift.annotate.prompts import Prompts, own_prompts
from visift.errors import InputError
from visift.pool.record import Turn

TURNS_FAULT = '"conversations" is no list of turns.'
TEXTS = st.none() | st.text(st.characters(codec="utf-8"), min_size=1)


@given(
    st.lists(
        st.builds(
            ToAnnotate,
            uid=st.text(st.characters(codec="utf-8"), min_size=1),
            images=st.lists(
                st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=3
            ).map(tuple),
            content_key=TEXTS,
            rank=st.none() | st.integers(1, 2**40),
            reason=TEXTS,
            task=TEXTS,
            source=TEXTS,
            prompt=TEXTS,
            answer_type=TEXTS,
            conversations=st.lists(
                st.builds(
                    Turn,
                    st.sampled_from(("system", "user", "assistant")),
                    st.text(st.characters(codec="utf-8"), max_size=5),
                ),
                max_size=2,
            ).map(tuple),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda item: item.uid,
    )
)
def test_what_is_written_is_read_lowest_rank_first(
    tmp_path_factory: pytest.TempPathFactory, items: list[ToAnnotate]
) -> None:
    path = tmp_path_factory.mktemp("todo") / "to_annotate.jsonl"
    write_todo(path, items)
    assert read_todo(path) == sorted(items, key=lambda one: (one.rank is None, one.rank or 0))


def test_names_that_are_not_known_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('\n{"uid": 7, "image": ["a.png"], "group": 3, "task": ""}\n\n')
    assert read_todo(path) == [ToAnnotate("7", ("a.png",))]


@pytest.mark.parametrize("image", ["", '"image": null, ', '"image": [], ', '"image": "", '])
def test_a_record_may_be_without_images(image: str, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    turn = '{"from": "gpt", "value": "so", "weight": 1}'
    path.write_text(f'{{"uid": "1", {image}"conversations": [{turn}]}}')
    assert read_todo(path) == [ToAnnotate("1", (), conversations=(Turn("assistant", "so"),))]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "names nothing to annotate: it is empty."),
        ("[1]", "is no JSON object."),
        ("{", "is no JSON object."),
        ('{"uid": "1"}', '"image" names no image: a path, or a list of paths.'),
        ('{"uid": "1", "image": []}', '"image" names no image: a path, or a list of paths.'),
        ('{"uid": "1", "image": ["a", 3]}', '"image" names no image: a path, or a list of paths.'),
        ('{"image": "a"}', '"uid" is missing: a text was expected.'),
        ('{"uid": "1", "image": "a", "rank": "2"}', '"rank" is no whole number.'),
        ('{"uid": "1", "image": "a", "prompt": 2}', '"prompt" is no text.'),
        *(
            (f'{{"uid": "1", "image": "a", "conversations": {turns}}}', TURNS_FAULT)
            for turns in (
                "3",
                "[3]",
                '[{"from": "me", "value": "x"}]',
                '[{"from": [], "value": "x"}]',
                '[{"from": "gpt", "value": 3}]',
            )
        ),
        ('{"uid": "1", "image": "a"}\n{"uid": 1, "image": "b"}', 'line 1 is called "1", too.'),
    ],
)
def test_a_bad_line_is_named(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_todo(path)
    assert error.value.what == what


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("image_captioning", "caption"),
        ("OCR_VQA", "reading"),
        ("ChartQA", "figure"),
        ("scienceqa", "choice"),
        ("vqav2", "short"),
        ("vg", "short"),
        ("geometry", "reasoning"),
        ("cats", "conversation"),
        (None, "conversation"),
    ],
)
def test_the_first_template_whose_pattern_fits_the_task(task: str | None, name: str) -> None:
    assert Prompts.read().of(ToAnnotate("u", ("a",), task=task)).name == name


def test_a_question_and_an_answer_type_go_before_the_task() -> None:
    prompts = Prompts.read()
    given = ToAnnotate("u", ("a",), task="ocr", prompt="Why {task}?")
    assert prompts.of(given).name == "answer"
    assert prompts.text(given).endswith("Why {task}?")
    typed = ToAnnotate("u", ("a",), task="ocr", prompt="Why?", answer_type="caption")
    assert prompts.of(typed).name == "caption"
    assert prompts.text(typed).endswith("Why?")
    with pytest.raises(InputError, match='Did you mean "caption"'):
        prompts.of(ToAnnotate("u", ("a",), answer_type="captoin"))


def test_the_form_of_the_reply_is_told_where_it_has_one() -> None:
    prompts = Prompts.read()
    assert '{"turns": [' in prompts.text(ToAnnotate("u", ("a",), task="cats"))
    assert "{" not in prompts.text(ToAnnotate("u", ("a",), task="caption"))
    assert 'collection "cats"' in prompts.text(ToAnnotate("u", ("a",), task="cats"))


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(own_prompts().replace("otherwise: conversation", "otherwise: caption"))
    prompts = Prompts.read(path)
    assert (prompts.name, prompts.of(ToAnnotate("u", ("a",))).name) == (str(path), "caption")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("otherwise: conversation", "otherwise: convesation", '"otherwise" names no template'),
        ("given: answer", "givn: answer", 'unknown name "givn" in the file. Did you mean "given"?'),
        ("reply: answer", "reply: text", 'template "caption": reply is neither'),
        ('"{task}"', '"{taks}"', 'template "conversation" says {taks}. Did you mean "task"?'),
        ("    tasks: []", "    tasks: 3\n    ask: x", 'unknown name "ask" in answer.'),
        ("templates:", "templates: [", "is not valid YAML"),
        ("system: |", "system: [1]\nas_turns: |", "system is no text"),
    ],
)
def test_a_mistake_in_prompts_is_named(old: str, new: str, what: str, tmp_path: Path) -> None:
    assert old in own_prompts()
    path = tmp_path / "mine.yaml"
    path.write_text(own_prompts().replace(old, new, 1))
    with pytest.raises(InputError) as error:
        Prompts.read(path)
    assert what in error.value.what

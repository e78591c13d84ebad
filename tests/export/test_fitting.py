"""Records a trainer would fail on: found before anything is written, repaired only on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.pools import export_all, pool_of, several_turns
from helpers import talk
from visift.errors import InputError
from visift.export.exporter import ExportOptions
from visift.export.fitting import mend
from visift.export.trainers import TRAINERS, check_export, write_export
from visift.pool.record import ImageRef, Record, Turn

BOTH = pytest.mark.parametrize("trainer", ["llama-factory", "trl"])
LITERAL = talk("what does <image> mean in HTML?", "nothing.")
LACKING = talk("what is it?", "a dot.", image="a/0.png")
TWICE = talk("<image>\nand <image> again?", "a dot.", image="a/0.png")
IN_SYSTEM = several_turns(
    ("system", "see <image>"), ("human", "what?"), ("gpt", "that"), image="a/0.png"
)
SOUND = talk("<image>\nwhat is it?", "a dot.", image="a/1.png")


def texts(record: Record) -> list[str]:
    return [turn.text for turn in record.turns]


@BOTH
def test_nothing_is_written_when_a_record_does_not_fit(tmp_path: Path, trainer: str) -> None:
    pool = pool_of(tmp_path, SOUND, LACKING, TWICE, LITERAL, LACKING, IN_SYSTEM)
    with pytest.raises(InputError) as caught:
        export_all(pool, trainer, tmp_path / "x")
    title = TRAINERS[trainer].title
    assert str(caught.value) == (
        f'{title} would fail on 5 records: 2 × 0 "<image>" tags for 1 image (first: pool.json#1), '
        '1 × 2 "<image>" tags for 1 image (first: pool.json#2), '
        '1 × 1 "<image>" tag for 0 images (first: pool.json#3), '
        '1 × a "<image>" tag in the system turn (first: pool.json#5).\n'
        f"visift export RUN_DIR --export {trainer}, where --on-mismatch fix repairs tags, "
        "--on-mismatch drop leaves them out, "
        "--escape-literal-tags is for text that only mentions a tag."
    )
    assert not (tmp_path / "x").exists()


def test_before_a_selection_the_way_is_longer(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_export("trl", pool_of(tmp_path, LACKING), np.arange(1))
    assert caught.value.fix is not None
    assert caught.value.fix.startswith(
        "Select with --export llava, then: visift export RUN_DIR --export trl, where "
    )


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([("gpt", "hi"), ("human", "ho")], "turns that do not alternate between user and"),
        ([("human", "a"), ("human", "b")], "turns that do not alternate"),
        ([("human", "a"), ("system", "b")], "turns that do not alternate"),
        ([("human", "a"), ("gpt", "b"), ("human", "c")], "no answer at the end"),
        ([("system", "a")], "no answer at the end"),
        ([("human", "a <video>"), ("gpt", "b")], 'a "<video>" tag with nothing behind it'),
        ([("human", "a"), ("gpt", "<audio>")], 'a "<audio>" tag with nothing behind it'),
    ],
)  # fmt: skip
def test_what_llama_factory_alone_would_stop_at_or_leave_out(
    tmp_path: Path, turns: list[tuple[str, str]], said: str
) -> None:
    pool = pool_of(tmp_path, SOUND, several_turns(*turns))
    check_export("trl", pool, np.arange(2))
    with pytest.raises(InputError, match=f"fail on 1 record: 1 × {said}.*first: pool.json#1"):
        check_export("llama-factory", pool, np.arange(2))
    check_export("llama-factory", pool, np.array([0]))


def test_many_reasons_are_cut_short(tmp_path: Path) -> None:
    records = [talk("<image>" * n, "x", image="a/0.png") for n in (0, 2, 3, 4, 5, 6)]
    with pytest.raises(InputError, match=r"pool.json#3\), and 2 other reasons\."):
        check_export("trl", pool_of(tmp_path, *records), np.arange(6))


@pytest.mark.parametrize(
    ("record", "fixed", "escaped"),
    [
        (LACKING, ["<image>\nwhat is it?", "a dot."], ["what is it?", "a dot."]),
        (TWICE, ["<image>\nand  again?", "a dot."], ["<image>\nand < image > again?", "a dot."]),
        (
            LITERAL,
            ["what does  mean in HTML?", "nothing."],
            ["what does < image > mean in HTML?", "nothing."],
        ),
        (
            IN_SYSTEM,
            ["see ", "<image>\nwhat?", "that"],
            ["see < image >", "what?", "that"],
        ),
        (
            talk("is this <image>?", "<image> and <video>\nno", image="a/0.png"),
            ["is this <image>?", " and no"],
            ["is this <image>?", "< image > and < video >\nno"],
        ),
        (talk("<ima<video>ge>", "<image<image>>"), ["<ima ge>", "<image >"],
         ["<ima< video >ge>", "<image< image >>"]),
        (
            talk("draw it", "<image>", image="a/0.png"),
            ["draw it", "<image>"],
            ["draw it", "<image>"],
        ),
    ],
)  # fmt: skip
def test_repairs(tmp_path: Path, record: Any, fixed: list[str], escaped: list[str]) -> None:
    said = pool_of(tmp_path, record).record(0)
    exporter = TRAINERS["llama-factory"]
    assert texts(mend(said, exporter, ExportOptions(on_mismatch="fix"))) == fixed
    assert texts(mend(said, exporter, ExportOptions(escape_literal_tags=True))) == escaped


PIECES = st.sampled_from(["<image>", "<video>", "<image", ">", "\n", "a", " ", "< image >"])
TURNS = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), st.lists(PIECES).map("".join)),
    min_size=1,
    max_size=4,
)


@given(TURNS, st.integers(0, 3), st.booleans())
def test_after_a_repair_every_image_has_one_tag(
    turns: list[tuple[Any, str]], images: int, escape: bool
) -> None:
    told = tuple(Turn(role, text) for role, text in turns)
    record = Record("x#0", told, (ImageRef("a.png"),) * images, None, None, "", b"")
    options = ExportOptions(on_mismatch="fix", escape_literal_tags=escape)
    for name in ("trl", "llama-factory"):
        found = mend(record, TRAINERS[name], options)
        tags = sum(turn.text.count("<image>") for turn in found.turns if turn.role != "system")
        has_user = any(turn.role == "user" for turn in found.turns)
        assert tags == images or (tags < images and not has_user)
        if tags == images:
            assert TRAINERS["trl"].fault(found) is None
        sound = TRAINERS[name].fault(record) is None
        assert not sound or found == record


@BOTH
def test_left_out_of_every_arm_and_said(tmp_path: Path, trainer: str) -> None:
    pool = pool_of(tmp_path, LACKING, SOUND, LITERAL)
    folder, told = export_all(pool, trainer, tmp_path / "x", on_mismatch="drop")
    assert told == [
        'Left out: 2 records: 1 × 0 "<image>" tags for 1 image (first: pool.json#0), '
        '1 × 1 "<image>" tag for 0 images (first: pool.json#2).'
    ]
    said = (folder / "RUN.md").read_text("utf-8")
    assert told[0].replace("<image>", r"\<image\>") in said  # Markdown shows tags that way
    assert "| `subset` | 1 | 0 | 1 | the selection |" in said


@BOTH
def test_repaired_and_said(tmp_path: Path, trainer: str) -> None:
    pool = pool_of(tmp_path, LACKING, SOUND, TWICE, several_turns(("gpt", "x"), image="a/2.png"))
    _, told = export_all(pool, trainer, tmp_path / "x", on_mismatch="fix")
    unfit = {"llama-factory": "turns that do not alternate between user and assistant"}
    reason = unfit.get(trainer, '0 "<image>" tags for 1 image')
    assert told == [
        f"Left out: 1 record: 1 × {reason} (first: pool.json#3).",
        "Tags were added, taken out or escaped in 2 records.",
    ]


@BOTH
def test_escaping_alone_leaves_missing_tags_an_error(tmp_path: Path, trainer: str) -> None:
    pool = pool_of(tmp_path, LITERAL, SOUND, LACKING)
    with pytest.raises(InputError, match="fail on 1 record: 1 × 0 "):
        export_all(pool, trainer, tmp_path / "x", escape_literal_tags=True)
    _, told = export_all(
        pool, trainer, tmp_path / "x", escape_literal_tags=True, on_mismatch="drop"
    )
    assert len(told) == 2


def test_arms_that_lose_records_unevenly_say_so(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, SOUND, LACKING, SOUND)
    arms = {"subset": np.array([0, 1]), "control": np.array([0, 2])}
    options = ExportOptions(on_mismatch="drop")
    folder = write_export("trl", pool, arms, tmp_path / "x", ranked=False, options=options)
    assert "The arms have 1 / 2 records: steps differ with them;" in (folder / "RUN.md").read_text(
        "utf-8"
    )


SAID = st.lists(
    st.sampled_from(["<image>", "<im", "age>", "<audio>", "\n", " ", "é", "< image >", "\\"]),
    max_size=5,
).map("".join)
TALK = st.lists(
    st.tuples(st.sampled_from(["system", "human", "gpt"]), SAID), min_size=1, max_size=4
)
RECORDS = st.lists(st.tuples(TALK, st.integers(0, 2)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(["fix", "drop"]), st.booleans())
def test_whatever_a_pool_says_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[list[tuple[str, str]], int]],
    how: str,
    escape: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    said = [several_turns(*turns, image=["a/0.png"] * count) for turns, count in records]
    pool = pool_of(folder, *said)
    for trainer in ("llama-factory", "trl"):
        export_all(pool, trainer, folder / trainer, on_mismatch=how, escape_literal_tags=escape)

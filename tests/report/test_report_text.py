"""Data-set text made fit to be shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.report.text import (
    excerpt,
    in_markdown,
    label,
    opening,
    score_text,
    share,
    short_path,
    visible,
)

#: With halves of surrogate pairs, as file names that are no UTF-8 bring them.
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x00\x1b[31m\x7f\x85", "⟨U+0000⟩⟨U+001B⟩[31m⟨U+007F⟩⟨U+0085⟩"),
        ("\u202egnp.exe\u2066", "⟨U+202E⟩gnp.exe⟨U+2066⟩"),
        ("a\u2028b", "a⟨U+2028⟩b"),
        ("\udcff", "⟨U+DCFF⟩"),
        ("שלום, 你好, 👩\u200d🔬", "שלום, 你好, 👩\u200d🔬"),
    ],
)
def test_what_acts_is_named(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY_TEXT)
def test_what_is_shown_can_always_be_written(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert visible(shown) == shown


def test_a_long_text_says_what_is_missing() -> None:
    assert excerpt("a" * 10, 4) == "aaaa … (6 more characters)"
    assert excerpt("aaaa", 4) == "aaaa"


@given(ANY_TEXT, st.integers(3, 40))
def test_names_and_openings_are_one_line_of_a_length(text: str, limit: int) -> None:
    for line in (label(text, limit), opening(text, limit)):
        assert len(line) <= limit
        assert line == " ".join(line.split())


def test_the_middle_of_a_long_name_is_left_out() -> None:
    assert label("coco/train2017/000000123456.jpg", 20) == "coco/train…23456.jpg"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nlvr_statement", r"nlvr\_statement"),
        ("a|b\nc", r"a\|b c"),
        ("<img src=x>", r"\<img src=x\>"),
        ("[x](javascript:1)", r"\[x\](javascript:1)"),
        ("https://a.b www.c.d", r"https\://a.b www\.c.d"),
        ("`code` **b** ~~c~~ $x$ &amp; @me #1", None),
    ],
)
def test_markdown_means_only_itself(text: str, shown: str | None) -> None:
    if shown is None:
        shown = r"\`code\` \*\*b\*\* \~\~c\~\~ \$x\$ \&amp; \@me \#1"
    assert in_markdown(text) == shown


def test_numbers_read_as_a_person_says_them() -> None:
    assert [share(1, 8), share(1, 100_000), share(0, 5), share(1, 0)] == [
        "12.5\xa0%",
        "< 0.1\xa0%",
        "0.0\xa0%",
        "",
    ]
    assert [score_text(-0.0609), score_text(1234567.0)] == ["−0.0609", "1.23e+06"]


def test_the_folders_of_a_machine_are_not_named() -> None:
    assert short_path("/home/somebody/models/llava/checkpoint-9") == "…/llava/checkpoint-9"
    assert short_path("llava-hf/llava-1.5-7b-hf") == "llava-hf/llava-1.5-7b-hf"

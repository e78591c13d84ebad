"""How a record is shown to a scorer: one turn of a user, the query last."""

from __future__ import annotations

import pytest

from visift.annotate.capabilities import CAPABILITIES, STYLES
from visift.errors import InputError
from visift.pool.record import Role, Turn
from visift.signals.rating_prompts import (
    CAPABILITY,
    QUERY,
    STYLE_QUERY,
    dialogue,
    must_hold,
    rating_query,
    rating_turns,
    style_query,
    with_reply,
)

ROLES: dict[str, Role] = {"u": "user", "a": "assistant", "s": "system"}


def turns(*said: str) -> list[Turn]:
    """Turns written as "u:text"."""
    return [Turn(ROLES[one[0]], one[2:]) for one in said]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (["u:What?", "a:That."], "Question:What? Answer:That."),
        (
            ["u:<image>\nWhat?", "a:That.", "u:And?", "a:This."],
            "Question:<image>\nWhat? Answer:That.\nQuestion:And? Answer:This.",
        ),
        (["u:What <image> is?", "a:A"], "Question:What <image> is? Answer:A"),
        (["u:Hint: say A or B.", "a:A"], "Hint: say A or B. Answer:A"),
        (["u:<image>\nHint: say A.", "a:A"], "<image>\nHint: say A. Answer:A"),
        (["u:Question: Why?", "a:So."], "Question:Why? Answer:So."),
        (["u:<image>\nQuestion: Why?", "a:So."], "Question:<image>\nWhy? Answer:So."),
        (["u:Question: tell it on.", "a:So."], "Question:tell it on. Answer:So."),
        (["u:tions: Use it.", "a:So."], "Question:tions: Use it. Answer:So."),
        (["s:Be brief.", "u:What?", "a:That."], "Be brief.\nQuestion:What? Answer:That."),
        (["u:One.", "u:Two.", "a:A"], "Question:One.\nQuestion:Two. Answer:A"),
        (["a:First.", "a:Then.", "u:Why?"], "Answer:First.\nAnswer:Then.\nQuestion:Why?"),
        (
            ["u:<image>\nWhat?", "a:An <image> tag."],
            "Question:<image>\nWhat? Answer:An < image> tag.",
        ),
        ([], ""),
    ],
)
def test_a_dialogue_as_one_text(said: list[str], text: str) -> None:
    assert dialogue(turns(*said)) == text


def test_the_query_stands_behind_the_dialogue_in_the_turn_of_a_user() -> None:
    asked = rating_turns(turns("u:What?", "a:That."), "How good?")
    assert asked == (Turn("user", "Question:What? Answer:That.\nHow good?"),)
    assert with_reply(asked, "4") == (*asked, Turn("assistant", "4"))


def test_capabilities_are_named_by_their_keys_in_words() -> None:
    assert rating_query("Rate {capability}.", "in_context_learning") == "Rate in context learning."


def test_queries_differ_at_their_end_only() -> None:
    queries = [rating_query(QUERY, key) for key in CAPABILITIES]
    shared = QUERY.removesuffix(CAPABILITY)
    assert all(one.startswith(shared) for one in queries)
    assert [one[len(shared) :].replace(" ", "_") for one in queries] == list(CAPABILITIES)


def test_the_styles_stand_in_brackets() -> None:
    assert f"[{', '.join(STYLES)}]" in style_query(STYLE_QUERY, STYLES)


def test_a_query_must_say_what_it_asks_about() -> None:
    with pytest.raises(InputError, match=r"does not say where \{capability\} belongs"):
        must_hold("How good is it?", CAPABILITY)
    must_hold(QUERY, CAPABILITY)

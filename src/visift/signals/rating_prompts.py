"""How a record is shown to a scorer or a styler, and what is asked about it.

One turn of a user holds the whole dialogue, its images where they stand in the record, and then
the query. What differs from query to query comes last, so that all of a record share what they
begin with. The form is mmSSR's; the wording of the queries is ours, since the official one is not
established. It may be changed in one place: the field `query` of the signals.
"""

from __future__ import annotations

from collections.abc import Sequence

from visift.annotate.capabilities import words
from visift.errors import InputError
from visift.pool.record import IMAGE_TAG, Turn

CAPABILITY, STYLES = "{capability}", "{styles}"

#: What a scorer is asked, see `rating_query`.
QUERY = (
    "How helpful are the questions and answers above for training a model in one capability? "
    "Rate it on a scale from 0 (no help) to 5 (very helpful). "
    f"Reply with the number alone. The capability: {CAPABILITY}"
)

#: What a styler is asked, see `style_query`.
STYLE_QUERY = (
    "Which styles do the questions and answers above have? Choose from the candidates, the main "
    "style first. Reply with their names alone, with commas between them. "
    f"The candidates: [{STYLES}]"
)

_QUESTION, _ANSWER, _HINT = "Question:", "Answer:", "Hint:"


def rating_query(query: str, capability: str) -> str:
    """Return a query about one capability, named by its key with blanks for underscores."""
    return query.replace(CAPABILITY, words(capability))


def style_query(query: str, styles: Sequence[str]) -> str:
    """Return a query about the styles of a record, the candidates with commas between them."""
    return query.replace(STYLES, ", ".join(styles))


def must_hold(query: str, mark: str) -> None:
    """Raise `InputError` for a query without the mark that stands for what it asks about."""
    if mark not in query:
        raise InputError(
            f"the query does not say where {mark} belongs: {query[:80]!r}.",
            fix=f"Write {mark} into it once, as late as it can stand.",
        )


def dialogue(turns: Sequence[Turn]) -> str:
    """Return what is said in a record as one text.

    Every pair reads `Question:` question, a blank, `Answer:` answer; a line break stands between
    pairs. A question that says `Question: ` itself does not say it twice; one that begins with
    `Hint:` stays as it is. What a system turn says stands before all [ours].

    Tags of images stay in the questions. Anywhere else `<image>` is no tag, and gets a blank so
    that it does not become one here.
    """
    text = ""
    for number, turn in enumerate(turns):
        if turn.role == "user":
            text += "\n" * bool(text) + _question(turn.text)
        elif turn.role == "assistant":
            follows = number > 0 and turns[number - 1].role == "user"
            gap = " " if follows else "\n" * bool(text)
            text += f"{gap}{_ANSWER}{_untagged(turn.text)}"
        else:
            text += "\n" * bool(text) + _untagged(turn.text)
    return text


def rating_turns(turns: Sequence[Turn], query: str) -> tuple[Turn, ...]:
    """Return the one turn in which a record is shown and a query asked.

    Args:
        turns: of the record.
        query: see `rating_query` and `style_query`.
    """
    return (Turn("user", f"{dialogue(turns)}\n{query}"),)


def with_reply(turns: Sequence[Turn], text: str) -> tuple[Turn, ...]:
    """Return turns with a reply, as training shows them."""
    return (*turns, Turn("assistant", text))


def _question(text: str) -> str:
    lead, rest = _leading_tags(text)
    if rest.startswith(_HINT):
        return text
    return f"{_QUESTION}{lead}{rest.removeprefix(f'{_QUESTION} ')}"


def _leading_tags(text: str) -> tuple[str, str]:
    """Split a question into the image tags it begins with, and what it says."""
    rest = text
    while (after := rest.lstrip()).startswith(IMAGE_TAG):
        rest = after.removeprefix(IMAGE_TAG)
    rest = rest.lstrip() if len(rest) < len(text) else rest
    return text[: len(text) - len(rest)], rest


def _untagged(text: str) -> str:
    return text.replace(IMAGE_TAG, f"{IMAGE_TAG[0]} {IMAGE_TAG[1:]}")

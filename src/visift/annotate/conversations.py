"""Texts of replies as conversations: questions with answers, or answers to a known question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from visift.annotate.records import Pairs, checked
from visift.annotate.replies import Reply, unfenced
from visift.annotate.todo import ToAnnotate

if TYPE_CHECKING:
    from visift.annotate.prompts import Template


class _Turn(msgspec.Struct):
    question: str
    answer: str


class _Turns(msgspec.Struct):
    turns: list[_Turn]


def conversation(item: ToAnnotate, template: Template, reply: Reply) -> tuple[Pairs, str | None]:
    """Return what a reply says about a line, and why it cannot be used, if so."""
    if reply.text is None:
        return (), reply.fault or "the reply is empty"
    if template.reply == "answer":
        return checked(item, [(item.prompt or template.question or "", reply.text)])
    try:
        said = msgspec.json.decode(unfenced(reply.text), type=_Turns)
    except msgspec.ValidationError:
        return (), "the reply has not the form asked for: a list of questions with answers"
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return (), "the reply is not the JSON asked for"
    return checked(item, [(turn.question, turn.answer) for turn in said.turns])

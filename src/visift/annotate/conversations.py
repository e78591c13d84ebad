"""Texts of replies as conversations: questions with answers, or answers to a known question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from visift.annotate.prompts import Template
from visift.annotate.records import Pairs, checked
from visift.annotate.replies import Reply
from visift.annotate.todo import ToAnnotate

#: What a reply must be where a template asks for turns.
TURNS_SCHEMA: Mapping[str, Any] = {
    "title": "conversation",
    "type": "object",
    "properties": {
        "turns": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
                "required": ["question", "answer"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["turns"],
    "additionalProperties": False,
}

# Models put JSON into a block of Markdown, whatever they are told.
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


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
    fenced = _FENCED.fullmatch(reply.text)
    try:
        said = msgspec.json.decode(fenced[1] if fenced else reply.text, type=_Turns)
    except msgspec.ValidationError:
        return (), "the reply has not the form asked for: a list of questions with answers"
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return (), "the reply is not the JSON asked for"
    return checked(item, [(turn.question, turn.answer) for turn in said.turns])

"""A record before a teacher, and what the teacher says: capability scores and answer styles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from visift.annotate.replies import Reply, unfenced
from visift.pool.paths import shortened
from visift.pool.record import IMAGE_TAG, Turn

#: A rating is one of these whole numbers.
LOWEST, HIGHEST = 0, 5

_SPEAKERS = {"system": "[system]", "user": "[user]", "assistant": "[assistant]"}
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Rating:
    """What a teacher says about one record.

    Attributes:
        scores: 0 to 5, by capability.
        styles: the first one has the most answers; none where they were not asked for.
    """

    scores: Mapping[str, int]
    styles: tuple[str, ...]


def dialogue(turns: Sequence[Turn], images: int) -> str:
    """Return the turns of a record as a teacher reads them, with images numbered in their places.

    Args:
        turns: as the record has them; images without a place of their own stand first.
        images: how many there are; what looks like a further one is text.
    """
    numbers = iter(range(1, images + 1))

    def numbered(tag: re.Match[str]) -> str:
        number = next(numbers, None)
        return tag[0] if number is None else f"[image {number}]"

    parts = []
    for turn in turns:
        text = turn.text
        if turn.role == "user":
            text = re.sub(re.escape(IMAGE_TAG), numbered, text)
        parts.append(f"{_SPEAKERS[turn.role]}\n{text.strip()}")
    unplaced = [f"[image {number}]" for number in numbers]
    return "\n\n".join([*unplaced, *parts])


def reply_schema(capabilities: Sequence[str], styles: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of a reply; `styles` are asked for where there are any."""
    # An enumeration, as not every endpoint that keeps to schemas knows minimum and maximum.
    score = {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
    properties: dict[str, Any] = {"scores": _object(dict.fromkeys(capabilities, score))}
    if styles:
        label = {"type": "string", "enum": list(styles)}
        properties["styles"] = {"type": "array", "items": label, "minItems": 1}
    return {"title": "rating", **_object(properties)}


def form(capabilities: Sequence[str], styles: Sequence[str]) -> str:
    """Return the form of a reply in words, for endpoints that know no schema."""
    score = f"a whole number from {LOWEST} to {HIGHEST}"
    said: dict[str, Any] = {"scores": dict.fromkeys(capabilities, score)}
    if styles:
        said["styles"] = ["a style", "..."]
    return f"Return one JSON object of this form and nothing else:\n{json.dumps(said)}"


def rating(
    reply: Reply, capabilities: Sequence[str], styles: Sequence[str]
) -> tuple[Rating | None, str | None]:
    """Return what a reply says, or why it cannot be used.

    Nothing is guessed: a number that is missing, not whole or outside of 0 to 5, an unknown name
    or an unknown style makes the whole reply useless.

    Args:
        reply: of a teacher.
        capabilities: all that were asked for.
        styles: all that may be named; without any, none were asked for.
    """
    if reply.text is None:
        return None, reply.fault or "the reply is empty"
    try:
        said = msgspec.json.decode(unfenced(reply.text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None, "the reply is not the JSON asked for"
    asked = ("scores", "styles") if styles else ("scores",)
    fault = _names_fault(said, asked) or _scores_fault(said["scores"], capabilities)
    if fault is None and styles:
        fault = _styles_fault(said["styles"], styles)
    if fault is not None:
        return None, fault
    scores = {key: said["scores"][key] for key in capabilities}
    return Rating(scores, tuple(dict.fromkeys(said.get("styles", ())))), None


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    required = list(properties)
    shape = {"type": "object", "properties": dict(properties), "required": required}
    return {**shape, "additionalProperties": False}


def _names_fault(said: Any, names: Sequence[str]) -> str | None:
    """Return why an object has not exactly the names asked for."""
    if not isinstance(said, dict):
        return "the reply has not the form asked for"
    missing = [name for name in names if name not in said]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        return f"the reply lacks: {', '.join(missing[:_NAMED])}{more}"
    extra = next((name for name in said if name not in names), None)
    return None if extra is None else f"the reply says more than was asked for: {shortened(extra)}"


def _scores_fault(said: Any, capabilities: Sequence[str]) -> str | None:
    fault = _names_fault(said, capabilities)
    if fault is not None:
        return fault
    for key in capabilities:
        score = said[key]
        whole = isinstance(score, int) and not isinstance(score, bool)
        if not (whole and LOWEST <= score <= HIGHEST):
            shown = shortened(json.dumps(score))
            return f"a score is no whole number from {LOWEST} to {HIGHEST}: {key} is {shown}"
    return None


def _styles_fault(said: Any, styles: Sequence[str]) -> str | None:
    if not isinstance(said, list) or not said:
        return "the reply names no style"
    strange = [style for style in said if style not in styles]
    if not strange:
        return None
    shown = strange[0] if isinstance(strange[0], str) else json.dumps(strange[0])
    return f"a style that is not in the list: {shortened(shown)}"

"""What an endpoint sends back, taken apart: a text, or a sentence why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from visift.pool.paths import shortened

# What a reply that did not end by itself says, in our words.
_UNFINISHED = {
    "length": "cut off at the token limit",
    "content_filter": "held back by the endpoint's content filter",
}

# Models put JSON into a block of Markdown, whatever they are told.
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply.

    Attributes:
        text: what the model says; None for a reply that cannot be used.
        fault: why it cannot, a kind and perhaps details after a colon; None otherwise.
        tokens_in: tokens the endpoint counted in the request, if it says so.
        tokens_out: likewise in the reply.
        model: the model that the endpoint says it is from.
    """

    text: str | None = None
    fault: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    model: str | None = None


def read_reply(body: bytes) -> Reply:
    """Return what the body of a successful response says; never raises."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        start = shortened(body[:60].decode("utf-8", "replace"))
        return Reply(None, f"the reply is no JSON: it starts with {start!r}")
    if not isinstance(said, dict):
        return Reply(None, f"the reply is no object: a {type(said).__name__}")
    text, fault = _content(said)
    usage = said.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    model = said.get("model")
    return Reply(
        text,
        fault,
        _count(counts.get("prompt_tokens")),
        _count(counts.get("completion_tokens")),
        model if isinstance(model, str) else None,
    )


def unfenced(text: str) -> str:
    """Return the JSON of a text, which may be a block of Markdown as a whole."""
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text


def error_text(body: bytes) -> str:
    """Return what the body of an error says, on one line and never long."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = body[:400].decode("utf-8", "replace")
    while isinstance(said, dict):
        said = next((said[name] for name in ("error", "message", "detail") if name in said), "")
    return shortened(" ".join(str(said).split())) if said else ""


def _content(said: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the text of a reply, or why there is none."""
    if said.get("error"):
        return None, f"the reply is an error: {error_text(orjson.dumps(said['error']))}"
    choices = said.get("choices")
    if not isinstance(choices, list) or not choices:
        return None, "no choices in the reply"
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return None, "no message in the reply"
    if message.get("refusal"):
        return None, f"refused by the model: {shortened(str(message['refusal']))}"
    unfinished = _UNFINISHED.get(str(choice.get("finish_reason")))
    if unfinished is not None:
        return None, unfinished
    text = _text(message.get("content"))
    if text is None:
        return None, "the content of the reply is no text"
    return (text, None) if text.strip() else (None, "the reply is empty")


def _text(content: Any) -> str | None:
    """Return a content that is a text, nothing, or a list of text parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    texts = [part.get("text", "") for part in content if isinstance(part, dict)]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None


def _count(number: Any) -> int | None:
    ours = isinstance(number, int) and not isinstance(number, bool) and number >= 0
    return number if ours else None

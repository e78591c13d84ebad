"""One request to a chat endpoint, before it has a host: what is said, and its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import orjson

#: Of most tokenisers, on English text.
_BYTES_PER_TOKEN = 4
#: Parameters that are set otherwise, or that would change the shape of a reply.
RESERVED = ("model", "messages", "response_format", "stream", "n")
_LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all requests of a run.

    Attributes:
        model: name of the model, as the endpoint calls it.
        max_tokens: tokens of one reply at most.
        parameters: other parameters of the request, such as `temperature`.
        max_side: pixels above which an image is scaled down; 0 for never.
        schema: send the JSON schema of a reply where there is one.
    """

    model: str
    max_tokens: int = 1024
    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_side: int = 2048
    schema: bool = True

    def to_body(self) -> dict[str, Any]:
        """Return these as the fields of a request; a parameter that is None is left out."""
        own = {} if "max_completion_tokens" in self.parameters else {"max_tokens": self.max_tokens}
        every = {"model": self.model, **own, **self.parameters}
        return {name: value for name, value in every.items() if value is not None}

    @property
    def longest_reply(self) -> int:
        """Tokens that a reply can have, in whatever way that is said."""
        stated = [self.parameters.get(name) for name in _LIMITS]
        return next((n for n in stated if isinstance(n, int)), self.max_tokens)


@dataclass(frozen=True, slots=True)
class Request:
    """What one model is asked about one set of images.

    Attributes:
        system: the instruction above the conversation; may be empty.
        text: what is asked.
        images: paths relative to the image root, in order.
        schema: JSON schema that the reply must have, or None for free text; with a name in
            `title`.
    """

    system: str
    text: str
    images: tuple[str, ...]
    schema: Mapping[str, Any] | None = None

    def body(self, settings: Settings, urls: Sequence[str]) -> dict[str, Any]:
        """Return the JSON of the request, with one URL an image."""
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": url}} for url in urls
        ]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [*parts, {"type": "text", "text": self.text}]}
        ]
        if self.system.strip():
            messages.insert(0, {"role": "system", "content": self.system.strip()})
        body = {**settings.to_body(), "messages": messages}
        if self.schema is not None and settings.schema:
            named = {"name": self.schema["title"], "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def corrected(self, fault: str) -> Request:
        """Return this with a word on why the last reply to it could not be used."""
        again = f"An earlier reply could not be used: {fault}. Keep to the form asked for."
        return replace(self, text=f"{self.text}\n\n{again}")

    def key(self, settings: Settings, digests: Sequence[str]) -> str:
        """Return its identity: the same question about the same bytes has the same reply.

        Args:
            settings: of the run; where the endpoint is does not matter.
            digests: of the bytes of every image.
        """
        said = [self.body(settings, digests), settings.max_side]
        return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

    def tokens(self, tokens_per_image: int) -> int:
        """Return about how many tokens are sent, a quarter of the bytes of all text."""
        n_bytes = len(self.system.strip().encode()) + len(self.text.encode())
        return -(-n_bytes // _BYTES_PER_TOKEN) + tokens_per_image * len(self.images)

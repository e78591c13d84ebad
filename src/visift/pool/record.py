"""One conversation as a pool file states it, and its identity.

A record is known by two names. `uid` says where it stands and is for look-up only. `content_hash`
says what it is: the same in any file, order or container, and the only thing ties, draws and
`visift apply` rely on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

Role = Literal["system", "user", "assistant"]

#: How LLaVA-style files name the roles; the chat names are accepted as well.
ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}

HASH_BYTES = 16

#: Where an image belongs in a text; literal in any other place, trainers count it all the same.
IMAGE_TAG = "<image>"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; `text` is untouched, with `<image>` placeholders where the file has them."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image as a record names it: `path` relative to image root number `root` of the pool."""

    path: str
    root: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation, read when asked for.

    Attributes:
        uid: `<path relative to the pool root>#<row>`, prefixed `<name>:` in a joined pool.
        turns: the messages in order.
        images: the images in order; empty for a text-only record.
        source: data set the record comes from, or None.
        task: what the record trains, or None.
        content_hash: 32 lower-case hexadecimal digits, see `content_hash`.
        raw: the exact bytes of the record in its file.
    """

    uid: str
    turns: tuple[Turn, ...]
    images: tuple[ImageRef, ...]
    source: str | None
    task: str | None
    content_hash: str
    raw: bytes


def content_hash(turns: Iterable[tuple[str, str]], images: Iterable[str]) -> bytes:
    r"""Return the 16-byte BLAKE2b identity of a conversation.

    Hashed are, in UTF-8, `role \x1f text \x1e` for every turn, then `\x1d`, then `path \x1e` for
    every image.

    Args:
        turns: (role, text) pairs, roles as in `Role`, texts untouched.
        images: image paths as the record writes them.
    """
    parts = [f"{role}\x1f{text}\x1e" for role, text in turns]
    parts.append("\x1d")
    parts.extend([f"{path}\x1e" for path in images])
    return blake2b("".join(parts).encode(), digest_size=HASH_BYTES).digest()


def conversation_hash(turns: Iterable[tuple[str, str]]) -> bytes:
    """Return the 16-byte BLAKE2b of what is said: equal after NFC and collapsing white space.

    Together with the same images it makes an exact duplicate.
    """
    # With blanks around the marks, one pass over the whole strips every text as well.
    said = " ".join([f"\0{role}\0 {text}" for role, text in turns])
    said = said if said.isascii() else unicodedata.normalize("NFC", said)
    return blake2b(" ".join(said.split()).encode(), digest_size=HASH_BYTES).digest()

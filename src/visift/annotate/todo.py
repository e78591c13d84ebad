"""The list of what is to be annotated: `to_annotate.jsonl`, one object a line.

    {"uid": "photos#12", "image": "day1/0012.jpg", "rank": 1, "task": "ocr", "reason": "…"}

`uid` and `image` (a path relative to the image root, or a list of them) must be there; names that
are not known are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from visift.errors import InputError
from visift.files import disk_errors, write_atomically
from visift.pool.paths import shortened

_TEXTS = ("content_key", "reason", "task", "source", "prompt", "answer_type")


@dataclass(frozen=True, slots=True)
class ToAnnotate:
    """One set of images that wants a conversation.

    Attributes:
        uid: what the finished record is called; no two lines share one.
        images: paths relative to the image root, in order; at least one.
        content_key: identity of what was selected, kept for whoever wrote the list.
        rank: place in the selection, from 1; lower ranks are asked for first.
        reason: why it was selected, a sentence.
        task: what the record is to train.
        source: data set the images come from.
        prompt: the question to be answered; without one the question is written as well.
        answer_type: name of the prompt template to use, instead of the one its task calls for.
    """

    uid: str
    images: tuple[str, ...]
    content_key: str | None = None
    rank: int | None = None
    reason: str | None = None
    task: str | None = None
    source: str | None = None
    prompt: str | None = None
    answer_type: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the object of its line; what is None is not in it."""
        line: dict[str, Any] = {"uid": self.uid, "image": one_or_list(self.images)}
        if self.rank is not None:
            line["rank"] = self.rank
        named = {name: getattr(self, name) for name in _TEXTS}
        return line | {name: text for name, text in named.items() if text is not None}


def one_or_list(images: Sequence[str]) -> str | list[str]:
    """Return the field `image` of a record: one path as it is, several as a list."""
    return images[0] if len(images) == 1 else list(images)


def write_todo(path: Path, items: Sequence[ToAnnotate]) -> None:
    """Write a list; raises `StorageError` if that cannot be."""
    with disk_errors(path):
        write_atomically(path, b"".join(orjson.dumps(item.to_dict()) + b"\n" for item in items))


def read_todo(path: Path) -> list[ToAnnotate]:
    """Read a list, lowest rank first; lines without a rank come last, in their order.

    Raises:
        InputError: the file cannot be read, a line is not such an object, or two share a uid.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}).",
            where=str(path),
            fix="Check the name of the file.",
        ) from error
    items: list[ToAnnotate] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number:,}"
        item = _item(line, where)
        first = line_of.setdefault(item.uid, number)
        if first != number:
            raise InputError(
                f'line {first:,} is called "{shortened(item.uid)}", too.',
                where=where,
                fix="Give every line a uid of its own.",
            )
        items.append(item)
    if not items:
        raise InputError("names nothing to annotate: it is empty.", where=str(path))
    return sorted(items, key=lambda item: (item.rank is None, item.rank or 0))


def _item(line: bytes, where: str) -> ToAnnotate:
    try:
        said = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise InputError(
            "is no JSON object.", where=where, fix='Such a line: {"uid": "1", "image": "a/1.jpg"}'
        )
    texts = {name: _text(said, name, where) for name in _TEXTS}
    uid = said.get("uid")
    if not isinstance(uid, str | int) or isinstance(uid, bool) or uid == "":
        raise InputError('"uid" is missing: a text was expected.', where=where)
    rank = said.get("rank")
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool)):
        raise InputError('"rank" is no whole number.', where=where)
    return ToAnnotate(uid=str(uid), images=_images(said, where), rank=rank, **texts)


def _text(said: dict[str, Any], name: str, where: str) -> str | None:
    text = said.get(name)
    if text is not None and not isinstance(text, str):
        raise InputError(f'"{name}" is no text.', where=where)
    return text or None


def _images(said: dict[str, Any], where: str) -> tuple[str, ...]:
    images = said.get("image")
    listed = images if isinstance(images, list) else [images]
    if not listed or not all(isinstance(path, str) and path for path in listed):
        raise InputError('"image" names no image: a path, or a list of paths.', where=where)
    return tuple(listed)

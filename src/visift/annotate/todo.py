"""The list of what is to be annotated: `to_annotate.jsonl`, one object a line.

    {"uid": "photos#12", "image": "day1/0012.jpg", "rank": 1, "task": "ocr", "reason": "…"}

`uid` and `image` (a path relative to the image root, or a list of them) must be there; names that
are not known are left alone. A line with `conversations`, as LLaVA has them, is a record that wants
a rating; it may be without images.
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
from visift.pool.record import ROLES, Role, Turn

_TEXTS = ("content_key", "reason", "task", "source", "prompt", "answer_type")
_SPEAKERS: dict[Role, str] = {"system": "system", "user": "human", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class ToAnnotate:
    """One set of images that wants a conversation, or one record that wants a rating.

    Attributes:
        uid: what the finished record is called; no two lines share one.
        images: paths relative to the image root, in order; at least one where there are no
            `conversations`.
        content_key: identity of what was selected, kept for whoever wrote the list.
        rank: place in the selection, from 1; lower ranks are asked for first.
        reason: why it was selected, a sentence.
        task: what the record is to train.
        source: data set the images come from.
        prompt: the question to be answered; without one the question is written as well.
        answer_type: name of the prompt template to use, instead of the one its task calls for.
        conversations: the turns of a record that is to be rated.
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
    conversations: tuple[Turn, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the object of its line; what is None is not in it."""
        line: dict[str, Any] = {"uid": self.uid, "image": one_or_list(self.images)}
        if self.rank is not None:
            line["rank"] = self.rank
        named = {name: getattr(self, name) for name in _TEXTS}
        line |= {name: text for name, text in named.items() if text is not None}
        if self.conversations:
            line["conversations"] = [
                {"from": _SPEAKERS[turn.role], "value": turn.text} for turn in self.conversations
            ]
        return line


def one_or_list(images: Sequence[str]) -> str | list[str]:
    """Return the field `image` of a record: one path as it is, several as a list."""
    return images[0] if len(images) == 1 else list(images)


def check_bare(items: Sequence[ToAnnotate]) -> None:
    """Raise `InputError` for a list of records, which want ratings and no further conversation."""
    if any(item.conversations for item in items):
        raise InputError(
            "the list holds conversations already: what it wants are ratings of them.",
            fix="Have them rated: visift annotate --for mmssr",
        )


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
    turns = _turns(said, where)
    images = _images(said, where, needed=not turns)
    return ToAnnotate(uid=str(uid), images=images, rank=rank, conversations=turns, **texts)


def _text(said: dict[str, Any], name: str, where: str) -> str | None:
    text = said.get(name)
    if text is not None and not isinstance(text, str):
        raise InputError(f'"{name}" is no text.', where=where)
    return text or None


def _turns(said: dict[str, Any], where: str) -> tuple[Turn, ...]:
    turns = said.get("conversations")
    listed = turns if isinstance(turns, list) else [] if turns is None else [None]
    found = [_turn(turn) for turn in listed]
    whole = tuple(turn for turn in found if turn is not None)
    if len(whole) < len(found):
        raise InputError(
            '"conversations" is no list of turns.',
            where=where,
            fix='Such a turn: {"from": "human", "value": "What is this?"}',
        )
    return whole


def _turn(said: Any) -> Turn | None:
    speaker = said.get("from") if isinstance(said, dict) else None
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None or not isinstance(said.get("value"), str):
        return None
    return Turn(role, said["value"])


def _images(said: dict[str, Any], where: str, *, needed: bool) -> tuple[str, ...]:
    images = said.get("image")
    if not images and not needed:
        return ()
    listed = images if isinstance(images, list) else [images]
    if not listed or not all(isinstance(path, str) and path for path in listed):
        raise InputError('"image" names no image: a path, or a list of paths.', where=where)
    return tuple(listed)

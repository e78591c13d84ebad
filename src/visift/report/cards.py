"""One record as a card: its pictures, what is asked and answered, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visift.errors import ImageError
from visift.pool.pool import Pool
from visift.pool.record import IMAGE_TAG, ImageRef, Record
from visift.report.text import excerpt, label, opening
from visift.report.thumbnails import thumbnail

if TYPE_CHECKING:
    from PIL import Image

_MOST_PICTURES = 2
_SUMMARY = 96


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of a record that its own text does not say.

    Attributes:
        rank: from 1, None for a record that was not chosen.
        score: as text, empty where there is none.
        reason: why it was chosen, or was not.
    """

    rank: int | None
    score: str
    reason: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a card.

    Attributes:
        name: as the record names it.
        uri: data URI, empty where the image cannot be read.
        problem: why it cannot.
        size: width and height of the file, in pixels, as text.
    """

    name: str
    uri: str = ""
    problem: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of one record; all texts are cut to a length fit for a page.

    Attributes:
        uid: where it stands.
        source: its label, or an empty text.
        note: what became of it.
        summary: the beginning of the question, on one line.
        question: first message of the user, without image placeholders.
        answer: first message of the assistant.
        more_turns: messages that are not shown.
        pictures: the first images.
        more_pictures: how many images are not shown.
    """

    uid: str
    source: str
    note: Note
    summary: str
    question: str
    answer: str
    more_turns: int
    pictures: tuple[Picture, ...]
    more_pictures: int


def card(pool: Pool, row: int, note: Note) -> Card:
    """Return the card of a row; the only place where a report parses a record."""
    record = pool.record(row)
    question = _first(record, "user").replace(IMAGE_TAG, "").strip()
    answer = _first(record, "assistant").strip()
    shown = {"user", "assistant"} & {turn.role for turn in record.turns}
    return Card(
        uid=label(record.uid, 120),
        source=label(record.source or ""),
        note=note,
        summary=opening(question or answer, _SUMMARY) or "(no text)",
        question=excerpt(question),
        answer=excerpt(answer),
        more_turns=len(record.turns) - len(shown),
        pictures=tuple(_picture(pool, ref) for ref in record.images[:_MOST_PICTURES]),
        more_pictures=max(0, len(record.images) - _MOST_PICTURES),
    )


def one_line(pool: Pool, row: int) -> str:
    """Return the beginning of what a record asks, without its images."""
    question = _first(pool.record(row), "user").replace(IMAGE_TAG, "")
    return opening(question, _SUMMARY)


def uid(pool: Pool, row: int) -> str:
    """Return where a record stands, fit for a page."""
    return label(pool.uids(np.array([row]))[0], 120)


def _first(record: Record, role: str) -> str:
    return next((turn.text for turn in record.turns if turn.role == role), "")


def _picture(pool: Pool, ref: ImageRef) -> Picture:
    name = label(ref.path)
    try:
        image: Image.Image = pool.load_image(ref)
    except ImageError as error:
        return Picture(name, problem=excerpt(error.what, 160))
    return Picture(name, thumbnail(image), size=f"{image.width} × {image.height}")

"""What every reader makes of one record, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from visift.pool.paths import shortened
from visift.pool.record import Role

#: Label fields in the order they are looked for, when the user names none.
TASK_FIELDS = ("task", "task_name")
SOURCE_FIELDS = ("source", "data_source", "dataset")

_LONGEST_LABEL = 1000


class ParseFault(Exception):
    """A record that cannot be used; the message is the reason shown to the user, never long."""

    def __init__(self, reason: str) -> None:
        super().__init__(shortened(reason))


@dataclass(frozen=True, slots=True)
class Parsed:
    """A record's content before it has a place in a pool.

    Attributes:
        turns: (role, text) pairs.
        images: paths as written.
        source: its source label as written, or None.
        task: its task label as written, or None.
    """

    turns: list[tuple[Role, str]]
    images: list[str]
    source: str | None
    task: str | None


def label(name: str, value: Any) -> str | None:
    """Return a field as a label, None where it says nothing; raises `ParseFault` for a long one."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(value)
    if len(text) > _LONGEST_LABEL:
        raise ParseFault(f'"{name}" is no label: it has {len(text):,} characters')
    return text

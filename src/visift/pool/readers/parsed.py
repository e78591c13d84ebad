"""What every reader makes of one record, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

from visift.pool.paths import shortened
from visift.pool.record import Role


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

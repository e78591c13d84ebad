"""Text as a terminal may show it, whoever wrote it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

#: Columns before the text of a line.
LABEL_WIDTH = 10

#: Everything that moves the cursor, colours, hides or turns text round, by code point: the control
#: characters of ASCII and Latin-1, line and paragraph separators, and marks of direction.
_COMMANDING = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)
# JSON escapes the first 32 itself, and a line end stands between its values.
_IN_JSON = {point: f"\\u{point:04x}" for point in _COMMANDING if point >= 0x20}
_VISIBLE = {point: chr(point).encode("unicode_escape").decode() for point in _COMMANDING}


def printable(text: str) -> str:
    r"""Return text in which nothing commands a terminal: an escape character becomes `\x1b`.

    Line ends are escaped too, so that one line stays one line.
    """
    return text.translate(_VISIBLE)


def printable_json(value: Any) -> str:
    """Return JSON in which nothing commands a terminal either: such characters are escaped."""
    return json.dumps(value, ensure_ascii=False, indent=2).translate(_IN_JSON)


def printable_lines(text: str) -> str:
    """Return the same for a text of several lines, which stay lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def show(text: str) -> None:
    """Print lines at once; goes on in silence where nobody reads any more, as with `| head -1`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        let_go_of_stdout()


def let_go_of_stdout() -> None:
    """Send what else is printed nowhere, so that it cannot fail again, not even at the end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

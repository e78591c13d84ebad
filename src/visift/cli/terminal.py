"""Text as a terminal may show it, whoever wrote it; times and sizes in the units people use."""

from __future__ import annotations

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
_VISIBLE = {point: chr(point).encode("unicode_escape").decode() for point in _COMMANDING}


def printable(text: str) -> str:
    r"""Return text in which nothing commands a terminal: an escape character becomes `\x1b`.

    Line ends are escaped too, so that one line stays one line.
    """
    return text.translate(_VISIBLE)


def printable_lines(text: str) -> str:
    """Return the same for a text of several lines, which stay lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 record`, `1,024 records`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time as a person says it: `0.4 s`, `41 s`, `12 min`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def n_bytes(number: float) -> str:
    """Return a number of bytes as a person says it, in powers of 1000: `412 MB`, `2.7 GB`."""
    if number < 1000:
        return f"{number:,.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 999.5 or unit == "GB":
            break
    return f"{number:,.1f} {unit}" if number < 9.95 or unit == "GB" else f"{number:,.0f} {unit}"

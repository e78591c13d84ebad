"""Data-set text made fit to be shown: what cannot be seen is made visible, what is long is cut."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath

LONGEST = 400
_LABEL = 80

#: Characters of Unicode class Cc and Cf that change nothing but the shape of a text.
_HARMLESS = {"\n", "\t", "\u00ad", "\u200c", "\u200d"}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~$@&])")
_ADDRESS = re.compile(r"(?i)(?<=\w)(?=://)|(?<=\bwww)(?=\.)|(?<=\bmailto)(?=:)")


def visible(text: str) -> str:
    """Return a text in which control and direction characters are named instead of acting.

    So no record can end a line early, reorder what stands around it, or make a file invalid.
    """
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(_named(char) for char in lines)


def _named(char: str) -> str:
    if char in _HARMLESS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char
    return f"⟨U+{ord(char):04X}⟩"


def excerpt(text: str, limit: int = LONGEST) -> str:
    """Return the beginning of a text, visible; `…` and the number of characters left out."""
    if len(text) <= limit:
        return visible(text)
    return f"{visible(text[:limit].rstrip())} … ({len(text) - limit:,} more characters)"


def opening(text: str, limit: int) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(visible(text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def label(text: str, limit: int = _LABEL) -> str:
    """Return a name on one line, its middle left out where it is long."""
    line = " ".join(visible(text).split())
    if len(line) <= limit:
        return line
    head = limit // 2
    return f"{line[:head]}…{line[head + 1 - limit :]}"


def in_markdown(value: object, limit: int = LONGEST) -> str:
    """Return a value as one line of Markdown that means nothing but itself."""
    line = label(str(value), limit)
    return _ADDRESS.sub(r"\\", _MARKDOWN.sub(r"\\\1", line))


def short_path(name: str) -> str:
    """Return a name without the folders of this machine: the last two parts of a full path."""
    path = PurePath(name)
    return "/".join(("…", *path.parts[-2:])) if path.is_absolute() else name


def share(part: float, whole: float) -> str:
    """Return a share in per cent; an empty text where there is no whole."""
    if not whole:
        return ""
    value = 100 * part / whole
    return f"{value:.1f}\u00a0%" if value >= 0.05 or not part else "< 0.1\u00a0%"


def score_text(value: float) -> str:
    """Return a score with three significant digits and a true minus sign."""
    return f"{value:.3g}".replace("-", "−")

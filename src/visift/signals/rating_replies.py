"""What a model's replies mean: a rating from 0 to 5, or labels of styles.

The strict reading is ours; the official one of mmSSR casts the text to an integer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

#: What a label becomes that is like none of those allowed.
OTHER = "other"

#: Least likeness, 0 to 1, of a label that is taken for an allowed one [ours].
LIKENESS = 0.75

# A number from 0 to 5 that is no part of another one or of a negative one; "4-5" is its first, 4.
# Before it, a minus sign (U+2212) is one as a hyphen is.
_RATING = re.compile(r"(?<![\d.\-\u2212])([0-5])(?:\.0+)?(?![\d]|\.\d)", re.ASCII)
# The scale said again before anything else is: "0-5: 4", "Score (0 to 5): 3".
_SCALE = re.compile(
    r"\A([^0-9]*?)(?<![\d.\-\u2212])0\s*(?:[-\u2013\u2014\u2212]|to|through)\s*5(?!\d|\.\d)",
    re.ASCII,
)
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_AROUND = " \t\r\n[](){}\"'`*.;:"


def rating(text: str) -> float:
    """Return the first number from 0 to 5 that a reply names; NaN where it names none."""
    found = _RATING.search(_SCALE.sub(r"\1", text))
    return float(found.group(1)) if found else float("nan")


def official_rating(text: str) -> float:
    """Return a reply that is nothing but an integer, whatever its size; NaN of any other."""
    try:
        return float(int(text))
    except (ValueError, OverflowError):
        return float("nan")


def labels_of(text: str, vocabulary: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels that a reply names, in order, each once.

    Args:
        text: labels with commas between them, in brackets or not.
        vocabulary: the labels allowed: the one most like what was said is taken, of equals the
            first, or `OTHER` where none is like it. None leaves labels as they were said.
    """
    said = (part.strip() if vocabulary is None else part.strip(_AROUND) for part in text.split(","))
    named = [part for part in said if part]
    if vocabulary is not None:
        named = [part if part in vocabulary else _nearest(part, vocabulary) for part in named]
    return tuple(dict.fromkeys(named))


def _nearest(said: str, vocabulary: Sequence[str]) -> str:
    """Return the allowed label that is most like what was said; see `labels_of`.

    One that says some words of a single label, as they stand there, means that one.
    """
    wanted, plain = _plain(said), [_plain(label) for label in vocabulary]
    within = [number for number, label in enumerate(plain) if f" {wanted} " in f" {label} "]
    if wanted and wanted not in plain and len(within) == 1:
        return vocabulary[within[0]]
    likeness = [SequenceMatcher(None, wanted, label).ratio() for label in plain]
    best = max(likeness, default=0.0)
    return vocabulary[likeness.index(best)] if best >= LIKENESS else OTHER


def _plain(label: str) -> str:
    """Return a label in lower case, a blank for everything that stands between its words."""
    return _BETWEEN_WORDS.sub(" ", label.lower()).strip()

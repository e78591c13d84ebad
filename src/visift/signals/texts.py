"""Texts as values of a signal: UTF-8 in a fixed number of bytes, the rest of them zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encoded(texts: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Return (n, width) bytes of n texts, longer ones cut where a character ends.

    What UTF-8 cannot say (half of a pair of surrogates) becomes a question mark; NUL, which here
    means that the text is over, is left out.
    """
    out = np.zeros((len(texts), width), np.uint8)
    for row, text in zip(out, texts, strict=True):
        whole = text.replace("\0", "").encode(errors="replace")[:width]
        fits = whole.decode(errors="ignore").encode()
        row[: len(fits)] = np.frombuffer(fits, np.uint8)
    return out


def decoded(rows: NDArray[np.uint8]) -> list[str]:
    """Return the texts of (n, width) bytes as `encoded` made them."""
    return [bytes(row).rstrip(b"\0").decode(errors="replace") for row in np.asarray(rows)]

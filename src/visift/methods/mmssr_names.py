"""Capabilities and styles as a user names them."""

from __future__ import annotations

from visift.annotate.capabilities import CAPABILITIES
from visift.errors import InputError, did_you_mean

#: What names the 14 together.
ALL = "all"

#: Words that mean something in other settings: nobody means a capability by them.
_WORDS = (ALL, "auto", "none")

KNOWN = f"There are {', '.join(CAPABILITIES)}; others need a definition for the teacher."


def capability_keys(text: str) -> tuple[str, ...]:
    """Return capabilities as named, each once; blanks and hyphens stand for underscores.

    `all` by itself are the 14.

    Raises:
        InputError: one that is none of the 14, and spelt almost like one of them, or a word that
            stands for something else.
    """
    keys = [one.lower().replace(" ", "_").replace("-", "_") for one in _listed(text)]
    if keys == [ALL]:
        return CAPABILITIES
    for key in keys:
        if key in _WORDS:
            raise InputError(f'"{key}" is no capability.', fix=KNOWN)
        hint = "" if key in CAPABILITIES else did_you_mean(key, CAPABILITIES)
        if hint:
            raise InputError(f'there is no capability "{key}".{hint}', fix=KNOWN)
    return tuple(dict.fromkeys(keys))


def style_names(text: str) -> tuple[str, ...]:
    """Return styles as named, each once.

    Raises:
        InputError: none is named.
    """
    names = tuple(dict.fromkeys(_listed(text)))
    if not names:
        raise InputError("--set style_vocab names no style.", fix="nine, open, or a list of yours.")
    return names


def _listed(text: str) -> list[str]:
    return [part for part in (one.strip() for one in text.split(",")) if part]

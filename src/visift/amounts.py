"""Large numbers as a person reads them: 338k, 2.7 GB, 38 min."""

from __future__ import annotations

_THOUSANDS = ("", "k", "M", "G", "T", "P")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def short(number: float) -> str:
    """Return a number in three digits at most: 932, 1.2k, 338k."""
    return "".join(_scaled(number, _THOUSANDS))


def data_size(count: float) -> str:
    """Return a number of bytes, in decimal units: 2.7 GB."""
    return " ".join(_scaled(count, _UNITS))


def duration(seconds: float) -> str:
    """Return a time: 25 s, 38 min, 5.1 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "less than 1 s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:,.1f} h" if hours < 9.95 else f"{hours:,.0f} h"


def _scaled(number: float, units: tuple[str, ...]) -> tuple[str, str]:
    place = 0
    while number >= 999.5 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    digits = 1 if place and number < 9.95 else 0
    return f"{number:.{digits}f}", units[place]

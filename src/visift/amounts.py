"""Counts, sizes and times as a person reads them: 1 record, 338k, 2.7 GB, 38 min."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

_THOUSANDS = ("", "k", "M", "G", "T", "P")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 record`, `2,311 records`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(number: float) -> str:
    """Return a number in three digits at most: 932, 1.2k, 338k."""
    return "".join(_scaled(number, _THOUSANDS))


def data_size(count: float) -> str:
    """Return a number of bytes, in powers of 1000: 412 MB, 2.7 GB."""
    return " ".join(_scaled(count, _UNITS))


def or_dash(value: float | None, shown: Callable[[float], str]) -> str:
    """Return a value as it is shown, or a dash where it is not known."""
    return "–" if value is None else shown(value)


def money(amount: Decimal | float) -> str:
    """Return dollars as a person reads them: $12.40, and small amounts to two digits that count."""
    exact = Decimal(str(amount))
    if exact == 0 or exact >= Decimal("0.995"):
        return f"${exact:,.2f}"
    places = max(2, 1 - exact.adjusted())
    return f"${exact:.{places}f}"


def duration(seconds: float) -> str:
    """Return a time, as exactly as it matters: 0.4 s, 41 s, 38 min, 5 h 06 min, 58 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds else "0 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{seconds / 3600:,.0f} h"


def _scaled(number: float, units: tuple[str, ...]) -> tuple[str, str]:
    place = 0
    while number >= 999.5 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    digits = 1 if place and number < 9.95 else 0
    return f"{number:.{digits}f}", units[place]

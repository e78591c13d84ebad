"""Numbers by group name, as a user writes them: one for all, or `coco:3,gqa:1`, or a mapping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError, did_you_mean
from visift.numerics.allocate import power

IntArray = NDArray[np.int64]

#: Exponent of a group's size in its weight.
EXPONENTS = {"proportional": 1.0, "sqrt": 0.5, "uniform": 0.0}
#: Stands in a table for the groups it does not name.
OTHERS = "*"
#: More than any pool has, and few enough for int64.
_MOST_ROWS = 1 << 40


def group_weights(
    said: str | Mapping[str, float], names: Sequence[str], sizes: IntArray
) -> list[Fraction]:
    """Return the weight of each group.

    Args:
        said: `proportional`, `sqrt`, `uniform`, `power:0.7` (exponent of the size), or a table.
        names: (G,) the groups.
        sizes: (G,) their rows.

    Raises:
        InputError: no such weights, an unknown group, or one that the table does not name.
    """
    if isinstance(said, str) and ":" not in said:
        if said not in EXPONENTS:
            raise InputError(
                f"--set weights={said}: not known.{did_you_mean(said, EXPONENTS)}",
                fix=f"One of {', '.join(EXPONENTS)}, power:0.7, or a table such as coco:3,gqa:1",
            )
        return power(sizes.tolist(), EXPONENTS[said])
    if isinstance(said, str) and said.startswith("power:"):
        return power(sizes.tolist(), _number("weights", said.removeprefix("power:")))
    table = _table("weights", said)
    _must_be_known("weights", table, names)
    missing = [name for name in names if name not in table and OTHERS not in table]
    if missing:
        raise InputError(
            f"--set weights: no weight for {few(missing)}.",
            fix=f"Add them, or {OTHERS}:1 for all others.",
        )
    weights = [table.get(name, table.get(OTHERS, 0.0)) for name in names]
    if min(weights) < 0 or not any(weights):
        raise InputError("--set weights: weights are not negative, and not all of them 0.")
    return [Fraction(repr(weight)) for weight in weights]


def whole_by_name(
    parameter: str, said: int | str | Mapping[str, int], names: Sequence[str], default: IntArray
) -> IntArray:
    """Return a number of rows for each group.

    Args:
        parameter: what it is called in messages.
        said: one number for all groups, or a table.
        names: (G,) the groups.
        default: (G,) for groups that a table does not name.

    Raises:
        InputError: an unknown group, or what is no whole number of 0 or more.
    """
    if isinstance(said, int):
        return np.full(len(names), min(said, _MOST_ROWS), np.int64)
    table = _table(parameter, said)
    _must_be_known(parameter, table, names)
    rest = table.get(OTHERS)
    wanted = [
        table.get(name, other if rest is None else rest)
        for name, other in zip(names, default.tolist(), strict=True)
    ]
    for number in wanted:
        if number != int(number) or number < 0:
            raise InputError(f"--set {parameter}: {number:g} is no number of rows.")
    return np.array([min(int(number), _MOST_ROWS) for number in wanted], np.int64)


def _table(parameter: str, said: str | Mapping[str, float]) -> dict[str, float]:
    if not isinstance(said, str):
        return {str(name): _number(parameter, str(value)) for name, value in said.items()}
    table = {}
    for entry in said.strip("{} ").split(","):
        name, colon, value = entry.strip().rpartition(":")
        if not colon:
            raise InputError(
                f'--set {parameter}: "{entry.strip()}" is not NAME:NUMBER.',
                fix=f"For example: --set {parameter}=coco:3,gqa:1",
            )
        table[name.strip(" \"'")] = _number(parameter, value)
    return table


def _number(parameter: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f'--set {parameter}: "{text.strip()}" is not a number.')
    return number


def _must_be_known(parameter: str, table: Mapping[str, float], names: Sequence[str]) -> None:
    for name in table:
        if name not in names and name != OTHERS:
            raise InputError(
                f'--set {parameter}: there is no source "{name}".{did_you_mean(name, names)}',
                fix=f"Sources: {few(names)}.",
            )


def few(names: Sequence[str]) -> str:
    """Return the first few of some names as text."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more

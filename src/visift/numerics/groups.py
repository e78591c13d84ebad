"""Groups that share a budget: exact weights, caps, floors, and their seats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError

Weight = int | float | Fraction | Decimal
Weights = Sequence[Weight] | NDArray[Any]
Counts = Sequence[int] | NDArray[Any]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stage:
    """Groups that compete with one another: index, weight > 0, cap, seats taken; in index order."""

    members: IntArray
    weights: list[Fraction]
    caps: IntArray
    taken: IntArray


@dataclass(frozen=True, slots=True)
class Groups:
    """The validated input: weights as exact fractions, caps, and the floors clipped to the caps."""

    weights: list[Fraction]
    caps: IntArray
    taken: IntArray

    @classmethod
    def read(cls, weights: Weights, caps: Counts, floors: Counts | None) -> Groups:
        """Check what a caller gave; raises `InputError`, see `allocate`."""
        exact = [as_fraction(i, weight) for i, weight in enumerate(weights)]
        most = _whole_numbers("cap", caps, len(exact))
        least = (
            np.zeros_like(most) if floors is None else _whole_numbers("floor", floors, len(exact))
        )
        return cls(exact, most, np.minimum(least, most))

    def stages(self) -> Iterator[Stage]:
        """Yield the groups of positive weight, then the others with their caps as weights."""
        positive = np.array([weight > 0 for weight in self.weights], dtype=bool)
        yield self._stage(np.flatnonzero(positive), self.weights)
        yield self._stage(
            np.flatnonzero(~positive & (self.caps > 0)), [Fraction(c) for c in self.caps.tolist()]
        )

    def _stage(self, members: IntArray, weights: list[Fraction]) -> Stage:
        chosen = [weights[i] for i in members]
        return Stage(members, chosen, self.caps[members], self.taken[members])


def as_fraction(group: int, weight: Weight | np.number[Any]) -> Fraction:
    """Return a weight exactly; a float, of any width, as the decimal number it prints as."""
    try:
        if isinstance(weight, float | np.floating):
            exact = Fraction(str(weight))
        elif isinstance(weight, np.integer):  # left as it is, the fraction would overflow
            exact = Fraction(int(weight))
        else:
            exact = Fraction(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        exact = Fraction(-1)
    if exact < 0:
        raise InputError(
            f"group {group} (counted from 0) has weight {weight}",
            fix="Weights must be finite numbers, 0 or more.",
        )
    return exact


def _whole_numbers(name: str, values: Counts, groups: int) -> IntArray:
    if len(values) != groups:
        raise InputError(f"there are {groups} weights but {len(values)} values of `{name}`")
    for group, value in enumerate(values):
        if not isinstance(value, int | np.integer) or value < 0:
            raise InputError(
                f"group {group} (counted from 0) has {name} {value}",
                fix=f"Every {name} must be a whole number, 0 or more.",
            )
    return np.array(values, dtype=np.int64)


def turns_of_floors(floors: IntArray) -> NDArray[np.int32]:
    """Return the order of the floors' seats: one row a group in turn, until each has its floor."""
    group, seat = open_seats(np.arange(len(floors)), np.zeros_like(floors), floors)
    order = np.argsort(seat, kind="stable")
    return group[order]


def open_seats(
    groups: IntArray, taken: IntArray, caps: IntArray
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """List the open seats group after group: its position in `groups`, and the seats before it."""
    sizes = caps - taken
    group = np.repeat(np.arange(len(groups), dtype=np.int32), sizes)
    offset = (np.cumsum(sizes) - sizes - taken).astype(np.int32)
    return group, np.arange(len(group), dtype=np.int32) - offset[group]

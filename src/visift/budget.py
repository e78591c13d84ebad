"""How much to choose: `15%`, `100000`, `50k-images`.

Fractions are exact decimals and rounded down: 15 % of 665,298 is 99,794, and 29 % of 100 is 29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.errors import InfeasibleBudget, InputError

Unit = Literal["fraction", "rows", "images"]

# Separators only between groups of three: "1,5%" is somebody's 1.5 %, not 15 %.
_NUMBER = r"-?(?:\d{1,3}(?:[_,]\d{3})+|\d+)(?:\.\d+)?"
_PATTERN = re.compile(rf"({_NUMBER})\s*([kKmM]?)\s*(%|-?\s*(?:rows|records|images))?")
_NOT_YET = re.compile(r"\btokens?\b|\bkeep\b")
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Budget:
    """A number of rows or images, or a share of the usable rows.

    Attributes:
        text: as the user wrote it.
        unit: `fraction` of the records the method can use, `rows`, or distinct `images`.
        amount: exact.
    """

    text: str
    unit: Unit
    amount: Fraction

    @classmethod
    def parse(cls, text: str | int) -> Budget:
        """Read a budget; raises `InputError` for what is none."""
        found = _PATTERN.fullmatch(str(text).strip())
        if _NOT_YET.search(str(text)):
            raise InputError(
                f'budget "{text}": tokens and multiples of kept rows are not counted yet.',
                fix="Use 15%, 100000 or 50k-images.",
            )
        if found is None:
            raise InputError(
                f'"{text}" is not a budget.',
                fix="Examples: 15%, 100000, 50k-images. Largest: 100%.",
            )
        digits, thousands, suffix = found.groups()
        amount = Fraction(Decimal(re.sub("[_,]", "", digits))) * _THOUSANDS[thousands.lower()]
        if suffix == "%":
            return cls(str(text), "fraction", amount / 100)
        if amount.denominator != 1:
            raise InputError(f'budget "{text}" is not a whole number.', fix="Or did you mean a %?")
        return cls(str(text), "images" if suffix and "image" in suffix else "rows", amount)

    def limit(self, rows: int, images: int) -> int:
        """Return the exact number of rows (or images) this budget allows.

        Args:
            rows: records the method can use.
            images: distinct images of these records.

        Raises:
            InfeasibleBudget: nothing, or more than there is; names the largest feasible value.
        """
        there, what = (images, "images") if self.unit == "images" else (rows, "records")
        limit = int(self.amount * rows) if self.unit == "fraction" else int(self.amount)
        suffix = "-images" if self.unit == "images" else ""
        if not there:
            raise InfeasibleBudget(f"Budget {self.text} cannot be met: no usable {what}.")
        largest = f"Largest: {there}{suffix} or 100%."
        if self.amount <= 0:
            raise InfeasibleBudget(f"Budget {self.text} selects nothing.", fix=largest)
        if limit > there or (self.unit == "fraction" and self.amount > 1):
            raise InfeasibleBudget(
                f"Budget {self.text} is more than the {there:,} usable {what}.", fix=largest
            )
        if limit == 0:
            raise InfeasibleBudget(
                f"Budget {self.text} of {rows:,} usable records is less than one.", fix=largest
            )
        return limit

    def cut(self, cost: NDArray[np.int64], limit: int) -> int:
        """Return how many leading items fit: the first that does not ends the selection.

        Args:
            cost: (I,) rows (or new images) each item brings, in rank order.
            limit: from `limit`.
        """
        return int(np.searchsorted(np.cumsum(cost), limit, side="right"))

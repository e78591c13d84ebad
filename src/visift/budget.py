"""How much to choose: `15%`, `100000`, `50k-images`, `2M-tokens`, `5x keep`.

Fractions are exact decimals and rounded down: 15 % of 665,298 is 99,794, and 29 % of 100 is 29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.errors import InfeasibleBudget, InputError

Unit = Literal["fraction", "rows", "images", "tokens", "keep"]
IntArray = NDArray[np.int64]

# Separators only between groups of three: "1,5%" is somebody's 1.5 %, not 15 %.
_NUMBER = r"-?(?:\d{1,3}(?:[_,]\d{3})+|\d+)(?:\.\d+)?"
_PATTERN = re.compile(
    rf"({_NUMBER})\s*([kKmMbB]?)\s*"
    r"(?:(%)|-?\s*(rows|records|images|tokens)(?:\+(\d{1,9})/image)?|(x\s*keep))?"
)
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_IN_RECORDS = "Give it in records: 15%"
_EXAMPLES = 'Examples: 15%, 100000, 50k-images, 2M-tokens, "5x keep". Largest: 100%.'


@dataclass(frozen=True, slots=True)
class Budget:
    """A number of rows, images or tokens, or a share of the usable rows.

    Attributes:
        text: as the user wrote it.
        unit: `fraction` of the records the method can use, `rows`, distinct `images`, `tokens`, or
            rows for every one of `--keep`.
        amount: exact.
        image_tokens: tokens an image counts as, beside those of the text; 0 leaves images out.
        costs: (N,) tokens of every pool row, where somebody counted them; see `priced`.
    """

    text: str
    unit: Unit
    amount: Fraction
    image_tokens: int = 0
    costs: IntArray | None = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str | int) -> Budget:
        """Read a budget; raises `InputError` for what is none."""
        found = _PATTERN.fullmatch(str(text).strip())
        if found is None:
            raise InputError(f'"{text}" is not a budget.', fix=_EXAMPLES)
        digits, thousands, percent, noun, image_tokens, keep = found.groups()
        amount = Fraction(Decimal(re.sub("[_,]", "", digits))) * _THOUSANDS[thousands.lower()]
        if percent:
            return cls(str(text), "fraction", amount / 100)
        if keep:
            return cls(str(text), "keep", amount)
        if amount.denominator != 1:
            share = float(amount * 100 if amount < 1 else amount)
            raise InputError(
                f'budget "{text}" is not a whole number.',
                fix=f"A share of the records is written with a percent sign: {share:g}%",
            )
        if image_tokens and noun != "tokens":
            raise InputError(f'"{text}" is not a budget.', fix=_EXAMPLES)
        unit: Unit = "images" if noun == "images" else "tokens" if noun == "tokens" else "rows"
        return cls(str(text), unit, amount, int(image_tokens or 0))

    @property
    def counted(self) -> bool:
        """Whether it is known what rows cost: tokens are so only once the budget is `priced`."""
        return self.unit != "tokens" or self.costs is not None

    def priced(self, costs: IntArray) -> Budget:
        """Return the budget with the tokens of every pool row, which only a tokeniser knows."""
        return replace(self, costs=costs)

    def limit(self, rows: int, images: int = 0, tokens: int = 0, kept: int = 0) -> int:
        """Return the exact number of rows (or images, or tokens) this budget allows.

        Args:
            rows: records the method can use, kept ones included.
            images: distinct images of these records.
            tokens: of these records.
            kept: records of `--keep`.

        Raises:
            InfeasibleBudget: nothing, or more than there is; names the largest feasible value.
        """
        there, what = {"images": (images, "images"), "tokens": (tokens, "tokens")}.get(
            self.unit, (rows, "records")
        )
        suffix = "" if what == "records" else f"-{what}"
        limit = int(self._amount(rows, kept))
        if not there:
            fix = "All are set aside, or already there." if what == "records" else _IN_RECORDS
            raise InfeasibleBudget(
                f"Budget {self.text} cannot be met: there are no usable {what}.", fix=fix
            )
        largest = f"Largest: {self._largest(there, suffix, kept)} or 100%."
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

    def _largest(self, there: int, suffix: str, kept: int) -> str:
        if self.unit != "keep":
            return f"{there}{suffix}"
        # Rounded down, so that it is feasible as it stands here.
        multiple = Decimal((there - kept) * 100 // kept) / 100
        return f'"{multiple:f}x keep", {there}' if multiple else f"{there}"

    def _amount(self, rows: int, kept: int) -> Fraction:
        if self.unit != "keep":
            return self.amount * rows if self.unit == "fraction" else self.amount
        if not kept:
            raise InputError(
                f'budget "{self.text}" counts kept records, and there are none.',
                fix="Name them with --keep FILE.",
            )
        return kept + self.amount * kept

    def cut(self, cost: IntArray, limit: int) -> int:
        """Return how many leading items fit: the first that does not ends the selection.

        Args:
            cost: (I,) rows (or new images, or tokens) each item brings, in rank order.
            limit: from `limit`.
        """
        return int(np.searchsorted(np.cumsum(cost), limit, side="right"))

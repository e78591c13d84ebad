"""What labels cost, as their files say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visift.amounts import money, short

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of labels that say what a line cost.
BILL = TOKENS_IN, TOKENS_OUT, DOLLARS = ("tokens_in", "tokens_out", "dollars")


@dataclass(frozen=True, slots=True)
class Bill:
    """What labels cost; None where nobody knows of all of them.

    Attributes:
        tokens: sent and received.
        dollars: for them.
    """

    tokens: int | None = None
    dollars: float | None = None

    def __str__(self) -> str:
        """Return both for people: $1.20 (338k tokens), nothing, or a dash."""
        if self.dollars:
            tokens = f" ({short(self.tokens)} tokens)" if self.tokens else ""
            return f"{money(self.dollars)}{tokens}"
        if self.tokens:
            return f"{short(self.tokens)} tokens"
        return "–" if self.tokens is None else "nothing"


#: Of what is chosen without labels.
NO_BILL = Bill(0, 0.0)


def bill_of(files: Iterable[Mapping[str, Any]]) -> Bill:
    """Return what all labels of some files cost; a file that is there twice was paid for once.

    Args:
        files: what each is known by: `blake2b`, and what `costs_of` says.
    """
    different = list({file["blake2b"]: file for file in files}.values())
    tokens = [file["tokens"] for file in different]
    dollars = [file["dollars"] for file in different]
    return Bill(None if None in tokens else sum(tokens), None if None in dollars else sum(dollars))


def costs_of(table: pa.Table) -> dict[str, Any]:
    """Return the tokens and dollars of all lines of a table; None where one does not say."""
    sent, received = _sum(table, TOKENS_IN), _sum(table, TOKENS_OUT)
    known = sent is not None and received is not None
    return {
        "tokens": int(sent + received) if known else None,  # type: ignore[operator]
        "dollars": _sum(table, DOLLARS),
    }


def _sum(table: pa.Table, column: str) -> float | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column not in table.column_names:
        return None
    kind = table.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    found = pc.sum(table[column], skip_nulls=False, min_count=0).as_py()
    return found if found is not None and math.isfinite(found) and found >= 0 else None

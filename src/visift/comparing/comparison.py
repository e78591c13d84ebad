"""What a comparison of selections says, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from visift.comparing.sides import Side


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two orders of n records agree: 1 the same, 0 unrelated, -1 reversed.

    Attributes:
        records: how many both order.
        spearman: rho; None where it is not defined.
        kendall: tau-b; None where it is not defined, or not computed.
    """

    records: int
    spearman: float | None
    kendall: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A record that one selection ranks high and the other leaves out.

    Attributes:
        rank: from 1.
        uid: where it stands.
        source: its label, or None.
        score: or None.
        reason: why it was taken.
        there: what the other selection made of it.
    """

    rank: int
    uid: str | None
    source: str | None
    score: float | None
    reason: str | None
    there: str


@dataclass(frozen=True, slots=True)
class Split:
    """Records of one source that both selections, only the first or only the second hold."""

    source: str
    both: int
    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two selections held against each other.

    Attributes:
        first: name of the one.
        second: name of the other.
        both: records in both.
        only_first: records only in the one.
        only_second: records only in the other.
        jaccard: records in both of records in either.
        expected: records in both if each were drawn at random from what it could choose from.
        spread: standard deviation of that number, where both could choose from the same records.
        shared: records that both could choose from; None if a pool is not known.
        ranks: agreement of their orders, on the records in both.
        scores: agreement of their scores, good ones high, on all records that have two.
        sources: where they disagree, the largest difference first.
        left_out_by_second: what the first ranks highest of what the second leaves out.
        left_out_by_first: the other way round.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    jaccard: float
    expected: float | None
    spread: float | None
    shared: int | None
    ranks: Agreement
    scores: Agreement | None
    sources: Sequence[Split]
    left_out_by_second: Sequence[Example]
    left_out_by_first: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Part:
    """One source (or task) in every selection.

    Attributes:
        name: its label.
        pool: records of it in the first pool that is known, or None.
        chosen: records of it by selection.
        shares: the same as shares of each selection.
    """

    name: str
    pool: int | None
    chosen: Sequence[int]
    shares: Sequence[float]

    @property
    def difference(self) -> float:
        """The second share less the first; between more than two, the largest less the smallest."""
        if len(self.shares) == 2:
            return self.shares[1] - self.shares[0]
        return max(self.shares) - min(self.shares)


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of all labels of one kind, `source` or `task`, the most frequent first."""

    kind: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Selections, every two of them held against each other, and their mixes.

    Attributes:
        sides: the selections.
        pairs: every two of them.
        mixes: by source, and by task where tasks say something else.
        notices: what a reader must know first.
    """

    sides: Sequence[Side]
    pairs: Sequence[Pair]
    mixes: Sequence[Mix]
    notices: Sequence[str]

    def summary(self) -> dict[str, Any]:
        """Return the facts as plain data, see `docs/schemas/compare.schema.json`."""
        return {
            "selections": [
                {
                    "name": side.name,
                    "path": str(side.path),
                    "method": side.method or None,
                    "budget": side.budget,
                    "records": len(side),
                    "pool_records": None if side.pool is None else side.pool.num_rows,
                    "not_in_pool": side.left_out,
                }
                for side in self.sides
            ],
            "pairs": [asdict(pair) for pair in self.pairs],
            "mixes": [asdict(mix) for mix in self.mixes],
            "notices": list(self.notices),
        }

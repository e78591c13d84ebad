"""What became of every record of a pool, as arrays, and how many stood at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.pool.pool import Groups
from visift.selection import NOT_SELECTED, SELECTED, SET_ASIDE

if TYPE_CHECKING:
    from visift.finished import Run

IntArray = NDArray[np.int64]

#: What the statuses of `scores.parquet` mean to a reader.
_WORDS = {
    "duplicate": "exact duplicates of another record",
    "have": "there already (--have)",
    "target": "examples of what is to be learnt (--target)",
}


_HIGH_IS_GOOD = ("highest first", "in turn")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of N records.

    Attributes:
        status: the word of each record before the first colon.
        rank: (N,) int64 from 1, 0 for records that were not chosen.
        score: (N,) float64, NaN where the method has none.
        group: the group each competed in.
        kept: (N,) in by the user's wish (`--keep`), whatever the score.
        lowest_first: whether low scores are the good ones.
    """

    status: Groups
    rank: IntArray
    score: NDArray[np.float64]
    group: Groups
    kept: NDArray[np.bool_]
    lowest_first: bool

    @classmethod
    def of(cls, run: Run) -> Outcome:
        """Read the outcome of a run."""
        scores = run.selection.scores
        rank = np.zeros(len(run.pool), np.int64)
        rank[run.rows] = np.arange(1, len(run.rows) + 1)
        return cls(
            status=_kinds(encoded(scores["status"])),
            rank=rank,
            score=np.asarray(scores["score"].to_numpy(), np.float64),
            group=encoded(scores["group"]),
            kept=run.pool.has_role("kept"),
            lowest_first=run.selection.facts.get("direction") not in _HIGH_IS_GOOD,
        )

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """(N,) the selection."""
        return self.rank > 0

    @property
    def passed_over(self) -> NDArray[np.bool_]:
        """(N,) could have been chosen, and was not."""
        return self.having(NOT_SELECTED)

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """(N,) has a score that decided whether it was chosen."""
        return np.isfinite(self.score) & (self.chosen | self.passed_over) & ~self.kept

    def having(self, status: str) -> NDArray[np.bool_]:
        """Return (N,) which records have a status."""
        names = self.status.labels
        return np.asarray(self.status.of_row == (names.index(status) if status in names else -2))


def encoded(column: pa.ChunkedArray) -> Groups:
    """Return a text column as a partition, -1 for null."""
    array = column.combine_chunks().dictionary_encode()
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Groups(tuple(array.dictionary.to_pylist()), codes.astype(np.int32))


def _kinds(status: Groups) -> Groups:
    """Return statuses by what stands before their first colon."""
    kinds = [text.partition(":")[0] for text in status.labels]
    names = tuple(dict.fromkeys(kinds))
    place = np.array([*(names.index(kind) for kind in kinds), -1], np.int32)
    return Groups(names, place[status.of_row])


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way from the pool to the selection.

    Attributes:
        name: `read`, `usable`, `eligible` or `selected`.
        count: records that reach it.
        lost: what was lost on the way to it, with counts.
    """

    name: str
    count: int
    lost: tuple[tuple[str, int], ...] = ()


def funnel(run: Run, outcome: Outcome) -> list[Step]:
    """Return the steps from all records read to those selected; every loss has its reason."""
    counts = dict(zip(outcome.status.labels, _counts(outcome.status), strict=True))
    read = len(run.pool)
    usable = read - counts.pop(SET_ASIDE, 0)
    chosen, passed = counts.pop(SELECTED, 0), counts.pop(NOT_SELECTED, 0)
    ruled_out = [(_WORDS.get(kind, kind), count) for kind, count in counts.items()]
    # A method may rank fewer than it was offered and say so in its facts only.
    unranked = chosen + passed - int(run.selection.facts["usable"])
    if unranked > 0:
        ruled_out.append(("left out by the method’s own rule", unranked))
        passed -= unranked
    beyond = (("beyond the budget", passed),) if passed > 0 else ()
    return [
        Step("read", read),
        Step("usable", usable, tuple(run.quarantine.kinds().most_common())),
        Step("eligible", chosen + passed, tuple(ruled_out)),
        Step("selected", chosen, beyond),
    ]


def _counts(groups: Groups) -> list[int]:
    known = groups.of_row[groups.of_row >= 0]
    return [int(n) for n in np.bincount(known, minlength=len(groups.labels))]

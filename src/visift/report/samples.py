"""Which records of a run a person should look at: a few of thousands, the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visift.report.cards import Card, Note, card
from visift.report.outcome import IntArray, Outcome
from visift.report.scores import spreads
from visift.report.text import score_text

if TYPE_CHECKING:
    from visift.finished import Run

_PURPOSE = b"report"


@dataclass(frozen=True)
class Samples:
    """Draws records of one run.

    Attributes:
        run: the run.
        outcome: what became of its records.
        key: (N,) uint64, the order of draws.
        cuts: score of the last one chosen, by group; None where scores do not part them.
    """

    run: Run
    outcome: Outcome
    key: NDArray[np.uint64]
    cuts: Mapping[str, float | None]

    @classmethod
    def of(cls, run: Run, outcome: Outcome) -> Samples:
        """Order the records of a run at random, the same way every time."""
        key = run.pool.tie_keys(run.config.seed, _PURPOSE)
        cuts = {spread.group: spread.cut for spread in spreads(run, outcome)}
        return cls(run, outcome, key, cuts)

    @property
    def scored(self) -> bool:
        """Whether scores say which records lie near the cut."""
        return bool(np.isfinite(self.outcome.score).any())

    def kept(self, count: int) -> IntArray:
        """Return chosen rows in rank order, drawn at random."""
        drawn = self._drawn(self.outcome.chosen, count)
        return drawn[np.argsort(self.outcome.rank[drawn])]

    def dropped(self, count: int) -> IntArray:
        """Return rows that could have been chosen, drawn at random."""
        return self._drawn(self.outcome.passed_over, count)

    def inside(self, count: int) -> IntArray:
        """Return the rows chosen last: of every group in turn, or by rank where none has a score.

        Of rows with the same images only one is shown.
        """
        chosen = self.outcome.chosen & ~self.outcome.kept
        if self.scored:
            return self._nearest(chosen & self.outcome.ranked, -1.0, count)
        order = self.run.rows[chosen[self.run.rows]]
        return order[::-1][:count]

    def outside(self, count: int) -> IntArray:
        """Return the rows that would have been chosen next, of every group in turn."""
        return self._nearest(self.outcome.passed_over & self.outcome.ranked, 1.0, count)

    def cards(self, rows: IntArray) -> list[Card]:
        """Return rows as cards."""
        reasons = self.run.selection.table["reason"]
        found = []
        for row in rows.tolist():
            rank, value = int(self.outcome.rank[row]), float(self.outcome.score[row])
            score = score_text(value) if np.isfinite(value) else ""
            why = reasons[rank - 1].as_py() if rank else self._missed(row, score)
            found.append(card(self.run.pool, row, Note(rank or None, score, why)))
        return found

    def _drawn(self, mask: NDArray[np.bool_], count: int) -> IntArray:
        there = np.flatnonzero(mask)
        return there[np.argsort(self.key[there], kind="stable")[:count]]

    def _nearest(self, mask: NDArray[np.bool_], sign: float, count: int) -> IntArray:
        """Return rows by score from the cut outwards, every group in turn, larger ones first.

        Args:
            mask: (N,) rows on one side of the cut.
            sign: 1 where the best of them lie at the cut, -1 where the worst do.
            count: how many to return.
        """
        rows = np.flatnonzero(mask)
        # Small is near: the worst of those inside, the best of those outside.
        score = self.outcome.score[rows] * (sign if self.outcome.lowest_first else -sign)
        rows = rows[np.lexsort((self.key[rows], score))]
        rows = rows[self._first_of_images(rows)]
        turn = _turns(self.outcome.group.of_row[rows])
        return rows[np.argsort(turn, kind="stable")[:count]]

    def _first_of_images(self, rows: IntArray) -> IntArray:
        """Return the places of the first row of each image; rows without an image all stay."""
        images = self.run.pool.images
        counts = np.diff(images.offsets)[rows]
        shown = np.full(len(rows), -1, np.int64)
        some = counts > 0
        shown[some] = images.flat[images.offsets[rows[some]]]
        alone = np.where(some, shown, -2 - np.arange(len(rows)))
        _, first = np.unique(alone, return_index=True)
        return np.sort(first)

    def _missed(self, row: int, score: str) -> str:
        """Say why a row that could have been chosen was not."""
        if not score:
            return "not drawn: the budget was used up before its turn"
        group = int(self.outcome.group.of_row[row])
        name = self.outcome.group.labels[group] if group >= 0 else ""
        cut = self.cuts.get(name)
        if cut is None:
            return f"not chosen, with a score of {score}"
        value = float(self.outcome.score[row])
        side = "above" if value > cut else "below" if value < cut else "equal to"
        return f"score {score}, {side} the cut of {name or 'all records'} at {score_text(cut)}"


def _turns(group: NDArray[np.int32]) -> IntArray:
    """Return, for rows in order, (place inside its group, size of the group) as one sort key."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-2))
    sizes = np.diff(np.append(starts, len(order)))
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    by_size = np.argsort(np.argsort(-sizes, kind="stable"))
    key = np.empty(len(order), np.int64)
    key[order] = place * len(sizes) + np.repeat(by_size, sizes)
    return key

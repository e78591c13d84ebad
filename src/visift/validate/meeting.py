"""Where a budget curve meets its control: where an arm's lead changes sides, or both are level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from visift.validate.rounds import is_round
from visift.validate.statistics import Comparison
from visift.validate.verdict import Word, finite

if TYPE_CHECKING:
    from visift.validate.judging import Judged


@dataclass(frozen=True, slots=True)
class Point:
    """An arm beside its control at one budget.

    Attributes:
        budget: as it was asked for.
        records: of either arm.
        difference: arm minus control, over all questions, as a fraction of 1.
        interval: of the difference; that of the verdict where the arm was judged.
        word: the verdict; None where the arm was not judged.
    """

    budget: str
    records: int
    difference: float
    interval: tuple[float, float]
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class Meeting:
    """A size at which two curves meet, as far as their points say.

    Attributes:
        records: where straight lines between the points of both cross.
        before: the budget before it.
        after: the budget after it; the same one where both are level there.
    """

    records: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Curve:
    """An arm beside its control at several budgets.

    Attributes:
        arm: its name.
        control: the other one's.
        points: by size.
    """

    arm: str
    control: str
    points: tuple[Point, ...] = field(repr=False)

    @property
    def judged(self) -> bool:
        """Return whether the arm was given verdicts."""
        return any(point.word is not None for point in self.points)

    @property
    def meetings(self) -> tuple[Meeting, ...]:
        """Return where the lead changes sides, or where both are level, by size."""
        return tuple(_meetings(self.points))

    @property
    def sentence(self) -> str:
        """Return what the points say, and what the verdicts at these budgets do."""
        if not self.judged:
            return f"{self._way()}."
        words = ("better", "worse", "no evidence")
        at = {word: [one.budget for one in self.points if one.word == word] for word in words}
        told = [f"{word} at {_and(budgets)}" for word, budgets in at.items() if budgets]
        return f"{self._way()}. Verdicts: {', '.join(told)}."

    def _way(self) -> str:
        sides = {"ahead": self._budgets(1), "behind": self._budgets(-1), "level": self._budgets(0)}
        taken = {side: budgets for side, budgets in sides.items() if budgets}
        if not self.meetings:
            of = "ahead of" if "ahead" in taken else "behind"
            return f"{self.arm} stays {of} {self.control} at all {len(self.points)} budgets"
        places = _and([_place(meeting) for meeting in self.meetings])
        told = ", ".join(f"{side} at {_and(budgets)}" for side, budgets in taken.items())
        return f"{self.arm} meets {self.control} {places}: {told}"

    def _budgets(self, sign: int) -> list[str]:
        return [one.budget for one in self.points if np.sign(one.difference) == sign]

    def facts(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "arm": self.arm,
            "control": self.control,
            "judged": self.judged,
            "points": [
                {
                    "budget": point.budget,
                    "records": point.records,
                    "difference": point.difference,
                    "interval": finite(list(point.interval)),
                    "verdict": point.word,
                }
                for point in self.points
            ],
            "meets": [
                {"records": one.records, "between": [one.before, one.after]}
                for one in self.meetings
            ],
            "sentence": self.sentence,
        }


def curves(judged: Sequence[Judged]) -> list[Curve]:
    """Return every arm that was held against one control at several budgets.

    Args:
        judged: what came out at each budget, in any order; budgets of one size count once.
    """
    points: dict[tuple[str, str], dict[int, Point]] = {}
    for one in sorted(judged, key=lambda one: one.gathered.ground.size):
        ground = one.gathered.ground
        found: list[tuple[Comparison, tuple[float, float], Word | None]] = [
            (verdict.comparison, verdict.interval, verdict.word) for verdict in one.verdicts
        ]
        found += [(other, other.micro.interval(), None) for other in one.beside]
        for compared, interval, word in found:
            if not is_round(compared.method):
                point = Point(ground.budget, ground.size, compared.micro.value, interval, word)
                named = (compared.method, compared.control)
                points.setdefault(named, {}).setdefault(ground.size, point)
    return [
        Curve(arm, control, tuple(by_size.values()))
        for (arm, control), by_size in points.items()
        if len(by_size) > 1
    ]


def _meetings(points: Sequence[Point]) -> Iterator[Meeting]:
    if points and not points[0].difference:
        yield Meeting(points[0].records, points[0].budget, points[0].budget)
    for one, other in pairwise(points):
        if one.difference and not other.difference:
            yield Meeting(other.records, other.budget, other.budget)
        elif one.difference * other.difference < 0:
            part = one.difference / (one.difference - other.difference)
            records = round(one.records + part * (other.records - one.records))
            yield Meeting(records, one.budget, other.budget)


def _place(meeting: Meeting) -> str:
    if meeting.before == meeting.after:
        return f"at {meeting.records:,} records ({meeting.after})"
    return f"at about {meeting.records:,} records (between {meeting.before} and {meeting.after})"


def _and(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))

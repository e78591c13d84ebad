"""Scores by number of records: small figures, an arm beside what it is held against in each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visift.amounts import counted, short
from visift.report.differences import Difference, Interval, differences
from visift.report.text import label

_FULL = "full"
#: The figure, in its own units: the plot lies between these, names stand right of it.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 190, 30, 236, 10, 162
_NAME_HEIGHT, _LONGEST_NAME, _TICK_WIDTH = 13, 15, 30


@dataclass(frozen=True, slots=True)
class Point:
    """What an arm scored at one size.

    Attributes:
        records: that it was trained on.
        score: as a fraction of 1.
        interval: of the score; None where not known, or not drawn.
    """

    records: int
    score: float
    interval: Interval = None


@dataclass(frozen=True, slots=True)
class Line:
    """An arm's way through the sizes, drawn.

    Attributes:
        name: short.
        kind: `arm`, `control` or `full`, which decides dashes and marks.
        path: of the line, in SVG.
        dots: (x, y) of every point.
        bars: (x, from, to) of every interval.
        name_y: where its name stands.
    """

    name: str
    kind: str
    path: str
    dots: tuple[tuple[float, float], ...]
    bars: tuple[tuple[float, float, float], ...]
    name_y: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: an arm beside what it is held against.

    Attributes:
        title: name of the arm.
        words: what is drawn, for who cannot see it.
        lines: the arm first.
        columns: (x, text) of the sizes that are named.
        levels: (y, text) of the scores that are named.
        meets: x of the sizes at which the arm and its control meet.
    """

    title: str
    words: str
    lines: tuple[Line, ...]
    columns: tuple[tuple[float, str], ...]
    levels: tuple[tuple[float, str], ...]
    meets: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        title: str,
        drawn: Sequence[tuple[str, str, Sequence[Point]]],
        meets: Sequence[int] = (),
    ) -> Panel:
        """Draw lines.

        Args:
            title: name of the arm.
            drawn: (name, kind, points in order of size), the arm's own first.
            meets: records with which the arm and its control meet.
        """
        every = [point for _, _, line in drawn for point in line]
        sizes = sorted({point.records for point in every})
        scale = _Scale.of(every, sizes)
        ends = _apart([scale.y(line[-1].score) for _, _, line in drawn])
        lines = [
            _line(scale, name, kind, line, end)
            for (name, kind, line), end in zip(drawn, ends, strict=True)
        ]
        words = "; ".join(f"{label(name)}: {_told(line)}" for name, _, line in drawn)
        columns, levels = tuple(_columns(scale, sizes)), tuple(scale.levels())
        marks = tuple(scale.x(records) for records in meets)
        return cls(title, words, tuple(lines), columns, levels, marks)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From records and scores to places."""

    first: int
    last: int
    low: float
    high: float
    step: float

    @classmethod
    def of(cls, every: Sequence[Point], sizes: Sequence[int]) -> _Scale:
        ends = [point.score for point in every]
        ends += [end for point in every for end in point.interval or ()]
        low, high = max(0.0, min(ends)), min(1.0, max(ends))
        step = _round_up(max((high - low) / 4, 0.01))
        bottom = step * math.floor(low / step + 1e-9)
        top = max(step * math.ceil(high / step - 1e-9), bottom + step)
        return cls(sizes[0], sizes[-1], bottom, top, step)

    def x(self, records: int) -> float:
        width = max(self.last - self.first, 1)
        return round(LEFT + 12 + (RIGHT - LEFT - 18) * (records - self.first) / width, 2)

    def y(self, score: float) -> float:
        part = (score - self.low) / (self.high - self.low)
        return round(BOTTOM - (BOTTOM - TOP) * max(0.0, min(1.0, part)), 2)

    def levels(self) -> Iterator[tuple[float, str]]:
        for number in range(round((self.high - self.low) / self.step) + 1):
            level = self.low + number * self.step
            yield self.y(level), f"{100 * level:.0f}"


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, … times a power of ten, not below a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _line(scale: _Scale, name: str, kind: str, line: Sequence[Point], end: float) -> Line:
    dots = tuple((scale.x(point.records), scale.y(point.score)) for point in line)
    bars = tuple(
        (scale.x(point.records), scale.y(point.interval[0]), scale.y(point.interval[1]))
        for point in line
        if point.interval is not None
    )
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in dots)
    return Line(label(name, _LONGEST_NAME), kind, path, dots, bars, end)


def _columns(scale: _Scale, sizes: Sequence[int]) -> Iterator[tuple[float, str]]:
    """Yield the sizes that have room for their number."""
    last = -math.inf
    for size in sizes:
        if scale.x(size) - last >= _TICK_WIDTH:
            last = scale.x(size)
            yield last, short(size)


def _apart(places: Sequence[float]) -> list[float]:
    """Return places for names: near those given, none upon another."""
    order = sorted(range(len(places)), key=places.__getitem__)
    found, above = list(places), -math.inf
    for at in order:
        found[at] = above = max(places[at], above + _NAME_HEIGHT)
    below = float(BOTTOM + _NAME_HEIGHT)
    for at in reversed(order):  # what was pushed out at the bottom goes back up
        found[at] = below = min(found[at], below - _NAME_HEIGHT)
    return [round(place, 2) for place in found]


def _told(line: Sequence[Point]) -> str:
    return ", ".join(f"{100 * one.score:.1f} with {one.records:,} records" for one in line)


# --- which figures there are ---------------------------------------------------------------------


def budget_curves(
    budgets: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Panel]:
    """Yield a figure an arm that was compared at several budgets; the arguments are facts."""
    met = {one["arm"]: [meeting["records"] for meeting in one["meets"]] for one in curves}
    told = sorted((one for one in budgets if one["arms"]), key=lambda one: int(one["records"]))
    scores = [{arm["arm"]: arm["micro"] for arm in one["arms"]} for one in told]
    compared = [{found.arm: found for found in differences(one)} for one in told]
    in_rounds = {drawn["arm"] for one in told for drawn in one["rounds"]}
    for arm in dict.fromkeys(name for found in compared for name in found):
        there = [at for at, found in enumerate(compared) if arm in found]
        if len(there) < 2 or arm in in_rounds:
            continue
        control = compared[there[0]][arm].control
        own, theirs, full = (
            [Point(told[at]["records"], scores[at][name]) for at in there]
            for name in (arm, control, _FULL)
        )
        own = [_around(point, compared[at][arm]) for at, point in zip(there, own, strict=True)]
        drawn = [(arm, "arm", own), (control, "control", theirs), (_FULL, "full", full)]
        yield Panel.of(arm, drawn, met.get(arm, ()))


def round_curves(budget: Mapping[str, Any]) -> Iterator[Panel]:
    """Yield a figure a method that chose in rounds; the argument is the facts of a budget."""
    compared = {found.arm: found for found in differences(budget)}
    for method in dict.fromkeys(one["method"] for one in budget["rounds"]):
        mine = [one for one in budget["rounds"] if one["method"] == method]
        own = [_around(Point(one["records"], one["micro"]), compared[one["arm"]]) for one in mine]
        theirs = [Point(one["records"], one["control_micro"]) for one in mine]
        title = f"{method} at {budget['budget']}, {counted(len(mine), 'round')}"
        yield Panel.of(title, [(method, "arm", own), (mine[-1]["control"], "control", theirs)])


def _around(point: Point, found: Difference) -> Point:
    """Return a score with the interval of its difference to the control around it."""
    if found.interval is None:
        return point
    low, high = (point.score + end - found.value for end in found.interval)
    return Point(point.records, point.score, (low, high))

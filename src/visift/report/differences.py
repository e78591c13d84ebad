"""Differences to a control with their intervals, in words and as places in a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: From a low end to a high one; None where not known.
Interval = tuple[float, float] | None


def points(value: float) -> str:
    """Return a difference in points, with its sign: +2.1, −0.4."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def span(interval: Interval) -> str:
    """Return an interval in points: −42.8 to +15.5."""
    return "not known" if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def interval_of(ends: Sequence[float | None] | None) -> Interval:
    """Return an interval as facts hold it; None where an end of it is not known."""
    if ends is None or ends[0] is None or ends[1] is None:
        return None
    return ends[0], ends[1]


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm against its control, in fractions of 1.

    Attributes:
        arm: its name.
        control: the other one's.
        value: arm minus control, over all questions.
        interval: of the value.
        word: the verdict; None where the arm was tested for nothing.
    """

    arm: str
    control: str
    value: float
    interval: Interval
    word: str | None = None

    @classmethod
    def of_verdict(cls, facts: Mapping[str, Any]) -> Difference:
        """Read a verdict; its interval is the one that the verdict rests on."""
        micro = facts["micro"]
        interval = interval_of(micro["adjusted_interval"])
        named = (facts["method"], facts["control"])
        return cls(*named, micro["difference"], interval, facts["verdict"])

    @classmethod
    def of_other(cls, facts: Mapping[str, Any]) -> Difference:
        """Read a comparison that nothing is concluded from."""
        named = (facts["arm"], facts["control"])
        return cls(*named, facts["micro"], interval_of(facts["interval"]))

    @property
    def text(self) -> str:
        """Return the value and its interval, in points."""
        known = f" ({span(self.interval)})" if self.interval else ""
        return f"{points(self.value)}{known}"


def differences(facts: Mapping[str, Any]) -> list[Difference]:
    """Return all differences of a budget, those of verdicts first."""
    return [
        *(Difference.of_verdict(verdict) for verdict in facts["verdicts"]),
        *(Difference.of_other(other) for other in facts["others"]),
    ]


@dataclass(frozen=True, slots=True)
class Mark:
    """A difference as places from 0 to 100; 50 is no difference.

    Attributes:
        one: what is drawn.
        at: of its value.
        low: where its interval begins; None without one.
        high: where it ends.
        cut_low: whether it begins outside.
        cut_high: whether it ends outside.
    """

    one: Difference
    at: float
    low: float | None
    high: float | None
    cut_low: bool
    cut_high: bool


@dataclass(frozen=True, slots=True)
class Forest:
    """All differences to one control.

    Attributes:
        control: its name.
        reach: points at either end of the figure.
        marks: one an arm.
    """

    control: str
    reach: float
    marks: tuple[Mark, ...]

    @classmethod
    def of(cls, found: Sequence[Difference]) -> Forest | None:
        """Draw differences to one control; None where there are none.

        The figure reaches as far as the verdicts and all values do; intervals beyond are cut, and
        so a control that was trained twice does not squeeze what matters.
        """
        if not found:
            return None
        furthest = min(1.0, _furthest(found))
        step = 0.01 if furthest <= 0.1 else 0.05
        reach = step * math.ceil(furthest / step - 1e-9)
        return cls(found[0].control, 100 * reach, tuple(_mark(one, reach) for one in found))


def _furthest(found: Sequence[Difference]) -> float:
    ends = [abs(one.value) for one in found]
    judged = [one for one in found if one.word is not None] or found
    ends += [abs(end) for one in judged if one.interval for end in one.interval]
    return max(*ends, 0.01)


def _mark(one: Difference, reach: float) -> Mark:
    def place(value: float) -> float:
        return round(50 + 48 * max(-1.0, min(1.0, value / reach)), 2)

    if one.interval is None:
        return Mark(one, place(one.value), None, None, False, False)
    low, high = one.interval
    return Mark(one, place(one.value), place(low), place(high), low < -reach, high > reach)

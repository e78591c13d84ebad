"""How records are rated in several capabilities: in the pool, the selection and the control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visift.annotate.capabilities import words

if TYPE_CHECKING:
    from visift.finished import Run

SCORE = "score."
#: Ratings are whole numbers from 0 to this one.
HIGHEST = 5
#: Radius of the radar's outermost ring, and how far out its labels stand.
RADIUS, LABELS_AT = 100.0, 112.0
#: Fewer axes make no shape.
FEWEST_AXES = 3

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability over the records of three arms; those without a rating do not count.

    Attributes:
        name: in words.
        pool: mean rating of the records that could be chosen; NaN where none has one.
        chosen: of the selection.
        control: of the twin.
        shares: ((HIGHEST + 1) each) of pool and selection, which share has which rating.
        unrated: records of the pool without a rating.
    """

    name: str
    pool: float
    chosen: float
    control: float
    shares: tuple[tuple[float, ...], tuple[float, ...]]
    unrated: int

    @property
    def highest_share(self) -> float:
        """The largest of all shares."""
        return max(*self.shares[0], *self.shares[1], 0.01)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the radar: where it ends, and where its label stands."""

    name: str
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Radar:
    """Mean ratings as a figure around (0, 0).

    Attributes:
        axes: one a capability, clockwise from the top.
        rings: points of the polygons at every whole rating above 0.
        pool: points of the polygon of the pool, as SVG has them.
        chosen: of the selection.
        control: of the twin.
    """

    axes: tuple[Axis, ...]
    rings: tuple[str, ...]
    pool: str
    chosen: str
    control: str


def capabilities(run: Run) -> list[Capability]:
    """Return every capability that `scores.parquet` rates records in, in its order."""
    scores = run.selection.scores
    offered = np.flatnonzero(run.pool.offered)
    found = []
    for column in scores.column_names:
        if column.startswith(SCORE):
            values = np.asarray(scores[column].to_numpy(), np.float64)
            name = words(column.removeprefix(SCORE))
            found.append(_capability(name, values, offered, run.rows, run.control))
    return found


def _capability(name: str, values: Float, *arms: NDArray[np.int64]) -> Capability:
    rated = [values[rows][~np.isnan(values[rows])] for rows in arms]
    pool, chosen, control = (float(some.mean()) if len(some) else math.nan for some in rated)
    shares = (_shares(rated[0]), _shares(rated[1]))
    return Capability(name, pool, chosen, control, shares, len(arms[0]) - len(rated[0]))


def _shares(ratings: Float) -> tuple[float, ...]:
    whole = np.clip(np.rint(ratings), 0, HIGHEST).astype(np.int64)
    counts = np.bincount(whole, minlength=HIGHEST + 1)
    return tuple((counts / max(len(ratings), 1)).tolist())


def radar(found: Sequence[Capability]) -> Radar | None:
    """Return mean ratings as a figure; None for fewer than three capabilities."""
    if len(found) < FEWEST_AXES:
        return None
    turns = [2 * math.pi * number / len(found) for number in range(len(found))]
    ends = [(math.sin(turn), -math.cos(turn)) for turn in turns]
    axes = [
        Axis(one.name, *_at(end, RADIUS), *_at(end, LABELS_AT), _anchor(end[0]))
        for one, end in zip(found, ends, strict=True)
    ]
    rings = [_points(ends, [ring] * len(ends)) for ring in range(1, HIGHEST + 1)]
    arms = ([getattr(one, arm) for one in found] for arm in ("pool", "chosen", "control"))
    return Radar(tuple(axes), tuple(rings), *(_points(ends, means) for means in arms))


def _at(end: tuple[float, float], radius: float) -> tuple[float, float]:
    return round(end[0] * radius, 1), round(end[1] * radius, 1)


def _anchor(x: float) -> str:
    """Return on which side of its point a label stands."""
    return "middle" if abs(x) < 0.1 else "start" if x > 0 else "end"


def _points(ends: Sequence[tuple[float, float]], ratings: Sequence[float]) -> str:
    radii = [0.0 if math.isnan(one) else RADIUS * one / HIGHEST for one in ratings]
    corners = [_at(end, radius) for end, radius in zip(ends, radii, strict=True)]
    return " ".join(f"{x},{y}" for x, y in corners)

"""How scores are spread in every group, and where the cut lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visift.report.outcome import Outcome

if TYPE_CHECKING:
    from visift.finished import Run

BINS = 36
SHOWN_GROUPS = 24
#: Bits lost between a score and its rounded form, by which methods may rank.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Spread:
    """The scores of one group.

    Attributes:
        group: its name; an empty text where the method has no groups.
        records: how many have a score and could be chosen.
        chosen: of these.
        low: the lowest score.
        high: the highest.
        median: of all.
        cut: score of the last one chosen; None where no threshold parts chosen from others.
        cut_at: where that is, 0 for `low` and 1 for `high`.
        margin: from there to the best one left out, where the method states it.
        near: by dtype, how many items another device might rank differently.
        bins_chosen: (BINS,) chosen records from `low` to `high`.
        bins_other: (BINS,) the others.
    """

    group: str
    records: int
    chosen: int
    low: float
    high: float
    median: float
    cut: float | None
    cut_at: float
    margin: float | None
    near: Mapping[str, int]
    bins_chosen: tuple[int, ...]
    bins_other: tuple[int, ...]


def spreads(run: Run, outcome: Outcome) -> list[Spread]:
    """Return the spread of scores in every group: the largest first, or from low scores to high.

    The latter where groups are made of scores.
    """
    stated = {str(one.get("group")): one for one in run.selection.facts.get("groups", ())}
    rows = np.flatnonzero(outcome.ranked)
    rows = rows[np.argsort(outcome.group.of_row[rows], kind="stable")]
    codes, starts = np.unique(outcome.group.of_row[rows], return_index=True)
    chosen_rows = outcome.chosen
    found = []
    for code, mine in zip(codes.tolist(), np.split(rows, starts)[1:], strict=True):
        name = outcome.group.labels[code] if code >= 0 else ""
        score, chosen = outcome.score[mine], chosen_rows[mine]
        facts = stated.get(name, {})
        found.append(group_spread(name, score, chosen, outcome.lowest_first, facts))
    if run.selection.facts.get("direction") == "drawn":
        return sorted(found, key=lambda spread: spread.median)
    return sorted(found, key=lambda spread: -spread.records)


def group_spread(
    name: str,
    score: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    lowest_first: bool,
    facts: Mapping[str, Any],
) -> Spread:
    """Return the spread of one group.

    Args:
        name: of the group.
        score: (n,) finite, n > 0.
        chosen: (n,) which are in.
        lowest_first: whether low scores are the good ones.
        facts: what the method says of the group: `margin`, `near_the_cut`.
    """
    low, high = float(score.min()), float(score.max())
    bins = np.minimum((_between(score, low, high) * BINS).astype(np.int64), BINS - 1)
    inside, outside = (np.bincount(bins[mine], minlength=BINS) for mine in (chosen, ~chosen))
    cut = threshold(score, chosen, lowest_first)
    return Spread(
        group=name,
        records=len(score),
        chosen=int(chosen.sum()),
        low=low,
        high=high,
        median=float(np.median(score)),
        cut=cut,
        cut_at=0.0 if cut is None else float(_between(np.array(cut), low, high)),
        margin=facts.get("margin"),
        near=facts.get("near_the_cut", {}),
        bins_chosen=tuple(int(n) for n in inside),
        bins_other=tuple(int(n) for n in outside),
    )


def _between(value: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return where values lie, 0 for `low` and 1 for `high`, however near or far these are."""
    half = high / 2 - low / 2
    return (value / 2 - low / 2) / half if half else np.zeros_like(value)


def threshold(
    score: NDArray[np.float64], chosen: NDArray[np.bool_], lowest_first: bool
) -> float | None:
    """Return the score of the last one chosen, if all better ones are in and all worse ones out.

    Args:
        score: (n,) of one group.
        chosen: (n,) which are in.
        lowest_first: whether low scores are the good ones.
    """
    if chosen.all() or not chosen.any():
        return None
    sign = 1.0 if lowest_first else -1.0
    last, following = (sign * score[chosen]).max(), (sign * score[~chosen]).min()
    noise = _ROUNDING * max(abs(last), float(score.std()))
    return float(sign * last) if last <= following + noise else None

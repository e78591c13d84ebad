"""Ratings and styles as mmSSR's rule reads them: arrays over the rows that can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.mmssr_raters import Raters, Ratings
from visift.methods.mmssr_sampling import OTHER, UNKNOWN, Bins, Queue, feasible, ranked
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.signals.rating_replies import labels_of
from visift.signals.texts import decoded

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

LOWEST, HIGHEST = 0, 5
_DIGITS = np.arange(LOWEST, HIGHEST + 1, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Rated:
    """What is known of n rows.

    Attributes:
        rows: (n,) of the pool.
        capabilities: (C,) keys, in the order in which they pick.
        scores: C times (n,) ratings, NaN for none.
        expected: C times (n,) mean of the probabilities of the ratings, rounded; the rating itself
            where there are none; None where no row has any.
        beyond: numbers that are no whole ones from 0 to 5, which count as none.
        styles: the lists of styles that occur.
        style: (n,) which of them each row has.
    """

    rows: IntArray
    capabilities: tuple[str, ...]
    scores: tuple[Float, ...]
    expected: tuple[Float | None, ...]
    beyond: int
    styles: tuple[tuple[str, ...], ...]
    style: IntArray

    @property
    def best(self) -> Float:
        """(n,) the highest rating of each row, NaN where it has none."""
        best = np.full(len(self.rows), -np.inf)
        for score in self.scores:
            np.fmax(best, score, out=best)
        return np.where(np.isneginf(best), np.nan, best)

    def unrated(self) -> dict[str, int]:
        """Return, by capability, how many rows have no rating in it."""
        counts = (int(np.isnan(score).sum()) for score in self.scores)
        return dict(zip(self.capabilities, counts, strict=True))

    def unknown_styles(self) -> int:
        """Return how many rows have a style that was not among the candidates."""
        other = np.array([OTHER in labels for labels in self.styles], bool)
        return int(other[self.style].sum())

    def without_style(self) -> int:
        """Return how many rows have no style."""
        none = np.array([not labels for labels in self.styles], bool)
        return int(none[self.style].sum())

    def names(self) -> list[str]:
        """Return (n,) the styles of each row as text."""
        texts = [", ".join(labels) for labels in self.styles]
        return [texts[number] for number in self.style.tolist()]


def measured_rows(raters: Raters, rows: IntArray) -> IntArray:
    """Return those of some rows whose ratings and styles could be measured."""
    fine = raters.styles.ok(rows)
    for one in raters.ratings:
        fine &= one.values.ok(rows)
    return rows[fine]


def read_ratings(
    raters: Raters,
    rows: IntArray,
    capabilities: Sequence[str],
    vocabulary: Sequence[str] | None,
    digits: int,
    *,
    official: bool = False,
) -> Rated:
    """Read what was measured.

    Args:
        raters: what was asked for.
        rows: (n,) from `measured_rows`.
        capabilities: in the order in which they pick.
        vocabulary: styles that are allowed; None for all.
        digits: significant ones of `expected`.
        official: whether ratings of any size count.
    """
    scores, expected, beyond = _scores(raters, rows, capabilities, digits, official)
    styles, style = _styles(raters.styles, rows, vocabulary)
    return Rated(rows, tuple(capabilities), scores, expected, beyond, styles, style)


def with_all(rated: Rated, raters: Raters, digits: int, *, official: bool = False) -> Rated:
    """Return rows with all their ratings, those of capabilities that do not pick included.

    The arguments are those of `read_ratings`, which gave `rated`.
    """
    if set(raters.capabilities) == set(rated.capabilities):
        return rated
    scores, expected, beyond = _scores(raters, rated.rows, raters.capabilities, digits, official)
    found = replace(rated, capabilities=raters.capabilities, scores=scores)
    return replace(found, expected=expected, beyond=beyond)


def _scores(
    raters: Raters, rows: IntArray, capabilities: Sequence[str], digits: int, official: bool
) -> tuple[tuple[Float, ...], tuple[Float | None, ...], int]:
    """Return ratings, their expectations, and how many are no whole numbers from 0 to 5."""
    scores, expected, beyond = list[Float](), list[Float | None](), 0
    for key in capabilities:
        source = next(one for one in raters.ratings if key in one.capabilities)
        score = source.values.take(f"score.{key}", rows).astype(np.float64)
        if not official:
            outside = ~(np.isnan(score) | np.isin(score, _DIGITS))
            beyond += int(outside.sum())
            score[outside] = np.nan
        scores.append(score)
        expected.append(_expected(source, key, rows, score, digits))
    return tuple(scores), tuple(expected), beyond


def must_be_rated(rated: Rated, thr: float) -> None:
    """Raise `InputError` where no row can be picked at all, and say why."""
    if feasible(rated.scores, thr):
        return
    everything = len(rated.rows) * len(rated.capabilities)
    lost = sum(rated.unrated().values())
    highest = rated.best[np.isfinite(rated.best)].max(initial=-np.inf)
    there = f"the highest is {highest:g}" if lost < everything else "none of them is a rating"
    raise InputError(
        f"none of {len(rated.rows):,} records is rated above {thr:g}: {there}, and {lost:,} of "
        f"{everything:,} replies have no rating.",
        fix="Lower it (--set thr=…), or teach the scorer more: more labels (--set labelled=…), "
        "or a longer training (--set recipe=epochs:…).",
    )


def _expected(source: Ratings, key: str, rows: IntArray, score: Float, digits: int) -> Float | None:
    if key not in source.spread:
        return None
    mean = source.values.take(f"p.{key}", rows).astype(np.float64) @ _DIGITS
    return significant(np.where(np.isfinite(mean), mean, score), digits)


def _styles(
    measured: Measured, rows: IntArray, vocabulary: Sequence[str] | None
) -> tuple[tuple[tuple[str, ...], ...], IntArray]:
    """Return the lists of styles that occur, and which of them each row has."""
    number: dict[str, int] = {}
    of = np.empty(len(rows), np.int64)
    at = 0
    for block in measured.blocks("styles", rows):
        for text in decoded(block):
            of[at] = number.setdefault(text, len(number))
            at += 1
    return tuple(labels_of(text, vocabulary) for text in number), of


def bins_of(pool: Pool, rated: Rated, *, by_source: bool) -> Bins:
    """Return the bins of rated rows.

    Args:
        pool: what rows refer to.
        rated: the rows with their styles.
        by_source: whether a bin is a style of one source; in a pool without sources it never is.
    """
    groups = pool.groups("source")
    of = groups.of_row[rated.rows].astype(np.int64)
    if not by_source or not (of >= 0).any():
        return Bins.of(rated.styles, rated.style)
    sources = [*groups.labels, UNKNOWN]
    return Bins.of(rated.styles, rated.style, sources, np.where(of < 0, len(sources) - 1, of))


def queues_of(
    rated: Rated,
    bins: Bins,
    thr: float,
    place: IntArray,
    before: Sequence[Float | None],
    *,
    by_expectation: bool,
) -> list[Queue]:
    """Return what each capability can pick, in its order.

    Args:
        rated: the rows.
        bins: theirs.
        thr: rows are rated above this.
        place: (n,) all rows in the order of their tie keys.
        before: for every capability, what settles equal ratings before that, high is good.
        by_expectation: whether expectations rank where ratings would.
    """
    queues = []
    for score, expected, more in zip(rated.scores, rated.expected, before, strict=True):
        value, least = score, thr
        if by_expectation and expected is not None:
            value, least = np.where(score > thr, expected, np.nan), -np.inf
        queues.append(Queue.of(bins, *ranked(value, least, place, more)))
    return queues

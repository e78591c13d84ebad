"""How well a scorer and a styler agree with labels that they did not learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Styles = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class RatingAgreement:
    """Ratings against a teacher's; a reply without a rating agrees with none.

    Attributes:
        count: ratings compared.
        exact: share of equal ones.
        near: share of those at most 1 apart.
        spearman: rank correlation of those with a rating; NaN where either does not vary.
        usual: the teacher's most frequent rating.
        chance_exact: `exact` of always saying `usual`.
        chance_near: `near` of always saying `usual`.
    """

    count: int
    exact: float
    near: float
    spearman: float
    usual: float
    chance_exact: float
    chance_near: float

    @classmethod
    def of(cls, said: Float, teacher: Float) -> RatingAgreement | None:
        """Compare ratings; None where there is nothing to compare.

        Args:
            said: (n,) by the scorer, NaN for none.
            teacher: (n,) NaN for none.
        """
        there = np.isfinite(teacher)
        said, teacher = said[there], teacher[there]
        if not len(teacher):
            return None
        values, counts = np.unique(teacher, return_counts=True)
        usual = float(values[np.argmax(counts)])
        rated = np.isfinite(said)
        return cls(
            len(teacher),
            float((said == teacher).mean()),
            float((np.abs(said - teacher) <= 1).mean()),
            spearman(said[rated], teacher[rated]),
            usual,
            float((teacher == usual).mean()),
            float((np.abs(teacher - usual) <= 1).mean()),
        )


@dataclass(frozen=True, slots=True)
class StyleAgreement:
    """Styles against a teacher's.

    Attributes:
        count: rows compared.
        f1: over all pairs of a row and a style that either names.
        first: share of rows whose first style is the same.
        usual: the teacher's most frequent first style.
        chance_f1: `f1` of always saying `usual`.
        chance_first: `first` of always saying `usual`.
    """

    count: int
    f1: float
    first: float
    usual: str
    chance_f1: float
    chance_first: float

    @classmethod
    def of(cls, said: Styles, teacher: Styles) -> StyleAgreement | None:
        """Compare ordered labels, row by row; None where the teacher named none."""
        pairs = [(a, b) for a, b in zip(said, teacher, strict=True) if b]
        if not pairs:
            return None
        mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        seen = Counter(b[0] for b in theirs)
        usual = min(seen, key=lambda label: (-seen[label], label))
        always = [(usual,)] * len(theirs)
        return cls(
            len(theirs),
            f1(mine, theirs),
            _first(mine, theirs),
            usual,
            f1(always, theirs),
            _first(always, theirs),
        )


def spearman(a: Float, b: Float) -> float:
    """Return the correlation of ranks, equal values sharing their mean rank; NaN without any."""
    if len(a) < 2 or (a == a[0]).all() or (b == b[0]).all():
        return float("nan")
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Float) -> Float:
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[number])


def f1(said: Styles, teacher: Styles) -> float:
    """Return 2 x both / (said + teacher), counted over pairs of a row and a label."""
    both = sum(len(set(a) & set(b)) for a, b in zip(said, teacher, strict=True))
    named = sum(len(set(labels)) for labels in (*said, *teacher))
    return 2 * both / named if named else 0.0


def _first(said: Styles, teacher: Styles) -> float:
    same = sum(a[:1] == b[:1] for a, b in zip(said, teacher, strict=True))
    return same / len(teacher)

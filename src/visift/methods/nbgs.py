"""Necessity-based grouped sampling, the equations of MLLM-Selector (arXiv 2503.20502).

Arrays in and out. That rows are drawn from groups of necessity is [paper]; how, is [ours].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.methods.cells import Cells
from visift.methods.grouping import EVERYTHING, Labelled
from visift.numerics.allocate import power
from visift.numerics.groups import as_fraction

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: Weights must not be negative: the lowest score is moved this far above 0.
EPSILON = 1e-6
_HALVINGS = 200


# --- groups --------------------------------------------------------------------------------------


def quantile_groups(
    NS: Float, key: NDArray[np.uint64], K: int, *, together: bool = False
) -> IntArray:
    """Return the group of each row, 0 for the least necessary: g = floor(r K / R).

    Args:
        NS: (R,) necessity.
        key: (R,) settles the order of equal scores.
        K: number of groups; R where there are fewer rows.
        together: whether equal scores stay in one group, that of the first of them.
    """
    R = len(NS)
    K = min(K, R)
    order = np.lexsort((key, NS))
    group = np.empty(R, np.int64)
    group[order] = np.arange(R) * K // max(R, 1)
    if together:
        _, first, level = np.unique(NS[order], return_index=True, return_inverse=True)
        group[order] = group[order][first][level]
    return group


def equal_width_groups(NS: Float, K: int, clip: tuple[float, float] = (1, 99)) -> IntArray:
    """Return the group of each row: K ranges of equal width; some may be empty.

    Args:
        NS: (R,) necessity.
        K: number of groups.
        clip: percentiles beyond which scores count as these.
    """
    if not len(NS):
        return np.empty(0, np.int64)
    low, high = np.percentile(NS, clip)
    if low == high:
        return np.zeros(len(NS), np.int64)
    place = (np.clip(NS, low, high) - low) / (high - low)
    return np.asarray(np.minimum((place * K).astype(np.int64), K - 1))


def means(NS: Float, cell: IntArray, cells: int) -> Float:
    """Return (cells,) the mean necessity of each cell, 0 of an empty one."""
    size = np.bincount(cell, minlength=cells)
    return np.asarray(np.bincount(cell, NS, minlength=cells) / np.maximum(size, 1))


# --- how many from each group --------------------------------------------------------------------


def power_weights(mean: Float, size: IntArray, alpha: float) -> list[Fraction]:
    """Return |G| mean(NS in G)^alpha for each group, on a scale of its own.

    alpha = 0 keeps the pool's mix, alpha towards infinity fills the most necessary groups first.

    Args:
        mean: (G,) mean necessity, not negative: see `shifted`.
        size: (G,) rows.
        alpha: exponent.
    """
    raised = power([as_fraction(g, m) for g, m in enumerate(mean.tolist())], alpha)
    return [weight * int(rows) for weight, rows in zip(raised, size, strict=True)]


def shifted(NS: Float) -> Float:
    """Return scores as weights may use them: NS - min + epsilon where some are negative."""
    low = float(NS.min(initial=0.0))
    return NS - low + EPSILON if low < 0 else NS


def kl_mixture(pi: Float, m: Float, lam: float) -> Float:
    """Return the mix that maximises sum(rho m) - lambda KL(rho || pi): rho ~ pi exp(m / lambda).

    Args:
        pi: (P,) shares of the pool, summing to 1.
        m: (P,) mean necessity.
        lam: lambda; large ones give pi, small ones the neediest part.
    """
    raised = pi * np.exp((m - m[pi > 0].max(initial=-np.inf)) / lam)
    return np.asarray(raised / raised.sum())


def kl_divergence(rho: Float, pi: Float) -> float:
    """Return KL(rho || pi) in nats; pi is positive wherever rho is."""
    there = rho > 0
    return float(np.sum(rho[there] * np.log(rho[there] / pi[there])))


def lambda_for(pi: Float, m: Float, kappa: float) -> float:
    """Return the lambda at which KL(rho || pi) is `kappa` nats, by bisection.

    KL falls as lambda grows, from that of the neediest part alone to 0: where `kappa` is more than
    the first, a lambda so small comes out that the neediest part gets everything.
    """
    spread = float(np.ptp(m[pi > 0])) or 1.0
    low, high = np.log(spread * 1e-9), np.log(spread * 1e9)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        more = kl_divergence(kl_mixture(pi, m, float(np.exp(middle))), pi) > kappa
        low, high = (middle, high) if more else (low, middle)
    return float(np.exp(high))


def shares(counts: Sequence[int] | IntArray) -> Float:
    """Return counts as shares of their sum; zeros where there is nothing."""
    plain = np.asarray(counts, np.float64)
    return np.asarray(plain / max(plain.sum(), 1.0))


# --- both ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """How rows are grouped and a budget is shared; parameters of `MLLMSelector`."""

    groups: Literal["quantile", "equal_width"]
    K: int
    ties: Literal["split", "together"]
    alpha: float
    diversity: Literal["power", "kl"]
    kl_budget: float
    lam: float | None


def share_out(
    rule: Rule, rows: IntArray, NS: Float, key: NDArray[np.uint64], by: Labelled, part: str
) -> Cells:
    """Return the rows of one part in cells, with what shares its budget over them.

    Args:
        rule: how.
        rows: (n,) rows of the pool.
        NS: (n,) their necessity.
        key: (n,) settles equal scores.
        by: a label that cells are told apart by as well; one label for all where not.
        part: name of the part, empty where it is everything.
    """
    if rule.groups == "quantile":
        group = quantile_groups(NS, key, rule.K, together=rule.ties == "together")
    else:
        group = equal_width_groups(NS, rule.K)
    count = int(group.max(initial=0)) + 1
    cell = by.of * count + group
    names = [
        ", ".join(
            word
            for word in (
                part,
                label if label != EVERYTHING else "",
                f"necessity {g + 1} of {count}" if count > 1 or len(by.labels) == 1 else "",
            )
            if word
        )
        for label in by.labels
        for g in range(count)
    ]
    size = np.bincount(cell, minlength=len(names))
    if rule.diversity == "power":
        weights = power_weights(means(shifted(NS), cell, len(names)), size, rule.alpha)
    else:
        weights = kl_weights(shares(size), means(NS, cell, len(names)), rule)
    return Cells(rows, cell, tuple(names), tuple(weights))


def kl_weights(pi: Float, m: Float, rule: Rule) -> list[Fraction]:
    """Return the mix of `kl_mixture` as exact weights; those of nothing are zero."""
    if not pi.any():
        return [Fraction(0)] * len(pi)
    lam = lambda_for(pi, m, rule.kl_budget) if rule.lam is None else rule.lam
    return [Fraction(repr(share)) for share in kl_mixture(pi, m, lam).tolist()]

"""Rank agreement in n log n gives what the definitions over all pairs give."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.numerics.agreement import average_ranks, inversions, kendall, spearman

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=30)


def columns(pairs):
    return np.array(pairs, np.float64).reshape(-1, 2).T


def printed_tau_b(x, y):
    signs = [
        (np.sign(x[i] - x[j]), np.sign(y[i] - y[j]))
        for i, j in itertools.combinations(range(len(x)), 2)
    ]
    agree = sum(a * b for a, b in signs)
    scale = math.sqrt(sum(a != 0 for a, _ in signs)) * math.sqrt(sum(b != 0 for _, b in signs))
    return agree / scale if scale else None


def printed_rank(values):
    """One more than the smaller ones, and half of the other equal ones."""
    return [1 + sum(w < v for w in values) + (sum(w == v for w in values) - 1) / 2 for v in values]


@given(PAIRS)
def test_tau_b_is_the_sum_over_all_pairs(pairs):
    x, y = columns(pairs)
    wanted = printed_tau_b(x, y)
    assert kendall(x, y) == (None if wanted is None else pytest.approx(wanted, abs=1e-12))


@given(PAIRS)
def test_rho_is_the_correlation_of_average_ranks(pairs):
    x, y = columns(pairs)
    ranks = np.array([printed_rank(x), printed_rank(y)])
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert spearman(x, y) is None
    else:
        assert spearman(x, y) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-12)


@given(st.lists(st.integers(-5, 5), max_size=40))
def test_inversions_are_pairs_out_of_order(values):
    out_of_order = sum(a > b for a, b in itertools.combinations(values, 2))
    assert inversions(np.array(values, np.int64)) == out_of_order


def test_equal_values_share_the_mean_of_their_ranks():
    assert average_ranks(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_a_hundred_thousand_items():
    up = np.arange(100_000.0)
    assert (kendall(up, up), kendall(up, -up)) == (1.0, -1.0)
    assert (spearman(up, up), spearman(up, -up)) == (1.0, -1.0)
    swapped = up.copy()
    swapped[[0, 1]] = [1, 0]
    assert kendall(up, swapped) == 1 - 4 / (100_000 * 99_999)

"""Necessity-based grouped sampling: the unit cases of MLLM-Selector's specification by number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.methods.nbgs import (
    EPSILON,
    equal_width_groups,
    kl_divergence,
    kl_mixture,
    lambda_for,
    means,
    power_weights,
    quantile_groups,
    shares,
    shifted,
)
from visift.numerics.allocate import allocate
from visift.numerics.seats import seat_order

PI, M = np.array([0.5, 0.3, 0.2]), np.array([1.0, 2.0, 3.0])


def keys(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64)


def quotas(NS: np.ndarray, K: int, alpha: float, total: int) -> list[int]:
    group = quantile_groups(NS, keys(len(NS)), K)
    size = np.bincount(group, minlength=K)
    return allocate(total, power_weights(means(NS, group, K), size, alpha), size).tolist()


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0, [1, 1, 1, 1, 1]),
        (1, [0, 1, 1, 1, 2]),
        (2, [0, 0, 1, 2, 2]),
        (50, [0, 0, 1, 2, 2]),
    ],
)
def test_u3_quotas_by_alpha(alpha: float, expected: list[int]) -> None:
    assert quotas(np.arange(1.0, 11.0), 5, alpha, 5) == expected


def test_u4_quotas_beyond_caps_are_redistributed() -> None:
    assert quotas(np.arange(1.0, 11.0), 5, 1, 8) == [1, 1, 2, 2, 2]


def test_u5_group_sizes() -> None:
    assert np.bincount(quantile_groups(np.arange(7.0), keys(7), 3)).tolist() == [3, 2, 2]
    assert np.bincount(quantile_groups(np.arange(10.0), keys(10), 4)).tolist() == [3, 2, 3, 2]


def test_u6_groups_of_equal_width_depend_on_the_scale_of_scores() -> None:
    NS = np.arange(4.0)
    assert equal_width_groups(NS, 2).tolist() == [0, 0, 1, 1]
    assert equal_width_groups(np.exp(NS), 2, clip=(0, 100)).tolist() == [0, 0, 0, 1]
    assert (np.exp(0) + np.exp(3)) / 2 == pytest.approx(10.542768, abs=1e-6)


@pytest.mark.parametrize(
    ("lam", "rho", "divergence"),
    [
        (1.0, [0.179000, 0.291944, 0.529056], 0.322834),
        (1e9, [0.5, 0.3, 0.2], 0.0),
        (1e-3, [0.0, 0.0, 1.0], -np.log(0.2)),
    ],
)
def test_u10_mixture_by_lambda(lam: float, rho: list[float], divergence: float) -> None:
    found = kl_mixture(PI, M, lam)
    assert found == pytest.approx(rho, abs=1e-6)
    assert kl_divergence(found, PI) == pytest.approx(divergence, abs=1e-6)


def test_u10_caps_redistribute_what_one_part_cannot_give() -> None:
    assert allocate(5, kl_mixture(PI, M, 1e-3), [5, 3, 2]).tolist() == [2, 1, 2]


def test_u11_lambda_for_a_divergence() -> None:
    lam = lambda_for(PI, M, 0.1)
    assert lam == pytest.approx(1.829780, abs=1e-6)
    assert kl_mixture(PI, M, lam) == pytest.approx([0.309631, 0.320881, 0.369488], abs=1e-6)


def test_a_divergence_out_of_reach_gives_the_neediest_part_everything() -> None:
    assert kl_mixture(PI, M, lambda_for(PI, M, 9.0)) == pytest.approx([0, 0, 1])


def test_the_divergence_does_not_depend_on_the_scale_of_scores() -> None:
    mixes = [kl_mixture(PI, s * M, lambda_for(PI, s * M, 0.1)) for s in (1e-3, 1.0, 1e3)]
    assert mixes[0] == pytest.approx(mixes[1], abs=1e-9)
    assert mixes[2] == pytest.approx(mixes[1], abs=1e-9)


def test_equal_scores_are_parted_by_key_or_stay_together() -> None:
    NS = np.array([1.0, 1.0, 1.0, 2.0])
    assert quantile_groups(NS, keys(4)[::-1].copy(), 2).tolist() == [1, 0, 0, 1]
    assert quantile_groups(NS, keys(4), 2, together=True).tolist() == [0, 0, 0, 1]


def test_fewer_rows_than_groups_are_a_group_each() -> None:
    assert quantile_groups(np.array([3.0, 1.0]), keys(2), 10).tolist() == [1, 0]
    assert quantile_groups(np.empty(0), keys(0), 10).tolist() == []
    assert equal_width_groups(np.empty(0), 10).tolist() == []
    assert equal_width_groups(np.full(3, 7.0), 10).tolist() == [0, 0, 0]


def test_all_scores_zero_fall_back_to_sizes() -> None:
    assert quotas(np.zeros(10), 5, 1, 5) == [1, 1, 1, 1, 1]


def test_negative_scores_are_moved_above_zero() -> None:
    assert shifted(np.array([-2.0, 1.0])).tolist() == [EPSILON, 3 + EPSILON]
    assert shifted(np.array([0.5, 1.0])).tolist() == [0.5, 1.0]


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=40),
    st.integers(1, 8),
    st.floats(0, 6),
)
def test_every_quota_grows_with_the_budget(NS: list[float], K: int, alpha: float) -> None:
    scores = np.array(NS)
    group = quantile_groups(scores, keys(len(NS)), K)
    K = int(group.max()) + 1
    size = np.bincount(group, minlength=K)
    assert size.max() - size.min() <= 1
    weights = power_weights(means(scores, group, K), size, alpha)
    seats = seat_order(weights, size)
    for total in range(len(NS) + 1):
        assert np.bincount(seats[:total], minlength=K).tolist() == (
            allocate(total, weights, size).tolist()
        )


#: Apart from each other, or equal: what is all but equal stands for neither.
scores_of_groups = st.integers(0, 5000).map(lambda number: number / 100)


@given(st.lists(scores_of_groups, min_size=1, max_size=8), st.floats(0.001, 3))
def test_lambda_meets_the_divergence_or_the_most_there_is(m: list[float], kappa: float) -> None:
    pi, scores = shares([3] * len(m)), np.array(m)
    reached = kl_divergence(kl_mixture(pi, scores, lambda_for(pi, scores, kappa)), pi)
    most = -np.log(np.mean(scores == scores.max()))
    assert reached <= kappa + 1e-9
    assert reached == pytest.approx(min(kappa, most), abs=1e-3) or np.ptp(scores) < 1e-6

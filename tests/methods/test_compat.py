"""Official arithmetic of PreSel's programs, as its specification lists it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.budget import Budget
from visift.errors import InputError
from visift.methods.compat import (
    presel_llava_shares,
    presel_new_rows,
    presel_quota,
    presel_vision_flan_shares,
)
from visift.methods.irs import task_weights

W = task_weights(np.array([0.2, 0.5, 0.8, 1.0]))


def test_u4_shares_of_both_programs() -> None:
    assert presel_llava_shares(W, 100).tolist() == [51, 26, 14, 9]
    sizes = np.array([30, 40, 50, 60])
    assert presel_vision_flan_shares(W, 100, sizes).tolist() == [30, 33, 21, 16]


@pytest.mark.parametrize(
    ("n", "available", "full", "expected"),
    [
        (8, [10, 7, 3], [10, 7, 3], [4, 3, 1]),
        (10, [5, 5, 5, 5], [5, 6, 7, 8], [2, 2, 3, 3]),
        (14, [7, 7, 7, 7], [9, 8, 8, 7], [4, 3, 4, 3]),
        (2, [3, 1], [3, 1], [2, 0]),
    ],
)
def test_u5_quotas_of_clusters(
    n: int, available: list[int], full: list[int], expected: list[int]
) -> None:
    assert presel_quota(n, np.array(available), np.array(full)).tolist() == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.data())
def test_u5_one_pass_meets_every_quota(available: list[int], data: st.DataObject) -> None:
    there = np.array(available)
    full = (
        there
        + np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(available))))[
            : len(available)
        ]
    )
    n = data.draw(st.integers(0, int(there.sum())))
    quota = presel_quota(n, there, full)
    assert int(quota.sum()) == n
    assert (quota <= there).all()
    assert (quota >= 0).all()


def test_u8_new_rows() -> None:
    assert presel_new_rows(Budget.parse("15%"), 624_610) == 62_460


@pytest.mark.parametrize("budget", ["5%", "12%", "100"])
def test_budgets_that_the_program_does_not_know(budget: str) -> None:
    with pytest.raises(InputError, match="multiples of 5 %"):
        presel_new_rows(Budget.parse(budget), 1000)

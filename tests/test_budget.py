"""Budgets: exact decimals, rounded down, and the largest feasible value in every refusal."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.budget import Budget, Unit
from visift.errors import InfeasibleBudget, InputError


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("15%", "fraction", "0.15"),
        (" 7.5 % ", "fraction", "0.075"),
        ("100%", "fraction", "1"),
        (1000, "rows", "1000"),
        ("1_000", "rows", "1000"),
        ("1,000", "rows", "1000"),
        ("1,234,567", "rows", "1234567"),
        ("50k", "rows", "50000"),
        ("2.5k rows", "rows", "2500"),
        ("0.001M", "rows", "1000"),
        ("12-records", "rows", "12"),
        ("50k-images", "images", "50000"),
        ("50,000 images", "images", "50000"),
        ("2M-tokens", "tokens", "2000000"),
        ("1.5B tokens", "tokens", "1500000000"),
        ("2M-tokens+576/image", "tokens", "2000000"),
        ("5x keep", "keep", "5"),
        ("0.5xkeep", "keep", "0.5"),
    ],
)
def test_parse(text: str | int, unit: Unit, amount: str) -> None:
    budget = Budget.parse(text)
    assert (budget.unit, budget.amount) == (unit, Fraction(amount))
    assert budget.text == str(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "abc",
        "nan",
        "inf",
        "15%%",
        "15 15",
        "50k-dogs",
        "1,5%",
        "1,0000",
        "1__0",
        "0x10",
        "1.5",
        "0.0001k",
        "1.",
        "1e5",
        "--3",
        "5-images%",
        "5-images+3/image",
        "5-tokens+1234567890/image",
        "tokens",
        "5x",
        "x keep",
        "5x kept",
    ],
)
def test_what_is_no_budget_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Budget.parse(text)
    assert text in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "rows", "limit"),
    [
        ("0.29", 100, None),
        ("29%", 100, 29),
        ("15%", 665_298, 99_794),
        ("100%", 7, 7),
        ("99.99999%", 7, 6),
        ("7", 7, 7),
        ("33.3%", 1000, 333),
    ],
)
def test_limit_is_exact_and_rounded_down(text: str, rows: int, limit: int | None) -> None:
    if limit is None:
        with pytest.raises(InputError, match="whole number"):
            Budget.parse(text)
    else:
        assert Budget.parse(text).limit(rows, 0) == limit


@pytest.mark.parametrize(
    ("text", "rows", "images", "largest"),
    [
        ("0", 10, 10, "Largest: 10 or 100%."),
        ("0%", 10, 10, "Largest: 10 or 100%."),
        ("-3", 10, 10, "Largest: 10 or 100%."),
        ("-3%", 10, 10, "Largest: 10 or 100%."),
        ("11", 10, 20, "Largest: 10 or 100%."),
        ("100.1%", 10, 20, "Largest: 10 or 100%."),
        ("9%", 10, 10, "Largest: 10 or 100%."),
        ("5-images", 10, 4, "Largest: 4-images or 100%."),
    ],
)
def test_infeasible_budgets_name_the_largest(
    text: str, rows: int, images: int, largest: str
) -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        Budget.parse(text).limit(rows, images)
    assert caught.value.fix == largest


@pytest.mark.parametrize(
    ("text", "limit"), [("5x keep", 36), ("0.5x keep", 9), ("0.25x keep", 7), ("12", 12)]
)
def test_multiples_count_the_chosen_beside_the_kept(text: str, limit: int) -> None:
    assert Budget.parse(text).limit(100, kept=6) == limit


def test_a_multiple_of_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="counts kept records, and there are none") as caught:
        Budget.parse("5x keep").limit(100)
    assert caught.value.fix == "Name them with --keep FILE."


def test_image_tokens_are_read() -> None:
    assert Budget.parse("2M-tokens").image_tokens == 0
    assert Budget.parse("2M-tokens+576/image").image_tokens == 576


def test_nothing_usable_has_no_largest() -> None:
    with pytest.raises(InfeasibleBudget, match="no usable records"):
        Budget.parse("15%").limit(0, 0)
    with pytest.raises(InfeasibleBudget, match="no usable images"):
        Budget.parse("1-images").limit(5, 0)


@given(st.integers(1, 10**7), st.integers(1, 10_000))
def test_percentages_are_floors_of_exact_products(rows: int, hundredths: int) -> None:
    budget = Budget.parse(f"{hundredths // 100}.{hundredths % 100:02}%")
    exact = rows * hundredths // 10_000
    if exact:
        assert budget.limit(rows, 0) == exact


def test_cut_stops_at_the_first_that_does_not_fit() -> None:
    cost = np.array([2, 3, 0, 4, 1])
    taken = [Budget.parse("9").cut(cost, limit) for limit in range(11)]
    assert taken == [0, 0, 1, 1, 1, 3, 3, 3, 3, 4, 5]


@pytest.mark.parametrize(
    ("rows", "kept", "largest"),
    [
        (10, 3, '"2.33x keep", 10'),
        (30, 3, '"9x keep", 30'),
        (2_345_679, 1, '"2345678x keep", 2345679'),
        (5, 5, "5"),
        (1001, 1000, "1001"),
    ],
)
def test_the_largest_multiple_can_be_asked_for(rows: int, kept: int, largest: str) -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        Budget.parse("9999999x keep").limit(rows, kept=kept)
    assert caught.value.fix == f"Largest: {largest} or 100%."
    if '"' in largest:
        assert Budget.parse(largest.split('"')[1]).limit(rows, kept=kept) <= rows


def test_tokens_are_counted_once_the_budget_is_priced() -> None:
    assert Budget.parse("15%").counted
    assert not Budget.parse("2M-tokens").counted
    assert Budget.parse("2M-tokens").priced(np.array([1])).counted

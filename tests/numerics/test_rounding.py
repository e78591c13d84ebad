"""Rounding to significant digits agrees with Python's decimal printing, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visift.errors import InputError
from visift.numerics.rounding import significant


def printed(value, digits):
    return float(f"{value:.{digits - 1}e}")


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 17))
@example(1234565.0, 6)  # a half: to even
@example(0.3, 17)
@example(999999.5, 6)
@example(9.999995e22, 6)
@example(1e-5, 6)
@example(5e-324, 6)
@example(1.7976931348623157e308, 17)
def test_is_the_float_nearest_to_the_printed_number(value, digits):
    if math.isfinite(printed(value, digits)):
        assert significant(np.array([value]), digits)[0] == printed(value, digits)


@given(st.integers(10**5, 10**6 - 1), st.integers(-40, 40), st.sampled_from([-0.5, 0, 0.5]))
def test_is_right_beside_and_on_a_half(whole, exponent, offset):
    value = (whole + offset) * 10.0**exponent
    values = np.array([value, np.nextafter(value, 0), np.nextafter(value, np.inf), -value])
    assert significant(values).tolist() == [printed(v, 6) for v in values]


def test_many_values_of_all_sizes():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(20_000) * 10.0 ** rng.integers(-30, 30, 20_000)
    assert significant(values).tolist() == [printed(v, 6) for v in values]
    assert (significant(significant(values)) == significant(values)).all()


@pytest.mark.parametrize("digits", [6, 13, 14, 15, 16])
def test_is_right_around_powers_of_ten(digits):
    """Where the logarithm, rounded, misjudges the exponent."""
    powers = np.array([float(f"1e{k}") for k in range(-25, 40)])
    values = (powers[:, None] * (1 - np.arange(-50, 200) * 2.0**-53)).ravel()
    assert significant(values, digits).tolist() == [printed(v, digits) for v in values]


def test_noise_in_the_last_bits_disappears():
    assert significant(np.array([0.1 + 0.2]))[0] == 0.3


def test_zeros_and_non_finite_values():
    rounded = significant(np.array([0.0, -0.0, np.nan, np.inf, -np.inf]))
    assert rounded[:2].tolist() == [0, 0]
    assert not np.signbit(rounded[:2]).any()
    assert np.isnan(rounded[2])
    assert rounded[3:].tolist() == [np.inf, -np.inf]


def test_keeps_the_shape_and_leaves_its_input_alone():
    values = np.array([[1.23456789, 2.0], [3.0, 4.0]])
    assert significant(values, 3).tolist() == [[1.23, 2.0], [3.0, 4.0]]
    assert values[0, 0] == 1.23456789
    assert significant(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("digits", [0, -1, 18])
def test_digits_outside_the_range(digits):
    with pytest.raises(InputError, match="1 to 17"):
        significant(np.array([1.0]), digits)

"""Large numbers in a few digits."""

from __future__ import annotations

import pytest

from visift.amounts import data_size, duration, short


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (932, "932"), (999.4, "999"), (999.6, "1.0k"), (1_234, "1.2k"), (9_960, "10k"),
     (338_377, "338k"), (999_600, "1.0M"), (2.5e9, "2.5G"), (7e18, "7000P")],
)  # fmt: skip
def test_numbers(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (512, "512 bytes"), (3_380, "3.4 kB"), (2_771_984_384, "2.8 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert data_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "less than 1 s"), (25.4, "25 s"), (99.6, "2 min"), (38 * 60, "38 min"),
     (5.1 * 3600, "5.1 h"), (58 * 3600, "58 h")],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text

"""Counts, sizes and times as people read them."""

from __future__ import annotations

import pytest

from visift.amounts import counted, data_size, duration, short


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (932, "932"), (999.4, "999"), (999.6, "1.0k"), (1_234, "1.2k"), (9_960, "10k"),
     (338_377, "338k"), (999_600, "1.0M"), (2.5e9, "2.5G"), (7e18, "7000P")],
)  # fmt: skip
def test_numbers(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (3_380, "3.4 kB"),
        (412_000_000, "412 MB"),
        (999_600_000, "1.0 GB"),
        (2_771_984_384, "2.8 GB"),
        (5_450_000_000_000, "5.5 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert data_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (25.4, "25 s"),
     (99.6, "2 min"), (38 * 60, "38 min"), (7_500, "2 h 05 min"), (5.1 * 3600, "5 h 06 min"),
     (35_969, "9 h 59 min"), (35_971, "10 h"), (58 * 3600, "58 h"), (1e7, "2,778 h")],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    said = [counted(number, "record") for number in (0, 1, 1_024)]
    assert said == ["0 records", "1 record", "1,024 records"]

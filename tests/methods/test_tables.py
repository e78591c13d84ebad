"""Numbers by source: words, one number, or a table; every mistake is named."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from visift.errors import InputError
from visift.methods.tables import group_weights, whole_by_name

NAMES = ("coco", "gqa", "vg")
SIZES = np.array([900, 90, 10])


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        ("proportional", [0.9, 0.09, 0.01]),
        ("uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("sqrt", [0.703414, 0.222439, 0.074146]),
        ("power:0.5", [0.703414, 0.222439, 0.074146]),
        ("power:1", [0.9, 0.09, 0.01]),
        ("power:0", [1 / 3, 1 / 3, 1 / 3]),
        ("coco:3,gqa:1,vg:0", [0.75, 0.25, 0]),
        ("{coco: 2, *: 1}", [0.5, 0.25, 0.25]),
        ({"coco": 1, "gqa": 0.5, "vg": 0.5}, [0.5, 0.25, 0.25]),
    ],
)
def test_weights(said: Any, shares: list[float]) -> None:
    weights = [float(w) for w in group_weights(said, NAMES, SIZES)]
    assert np.allclose(np.array(weights) / sum(weights), shares, atol=5e-7)


def test_decimal_weights_stay_exact() -> None:
    assert group_weights("coco:0.1,*:0.3", NAMES, SIZES)[0] == Fraction(1, 10)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("squrt", 'weights=squrt: not known. Did you mean "sqrt"?'),
        ("power:x", '"x" is not a number'),
        ("power:inf", '"inf" is not a number'),
        ("coko:1,*:1", 'there is no source "coko". Did you mean "coco"?'),
        ("coco:1", "no weight for gqa, vg."),
        ("coco:1,gqa", '"gqa" is not NAME:NUMBER.'),
        ("coco:-1,*:1", "weights are not negative"),
        ("*:0", "not all of them 0"),
    ],
)
def test_what_are_no_weights(said: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        group_weights(said, NAMES, SIZES)
    assert message in caught.value.what


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        (20, [20, 20, 20]),
        ("gqa:5", [900, 5, 10]),
        ("gqa:5,*:7", [7, 5, 7]),
        ({"vg": 1}, [900, 90, 1]),
    ],
)
def test_rows_by_source(said: Any, numbers: list[int]) -> None:
    assert whole_by_name("max", said, NAMES, SIZES).tolist() == numbers


@pytest.mark.parametrize("said", ["gqa:1.5", "gqa:-1", "x:1", "gqa:"])
def test_what_are_no_rows(said: str) -> None:
    with pytest.raises(InputError, match="--set min"):
        whole_by_name("min", said, NAMES, SIZES)

"""How sure a cut is: the band in which another device might rank differently."""

from __future__ import annotations

import numpy as np

from visift.methods.cuts import NOISE, cut_table
from visift.methods.grouping import Labelled


def near(score: list[float], chosen: int) -> dict[str, int]:
    """Return the items near the cut of one group whose lowest `chosen` scores are in."""
    values = np.array(score)
    inside = np.zeros(len(values), bool)
    inside[np.argsort(values, kind="stable")[:chosen]] = True
    labels = Labelled(("all",), np.zeros(len(values), np.int64))
    return {dtype: int(n[0]) for dtype, n in cut_table(labels, values, inside).inside.items()}


def test_around_zero_the_spread_of_the_scores_makes_the_band() -> None:
    spread = [-2.0, -1.0, 1.0, 2.0]  # sd of about 1.3
    scores = [*spread, -0.015, 0.015, -4e-6, 4e-6]
    assert near(scores, 4) == {"float32": 2, "bfloat16": 4}


def test_far_from_zero_the_cut_itself_makes_the_band() -> None:
    scores = [1000.0 + step for step in (-30.0, -15.0, -0.005, 0.005, 15.0, 30.0)]
    assert near(scores, 3) == {"float32": 2, "bfloat16": 4}


def test_without_a_cut_nothing_is_near_it() -> None:
    assert near([1.0, 2.0], 0) == near([1.0, 2.0], 2) == dict.fromkeys(NOISE, 0)

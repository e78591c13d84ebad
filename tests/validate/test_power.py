"""What an evaluation can show, against published and measured figures."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from helpers import SHARED, needs_shared
from visift.validate.power import (
    detectable_effect,
    effective_size,
    hidden_by_seeds,
    power_line,
    questions_needed,
)


def test_about_a_thousand_independent_questions_for_three_points() -> None:
    assert questions_needed(0.03) == 969


def test_three_trainings_against_three_hide_two_and_a_half_points() -> None:
    assert hidden_by_seeds(1.1, 3, 3) == pytest.approx(2.5, abs=0.01)
    assert hidden_by_seeds(1.1, 5, 5) == pytest.approx(1.6, abs=0.01)
    assert hidden_by_seeds(1.1, 1, 1) == math.inf


def test_group_sizes_count_as_questions_see_them() -> None:
    assert effective_size([1, 1, 1]) == 1
    assert effective_size([1, 3]) == 2.5


def test_independent_questions_need_no_inflation() -> None:
    by_hand = (1.959964 + 0.841621) * math.sqrt(0.3 / 1000)
    assert detectable_effect([1] * 1000) == pytest.approx(by_hand)
    assert detectable_effect([5] * 200, likeness=0) == detectable_effect([1] * 1000)
    assert detectable_effect([5] * 200, likeness=1) == detectable_effect([1] * 200)


@needs_shared
def test_the_held_out_questions_of_the_real_pool() -> None:
    records = json.loads((SHARED / "pools" / "real" / "eval.json").read_bytes())
    sizes = list(Counter(record["group"] for record in records).values())
    assert (sum(sizes), len(sizes)) == (2010, 935)
    assert detectable_effect(sizes) == pytest.approx(0.046, abs=0.0005)


def test_the_power_line() -> None:
    assert power_line([1] * 1000) == (
        "1,000 questions in 1,000 image groups find a difference of 4.9 points four times of five "
        "(if 30% of the answers differ and questions on one image are alike by 0.2); the noise of "
        "training comes on top."
    )
    assert "of 5.9 points for one of 5 methods" in power_line([1] * 1000, methods=5)

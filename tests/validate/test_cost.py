"""The cost ledger: what choosing and training take, and when that pays off."""

from __future__ import annotations

import dataclasses
import math

import pytest

from visift.signals.cost import Cost
from visift.validate.cost import (
    ArmCost,
    Saving,
    overall_cost,
    plain,
    saving,
    savings,
    seconds_of,
)


def arm(
    name: str = "m",
    choosing: float | None = 0.0,
    training: float | None = 10.0,
    flops: tuple[int | None, int | None] = (0, 1000),
) -> ArmCost:
    return ArmCost(name, Cost(flops=flops[0]), choosing, Cost(flops=flops[1]), training, 100)


FULL = arm("full", training=100.0, flops=(0, 10_000))


def test_the_overall_cost_is_that_of_the_paper() -> None:
    # Scores 80 and 40: two times (20 + 10) / 100.
    assert overall_cost(0.8, 0.4, 20, 10, 100) == pytest.approx(0.6)


@pytest.mark.parametrize(("score", "full"), [(0.0, 100.0), (0.5, 0.0)])
def test_no_overall_cost_where_nothing_was_learnt_or_took_time(score: float, full: float) -> None:
    assert overall_cost(0.8, score, 1, 1, full) is None


def test_random_costs_its_share_of_the_training() -> None:
    found = saving(arm(), FULL, 0.8, 0.8)
    assert found.once == found.tenfold == pytest.approx(0.1)
    assert found.runs == 1


def test_choosing_pays_off_when_it_has_saved_what_it_took() -> None:
    found = saving(arm(choosing=200.0), FULL, 0.8, 0.8)
    assert found.once == pytest.approx(2.1)
    assert found.tenfold == pytest.approx(0.3)
    assert found.runs == 3  # saves 90 a run


def test_choosing_never_pays_off_where_training_is_no_shorter() -> None:
    assert saving(arm(choosing=1.0, training=100.0), FULL, 1, 1).runs == math.inf


def test_operations_stand_in_for_times_that_are_not_known() -> None:
    # One whose seconds are not known turns all of them to operations: one unit for all arms.
    slow = arm("slow", choosing=500.0, flops=(0, 2_000))
    arms = [FULL, arm(choosing=None, flops=(5_000, 1_000)), slow]
    found = savings(arms, dict.fromkeys(("full", "m", "slow"), 1.0))
    assert found["m"].once == pytest.approx(0.6)
    assert found["slow"].once == pytest.approx(0.2)


def test_what_nobody_counted_leaves_the_others_in_seconds() -> None:
    rounds = dataclasses.replace(arm("rounds", choosing=None), choosing=None)
    arms = [FULL, rounds, arm("slow", choosing=500.0, flops=(0, 2_000))]
    found = savings(arms, dict.fromkeys(("full", "rounds", "slow"), 1.0))
    assert found["rounds"] == Saving(None, None, None)
    assert found["slow"].once == pytest.approx(5.1)
    line = plain(rounds, found["rounds"])
    assert line["records_forwarded"] is line["choosing_flops"] is None


def test_choosing_is_timed_or_reckoned_at_the_speed_of_training() -> None:
    trained = [arm(training=10.0, flops=(0, 1_000)), arm(training=30.0, flops=(0, 3_000))]
    assert seconds_of(Cost(flops=500), 7.0, trained) == 7.0
    assert seconds_of(Cost(flops=500), None, trained) == pytest.approx(5.0)
    assert seconds_of(Cost(flops=0), None, []) == 0.0
    assert seconds_of(Cost(flops=None), None, trained) is None
    assert seconds_of(Cost(flops=500), None, []) is None

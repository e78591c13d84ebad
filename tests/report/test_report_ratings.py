"""Ratings in the report: means of three arms, and a figure of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visift.report.ratings import RADIUS, Capability, _capability, radar


def rated(name: str, pool: float, chosen: float = 0.0, control: float = 0.0) -> Capability:
    return Capability(name, pool, chosen, control, ((1.0,) + (0.0,) * 5,) * 2, 0)


def test_means_and_shares_are_of_the_records_with_a_rating() -> None:
    values = np.array([5.0, np.nan, 0.0, 4.0, 1.0])
    one = _capability("ocr", values, np.arange(5), np.array([0, 1]), np.array([1]))
    assert (one.pool, one.chosen, one.unrated) == (2.5, 5.0, 1)
    assert math.isnan(one.control)
    assert one.shares[0] == (0.25, 0.25, 0.0, 0.0, 0.25, 0.25)
    assert one.shares[1] == (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def test_the_radar_begins_at_the_top_and_goes_clockwise() -> None:
    figure = radar([rated("a", 5.0), rated("b", 2.5), rated("c", 0.0), rated("d", 5.0)])
    assert figure is not None
    assert [axis.x for axis in figure.axes] == pytest.approx([0, RADIUS, 0, -RADIUS])
    assert [axis.y for axis in figure.axes] == pytest.approx([-RADIUS, 0, RADIUS, 0])
    assert figure.pool == "0.0,-100.0 50.0,-0.0 0.0,0.0 -100.0,0.0"
    assert [axis.anchor for axis in figure.axes] == ["middle", "start", "middle", "end"]
    assert len(figure.rings) == 5


def test_two_capabilities_make_no_figure() -> None:
    assert radar([rated("a", 5.0), rated("b", 2.5)]) is None

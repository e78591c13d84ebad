"""Histograms and the cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visift.report.scores import BINS, group_spread, threshold

FINITE = st.floats(-1e150, 1e150)


@given(arrays(np.float64, st.integers(1, 40), elements=FINITE), st.data())
def test_every_record_is_in_one_bin(score: np.ndarray, data: st.DataObject) -> None:
    chosen = data.draw(arrays(np.bool_, len(score)))
    spread = group_spread("g", score, chosen, lowest_first=True, facts={})
    assert (sum(spread.bins_chosen), sum(spread.bins_other)) == (chosen.sum(), (~chosen).sum())
    assert len(spread.bins_chosen) == len(spread.bins_other) == BINS
    assert 0 <= spread.cut_at <= 1


def test_scores_that_differ_in_the_last_bit() -> None:
    score = np.array([1.0, np.nextafter(1.0, 2.0)])
    spread = group_spread("g", score, np.array([True, False]), lowest_first=True, facts={})
    assert (spread.bins_chosen[0], spread.bins_other[-1]) == (1, 1)


@pytest.mark.parametrize(
    ("score", "chosen", "lowest_first", "cut"),
    [
        ([1, 2, 3, 4], [1, 1, 0, 0], True, 2),
        ([1, 2, 3, 4], [0, 0, 1, 1], False, 3),
        ([1, 2, 2, 4], [1, 1, 0, 0], True, 2),  # a tie parted by its key
        ([1, 2, 3, 4], [1, 0, 1, 0], True, None),  # drawn by weight: there is no cut
        ([1, 2, 3, 4], [1, 1, 1, 1], True, None),
        ([1, 2, 3, 4], [0, 0, 0, 0], True, None),
        ([1, 2 + 1e-9, 2, 4], [1, 1, 0, 0], True, 2 + 1e-9),  # ranked by rounded scores
    ],
)
def test_the_cut_is_where_scores_part_chosen_from_others(
    score: list[float], chosen: list[int], lowest_first: bool, cut: float | None
) -> None:
    assert threshold(np.array(score, float), np.array(chosen, bool), lowest_first) == cut

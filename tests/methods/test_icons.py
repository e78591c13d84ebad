"""`icons`: votes of the tasks of the targets; gradients are handed in, so that no model runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from methods.choosing import chosen
from methods.gradients_in import signals, with_targets
from visift.methods.icons import percentile_ranks, votes

ICONS = "icons"
TWO = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.7, 0.7]])


def test_a_task_votes_for_its_best_rows() -> None:
    assert np.percentile(TWO, 60, axis=0) == pytest.approx([0.74, 0.74])
    assert votes(TWO, 40).tolist() == [1, 1, 1, 1, 0]


def test_percentile_ranks_share_places_of_equal_rows() -> None:
    assert percentile_ranks(TWO) == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5])
    equal = np.array([[1.0], [2], [2], [3]])
    assert percentile_ranks(equal) == pytest.approx([0, 0.5, 0.5, 1])
    assert percentile_ranks(np.array([[4.0]])).tolist() == [0]


#: For both tasks, for the first, for the second, for neither; then the targets.
FOUR = np.array([[1, 0.9, 0], [1, -0.5, 0], [-0.5, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_one_row_for_all_tasks_beats_the_best_of_each(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaaa", "xy")
    choice = chosen(pool, ICONS, 3, signals=signals(tmp_path, grad_projection=FOUR), p=50)
    assert choice.score[:4].tolist() == [2, 1, 1, 0]
    assert choice.rows[0] == 0
    assert set(choice.rows[1:].tolist()) == {1, 2}
    assert choice.reasons[0].startswith("2 of 2 tasks have it among their best 50%")
    assert choice.facts["tables"][0]["rows"] == [["2", "1"], ["1", "2"], ["0", "1"]]


def test_equal_votes_go_by_mean_percentile(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaaa", "xy")
    choice = chosen(pool, ICONS, 4, signals=signals(tmp_path, grad_projection=FOUR), p=25)
    assert choice.score[:4].tolist() == [0, 1, 1, 0]
    assert choice.rows[2:].tolist() == [0, 3]
    assert not choice.tied.any()
    one = chosen(pool, ICONS, 1, signals=signals(tmp_path, grad_projection=FOUR), p=25)
    assert one.tied.tolist() == [True]

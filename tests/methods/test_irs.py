"""Task importance of PreSel: the unit cases of its specification by number."""

from __future__ import annotations

import numpy as np
import pytest

from visift.methods.irs import irs, task_scores, task_weights
from visift.numerics.allocate import allocate
from visift.numerics.neighbours import mean_nearest

S = np.array([0.2, 0.5, 0.8, 1.0])


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_u1_a_mean_of_ratios_is_no_ratio_of_means() -> None:
    assert irs(np.array([1.0, 0.9]), np.array([2.0, 0.6])) == pytest.approx([0.5, 1.5])
    score = irs(np.array([0.5, 3.0]), np.array([1.0, 2.0]))
    assert task_scores(score, np.zeros(2, int), 1, 0) == pytest.approx([1.0])


def test_u2_u3_weights() -> None:
    assert task_weights(np.array([0.5, 1.0])) == pytest.approx([0.669762, 0.330238], abs=1e-6)
    expected = [0.487353, 0.267465, 0.146788, 0.098395]
    assert task_weights(S) == pytest.approx(expected, abs=1e-6)


def test_u4_our_shares() -> None:
    w = task_weights(S)
    assert allocate(100, w, [1000] * 4).tolist() == [48, 27, 15, 10]
    assert allocate(100, w, [30, 40, 50, 60]).tolist() == [30, 37, 20, 13]


def test_u6_u7_similarity_to_neighbours() -> None:
    four = on_circle(0, 10, 30, 90)
    assert mean_nearest(four, 1) == pytest.approx([0.984808, 0.984808, 0.939693, 0.5], abs=1e-6)
    assert mean_nearest(four, 2) == pytest.approx(
        [0.925417, 0.962250, 0.902859, 0.336824], abs=1e-6
    )
    assert mean_nearest(four, 3) == pytest.approx(
        [0.616944, 0.699383, 0.768573, 0.224549], abs=1e-6
    )
    copies = mean_nearest(on_circle(0, 0, 0, 40, 41, 80), 2)
    assert copies == pytest.approx([1, 1, 1, 0.882946, 0.888497, 0.771595], abs=1e-6)


def test_u9_small_tasks_are_drawn_towards_the_mean_of_all() -> None:
    for count, expected in ((5, 0.6), (500, 0.405882)):
        # As many other rows as make the mean of all 0.7.
        others = np.full(1000, 0.7 + 0.3 * count / 1000)
        score = np.concatenate([np.full(count, 0.4), others])
        task = np.repeat([0, 1], [count, 1000])
        assert task_scores(score, task, 2, 10)[0] == pytest.approx(expected, abs=1e-6)


def test_u10_many_tasks_make_weights_extreme() -> None:
    for tasks, ratio in ((10, 4.709191), (191, 872.999280)):
        w = task_weights(np.linspace(0, 0.49, tasks))
        assert w.max() / w.min() == pytest.approx(ratio, rel=1e-6)


def test_u11_a_row_without_a_loss_touches_its_own_task_only() -> None:
    task = np.array([0, 0, 1, 1])
    broken = irs(np.array([np.nan, 1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0, 2.0]))
    assert np.isnan(broken[0])
    assert task_scores(broken, task, 2, 0).tolist() == [0.5, 0.75]


def test_no_loss_without_the_question_makes_no_ratio() -> None:
    found = irs(np.array([1.0, 1.0, np.inf]), np.array([0.0, 1e-7, 1.0]))
    assert np.isnan(found).all()


def test_a_task_without_rows_has_the_mean_of_all() -> None:
    assert task_scores(np.array([0.2, 0.4]), np.array([0, 0]), 2, 0)[1] == pytest.approx(0.3)


def test_the_temperature_may_be_set() -> None:
    sharp, flat = (task_weights(S, tau) for tau in (0.01, 100.0))
    assert sharp == pytest.approx([1, 0, 0, 0], abs=1e-9)
    assert flat == pytest.approx([0.25] * 4, abs=0.01)

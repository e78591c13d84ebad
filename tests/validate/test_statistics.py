"""Differences and their errors: known answers, and chance that is known as it was simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from validate.simulated import Study, results_of
from visift.errors import InputError
from visift.validate.standing import arm_scores, check_tasks
from visift.validate.statistics import Comparison, Estimate, compare, holm


def test_holm_against_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a <= b <= 1 for a, b in zip(p, adjusted, strict=True))
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_an_estimate_is_judged_by_students_distribution() -> None:
    one = Estimate(0.02, 0.01, 4)
    assert one.p == pytest.approx(2 * stats.t.sf(2, 4))
    assert one.interval() == pytest.approx((0.02 - 0.027764, 0.02 + 0.027764), abs=1e-6)
    assert one.detectable() == pytest.approx(0.01 * (2.776445 + 0.940965), abs=1e-7)
    assert (Estimate(0.0, 0.0, 1).p, Estimate(0.1, 0.0, 1).p) == (1.0, 0.0)


def test_means_over_questions_tasks_and_the_worst_task() -> None:
    ours = [[1, 1, 1, 0], [1, 1, 0, 0]]
    theirs = [[1, 0, 0, 1], [1, 0, 0, 1]]
    models = [(arm, 0, seed) for arm in ("a", "b") for seed in range(2)]
    results = results_of(models, np.array(ours + theirs), task=[0, 0, 0, 1], group=range(4))
    found = compare(results, "a", "b", resamples=50)
    assert found.micro.value == pytest.approx((0 + 1 + 0.5 - 1) / 4)
    assert found.macro.value == pytest.approx((0.5 - 1) / 2)
    assert {task: one.value for task, one in found.tasks.items()} == {"t0": 0.5, "t1": -1.0}
    assert found.worst == "t1"
    assert found.left_out == {"t0": -1.0, "t1": 0.5}
    assert found.left_out_range == (-1.0, 0.5)
    assert (found.training_seeds, found.selection_seeds, found.matched) == (2, (1, 1), True)
    assert math.isinf(found.tasks["t1"].error)  # one image says nothing of others


def test_the_error_over_images_is_that_of_the_mean_of_independent_questions() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((2, 400))
    results = results_of([("a", 0, 0), ("b", 0, 0)], scores, [0] * 400, range(400))
    found = compare(results, "a", "b", resamples=4000)
    expected = (scores[0] - scores[1]).std(ddof=1) / 20
    assert found.micro.error == pytest.approx(expected, rel=0.04)
    assert found.micro.freedom == pytest.approx(399)
    assert found.errors == {"questions": found.micro.error}


def test_questions_on_one_image_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.random((2, 100)), 4, axis=1)  # four questions, all alike, an image
    results = results_of([("a", 0, 0), ("b", 0, 0)], scores, [0] * 400, np.arange(400) // 4)
    expected = (scores[0] - scores[1]).std(ddof=1) / 10
    assert compare(results, "a", "b", resamples=4000).micro.error == pytest.approx(
        expected, rel=0.05
    )


def test_one_image_with_many_questions_counts_by_its_weight() -> None:
    scores = np.array([[1.0] * 60 + [0.5] * 60, [0.0] * 60 + [0.5] * 60])
    group = [0] * 60 + list(range(1, 61))
    results = results_of([("a", 0, 0), ("b", 0, 0)], scores, [0] * 120, group)
    found = compare(results, "a", "b", resamples=50)
    assert found.groups == 61
    assert found.effective_groups == pytest.approx(1 / (0.5**2 + 60 * (1 / 120) ** 2))
    assert found.micro.freedom == pytest.approx(found.effective_groups - 1)
    assert found.micro.p > 0.05  # half a point of difference, all of it from one image


def test_questions_on_one_image_alone_say_nothing_of_others() -> None:
    results = results_of([("a", 0, 0), ("b", 0, 0)], np.eye(2), [0, 1], [0, 0])
    found = compare(results, "a", "b", resamples=50)
    assert [math.isinf(one.error) for one in (found.micro, found.macro)] == [True, True]
    assert found.effective_groups == 1


def test_a_task_on_one_image_makes_the_mean_of_tasks_less_sure() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((2, 100))
    group = [*range(90), *[90] * 10]
    task = [0] * 45 + [1] * 45 + [2] * 10
    scores[:, 90:] = [[1.0], [0.0]]
    results = results_of([("a", 0, 0), ("b", 0, 0)], scores, task, group)
    found = compare(results, "a", "b")
    assert math.isinf(found.tasks["t2"].error)
    # A third of the mean hangs on one image that says something else than all others.
    assert found.macro.error > 0.2


def shared_tasks(shares: dict[str, float] | None) -> Comparison:
    """Compare arms that differ by 1, 0.5 and −1 in tasks of 1, 2 and 4 questions."""
    differences = np.array([1, 0.5, 0.5, -1, -1, -1, -1])
    scores = np.array([(1 + differences) / 2, (1 - differences) / 2])
    task = [0, 1, 1, 2, 2, 2, 2]
    results = results_of([("a", 0, 0), ("b", 0, 0)], scores, task, range(7))
    scored = {one.arm: one.micro for one in arm_scores(results, shares=shares)}
    found = compare(results, "a", "b", shares=shares)
    assert scored["a"] - scored["b"] == pytest.approx(found.micro.value)
    assert found.macro.value == pytest.approx((1 + 0.5 - 1) / 3)
    return found


def test_micro_is_in_the_mix_of_the_questions() -> None:
    found = shared_tasks(None)
    assert found.micro.value == pytest.approx((1 + 1 - 4) / 7)
    assert found.shares == pytest.approx({"t0": 1 / 7, "t1": 2 / 7, "t2": 4 / 7})
    assert found.effective_groups == pytest.approx(7)
    assert found.left_out == pytest.approx({"t0": -3 / 6, "t1": -3 / 5, "t2": 2 / 3})


def test_micro_in_the_mix_of_the_pool() -> None:
    found = shared_tasks({"t0": 600, "t1": 200, "t2": 200, "not asked": 9000})
    assert found.shares == pytest.approx({"t0": 0.6, "t1": 0.2, "t2": 0.2})
    assert found.micro.value == pytest.approx(0.6 + 0.1 - 0.2)
    assert found.left_out == pytest.approx({"t0": -0.25, "t1": 0.5, "t2": 0.875})
    weights = np.array([0.6, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])
    assert found.effective_groups == pytest.approx(1 / (weights**2).sum())


def test_a_task_that_is_all_of_the_mix_cannot_be_left_out() -> None:
    found = shared_tasks({"t0": 1, "t1": 0, "t2": 0})
    assert found.micro.value == 1
    assert found.left_out == pytest.approx({"t1": 1, "t2": 1})
    assert found.left_out_range == (1, 1)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"t0": 1, "t1": 1}, "nothing says how much of the mix t2 is"),
        ({"t0": 0, "t1": 0, "t2": 0}, "none of these tasks is in the mix"),
    ],
)
def test_a_mix_that_says_too_little(shares: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        shared_tasks(shares)


def seeds_only(ours: list[float], theirs: list[float]) -> np.ndarray:
    """Return scores of two arms that differ from seed to seed, the same for all questions."""
    return np.repeat(np.array([ours + theirs]).T, 50, axis=1)


def test_the_error_over_training_seeds_is_s_over_root_n_of_paired_differences() -> None:
    ours, theirs = [0.5, 0.6, 0.4, 0.7, 0.55], [0.45, 0.5, 0.42, 0.6, 0.5]
    models = [(arm, 0, seed) for arm in "ab" for seed in range(5)]
    results = results_of(models, seeds_only(ours, theirs), [0] * 50, range(50))
    found = compare(results, "a", "b", resamples=8000)
    difference = np.array(ours) - np.array(theirs)
    assert found.matched
    assert found.micro.error == pytest.approx(difference.std(ddof=1) / math.sqrt(5), rel=0.03)
    assert found.micro.freedom == pytest.approx(4)
    assert found.micro.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=0.1)


def test_other_training_seeds_are_not_paired() -> None:
    ours, theirs = [0.5, 0.6, 0.4, 0.7, 0.55], [0.45, 0.5, 0.42, 0.6, 0.5]
    models = [("a", 0, seed) for seed in range(5)] + [("b", 0, seed) for seed in range(5, 10)]
    results = results_of(models, seeds_only(ours, theirs), [0] * 50, range(50))
    found = compare(results, "a", "b", resamples=8000)
    welch = stats.ttest_ind(ours, theirs, equal_var=False)
    assert not found.matched
    assert found.micro.p == pytest.approx(welch.pvalue, rel=0.05)
    assert found.micro.freedom == pytest.approx(welch.df, rel=0.05)


def test_selection_and_training_are_reported_apart() -> None:
    by_selection = {0: 0.5, 1: 0.6, 2: 0.7}
    models = [("a", s, t) for s in by_selection for t in range(2)] + [("b", 0, t) for t in range(2)]
    values = [by_selection[s] for _, s, _ in models[:6]] + [0.5, 0.5]
    results = results_of(models, np.repeat(np.array([values]).T, 10, axis=1), [0] * 10, range(10))
    found = compare(results, "a", "b", resamples=8000)
    assert found.errors["training seeds"] == pytest.approx(0, abs=1e-9)
    assert found.errors["selection seeds"] == pytest.approx(0.1 / math.sqrt(3), rel=0.03)
    a, b = arm_scores(results)
    assert (a.models, b.models) == (6, 2)
    assert a.micro == pytest.approx(0.6)
    assert a.selection_spread == pytest.approx(0.1)
    assert a.training_spread == pytest.approx(0)
    assert b.selection_spread is None


def test_seeds_that_are_paired_are_drawn_together() -> None:
    models = [(arm, seed, seed) for arm in "ab" for seed in range(3)]
    results = results_of(models, np.eye(6), [0] * 6, range(6))
    found = compare(results, "a", "b", resamples=50)
    assert set(found.errors) == {"questions", "training seeds"}
    assert found.selection_seeds == (3, 3)


def test_seeds_that_are_neither_crossed_nor_paired() -> None:
    models = [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0)]
    results = results_of(models, np.zeros((4, 2)), [0, 0], range(2))
    with pytest.raises(InputError, match=r'seeds of arm "a" are neither crossed nor paired'):
        compare(results, "a", "b")


def test_the_same_seed_draws_the_same() -> None:
    results = Study(questions=60, groups=30).run(0)
    assert compare(results, "a0", "a1") == compare(results, "a0", "a1")
    assert compare(results, "a0", "a1", seed=1) != compare(results, "a0", "a1")


@pytest.mark.parametrize(
    "study",
    [
        Study(),
        Study(paired=True, of_selection=0.04),
        Study(of_training=0.15, luck=0.2),
        Study(questions=200, groups=30, of_arm=0.4),
        Study(groups=100, on_one_image=0.25, of_arm=0.8, of_image=1.0),
    ],
    ids=["usual", "paired", "noisy training", "few images", "one image on many questions"],
)
def test_the_interval_holds_the_true_difference_as_often_as_it_says(study: Study) -> None:
    p = np.array([compare(study.run(s), "a0", "a1", resamples=200).micro.p for s in range(150)])
    # 150 tries at 5 % give 14 or fewer in 99 of 100 cases; far too wide would be none at all.
    assert 0 < (p < 0.05).sum() <= 14


def test_a_task_counts_if_the_full_arm_beats_the_commonest_answer() -> None:
    rng = np.random.default_rng(0)
    task = np.repeat([0, 1, 2], 100)
    right = np.array([0.9, 0.55, 0.3])[task]
    full = [(rng.random(300) < right) for _ in range(3)]
    majority = np.repeat([1, 0, 1, 0, 0, 0], 50)
    models = [("full", 0, t) for t in range(3)] + [("majority", 0, 0)]
    results = results_of(models, np.array([*full, majority], float), task, range(300))
    checks = check_tasks(results)
    assert [(one.task, one.counts) for one in checks] == [("t0", True), ("t1", False), ("t2", True)]
    assert checks[1].majority == 0.5
    assert abs(checks[1].full - 0.55) < 0.1

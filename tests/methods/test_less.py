"""`less`: cosines of gradients to those of targets; handed in, so that no model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import talk, write_json
from methods.choosing import chosen
from methods.gradients_in import pool_of, signals, with_targets
from methods.handed_in import at_degrees
from visift.errors import InputError
from visift.methods.grouping import Labelled
from visift.methods.targets import influences
from visift.pool.pool import Pool
from visift.selection import Choice

LESS = "less"


def select(pool: Pool, folder: Path, g: Any, budget: Any, **given: Any) -> Choice:
    return chosen(pool, LESS, budget, signals=signals(folder, grad_projection=g), **given)


def test_the_mean_over_the_targets_of_a_task_or_the_largest() -> None:
    targets, one = np.array([[0.6, 0.8], [1, 0]]), Labelled(("t",), np.zeros(2, np.int64))
    g = np.array([[7.0, 0]])
    assert influences(iter([g]), targets, one, inside="mean") == pytest.approx(0.8)
    assert influences(iter([g]), targets, one, inside="max") == pytest.approx(1.0)


def test_the_largest_influence_over_tasks_ranks(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaaa", "xyy")
    g = at_degrees(10, 45, 80, 180, 0, 90, 90)
    choice = select(pool, tmp_path, g, 3)
    cosine = np.cos(np.radians([10, 45, 10, 90]))
    assert choice.score[:4] == pytest.approx(cosine, abs=1e-5)
    assert set(choice.rows[:2].tolist()) == {0, 2}
    assert choice.rows[2] == 1
    assert "on x" in choice.reasons[choice.rows.tolist().index(0)]
    assert "on y" in choice.reasons[choice.rows.tolist().index(2)]
    assert [line[0] for line in choice.facts["tables"][0]["rows"]] == ["x", "y"]


def test_targets_are_never_chosen(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaa", "xx")
    choice = select(pool, tmp_path, at_degrees(0, 10, 20, 0, 0), "100%")
    assert sorted(choice.rows.tolist()) == [0, 1, 2]
    assert np.isnan(choice.score[3:]).all()


def test_targets_without_a_gradient_are_said_to_be_unused(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaa", "xx")
    g = at_degrees(0, 10, 20, 0, 0)
    g[4] = np.nan
    choice = select(pool, tmp_path, g, 1)
    assert choice.rows.tolist() == [0]
    assert choice.facts["notices"] == ["1 target of 2 not used."]
    g[3] = np.nan
    with pytest.raises(InputError, match="no target has a gradient"):
        select(pool, tmp_path, g, 1)


def test_without_targets_there_is_nothing_to_choose_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"less chooses for examples .* none were named"):
        select(pool_of(tmp_path, "aa"), tmp_path, at_degrees(0, 1), 1)


def test_targets_that_cannot_be_used_are_none(tmp_path: Path) -> None:
    broken = [talk("<image>\nwhat?", image="missing.png")]
    pool = pool_of(tmp_path, "aa", target=[write_json(tmp_path / "broken.json", broken)])
    with pytest.raises(InputError, match="none of them can be used"):
        select(pool, tmp_path, at_degrees(0, 1), 1)


def test_blocks_of_any_size_give_the_same() -> None:
    rng = np.random.default_rng(0)
    g, targets = rng.normal(size=(50, 8)), np.eye(8)[:3]
    tasks = Labelled(("p", "q"), np.array([0, 1, 1]))
    whole = influences(iter([g]), targets, tasks, inside="max")
    parts = influences((g[i : i + 7] for i in range(0, 50, 7)), targets, tasks, inside="max")
    assert whole == pytest.approx(parts, abs=1e-12)

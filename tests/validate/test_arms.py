"""Arms: equal records, equal steps, equal text-only records; what is drawn and what is filled."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from helpers import open_records, put_images, sources_pool, talk, write_json
from visift.engine.lab import LocalLab
from visift.errors import InfeasibleBudget, InputError
from visift.methods.method import build
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.training.recipe import TINY, Recipe
from visift.validate.arms import (
    CONTROLS,
    INVERTED,
    MIXTURE_ONLY,
    RS2,
    SCORE_ONLY,
    Arm,
    Ground,
    ablation_arm,
    chosen_by,
    control_arm,
    full_arm,
    rs2_arm,
)

TWO_PASSES = dataclasses.replace(TINY, epochs=2, batch_size=4, micro_batch=4)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """24 records of `a`, 12 of `b`, 12 without an image."""
    return Pool.open(sources_pool(tmp_path / "pool", {"a": 24, "b": 12}, text=12))


def lab(pool: Pool) -> LocalLab:
    return LocalLab(pool, Path("unused"), lambda: ("cpu",))


def sources(pool: Pool, rows: np.ndarray) -> list[str]:
    return [source or "" for source in pool.index["source"].take(rows).to_pylist()]


# --- what all have in common ---------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("seed", [0, 1])
def test_all_controls_have_equal_records_and_text(pool: Pool, name: str, seed: int) -> None:
    ground = Ground.of(pool, "25%")
    arm = control_arm(ground, name, lab(pool), seed)
    assert len(np.unique(arm.rows)) == ground.size == 12
    assert int(pool.text_only[arm.rows].sum()) == ground.text == 3
    assert arm.seed == seed
    assert not arm.filled


def test_text_only_records_are_the_same_in_every_arm_of_a_seed(pool: Pool) -> None:
    ground = Ground.of(pool, "25%")
    arms = [control_arm(ground, name, lab(pool), 0) for name in CONTROLS]
    told = {tuple(sorted(arm.rows[pool.text_only[arm.rows]].tolist())) for arm in arms}
    assert len(told) == 1
    assert ground.text_rows(0).tolist() != ground.text_rows(1).tolist()


def test_another_seed_draws_others(pool: Pool) -> None:
    ground = Ground.of(pool, "25%")
    drawn = [control_arm(ground, "random", lab(pool), seed).rows.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_stratified_has_the_shares_of_the_pool_and_balanced_equal_ones(pool: Pool) -> None:
    ground = Ground.of(pool, "25%")
    for name, shares in (("stratified", (6, 3)), ("source-balanced", (5, 4))):
        said = sources(pool, control_arm(ground, name, lab(pool), 0).rows)
        assert (said.count("a"), said.count("b")) == shares


def test_the_full_arm_is_everything(pool: Pool) -> None:
    assert full_arm(pool).rows.tolist() == list(range(48))


def test_kept_records_are_in_every_arm_and_count(tmp_path: Path) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(12)])
    kept = [talk("<image>\nkept?", image="0.png"), talk("kept text?")]
    records = [talk(f"<image>\n{n}?", image=f"{n}.png") for n in range(1, 12)]
    records += [talk(f"text {n}?") for n in range(4)]
    pool = Pool.open(
        write_json(tmp_path / "pool.json", records),
        keep=write_json(tmp_path / "keep.json", kept),
    )
    ground = Ground.of(pool, "8")
    assert (ground.size, ground.text) == (8, 2)
    for name in CONTROLS:
        arm = control_arm(ground, name, lab(pool), 0)
        assert set(pool.rows("kept").tolist()) <= set(arm.rows.tolist())
        assert len(arm.rows) == 8
        assert int(pool.text_only[arm.rows].sum()) == 2
    assert isinstance(rs2_arm(ground, TWO_PASSES, 0), str)


def test_a_pool_of_text_alone_needs_no_second_draw(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk(f"{n}?") for n in range(10)])
    ground = Ground.of(pool, "4")
    arm = control_arm(ground, "random", lab(pool), 0)
    assert len(arm.rows) == 4
    assert arm.filled == 0


def test_a_choice_that_is_too_small_is_filled_at_random(pool: Pool) -> None:
    ground = Ground.of(pool, "25%")
    arm = ground.arm("short", np.array([3, 1]), 0)
    assert arm.rows[:2].tolist() == [3, 1]
    assert arm.filled == 7
    assert len(np.unique(arm.rows)) == 12


@pytest.mark.parametrize("budget", ["5-images", "2k-tokens"])
def test_budgets_of_unequal_records_are_refused(pool: Pool, budget: str) -> None:
    with pytest.raises(InputError, match="arms of different sizes"):
        Ground.of(pool, budget)


def test_a_budget_above_the_pool_is_refused(pool: Pool) -> None:
    with pytest.raises(InfeasibleBudget, match="more than the 48 usable records"):
        Ground.of(pool, "49")


def test_records_that_are_held_out_are_in_no_arm(pool: Pool) -> None:
    held = dict.fromkeys(range(0, 48, 2), "held out")
    ground = Ground.of(pool.without(held), "50%")
    assert ground.size == 12
    for name in CONTROLS:
        assert not set(held) & set(control_arm(ground, name, lab(pool), 0).rows.tolist())


# --- fresh records every pass --------------------------------------------------------------------


def test_rs2_sees_as_many_records_in_one_pass(pool: Pool) -> None:
    ground = Ground.of(pool, "25%")
    arm = rs2_arm(ground, TWO_PASSES, 0)
    assert isinstance(arm, Arm)
    assert len(np.unique(arm.rows)) == 24
    assert arm.recipe(TWO_PASSES, 3) == dataclasses.replace(TWO_PASSES, epochs=1, seed=3)
    assert int(pool.text_only[arm.rows].sum()) == 6


@pytest.mark.parametrize("size", range(1, 17))
def test_rs2_takes_as_many_steps(pool: Pool, size: int) -> None:
    ground = Ground.of(pool, str(size))
    arm = rs2_arm(ground, TWO_PASSES, 0)
    assert isinstance(arm, Arm)
    steps = arm.recipe(TWO_PASSES, 0).steps(len(arm.rows))
    assert steps == TWO_PASSES.steps(size)
    assert len(arm.rows) >= 2 * size


def test_rs2_is_left_out_where_it_cannot_differ_or_the_pool_is_too_small(pool: Pool) -> None:
    once: Recipe = dataclasses.replace(TINY, epochs=1)
    assert "with one pass" in str(rs2_arm(Ground.of(pool, "25%"), once, 0))
    needed = "2 passes of fresh records in as many steps need 64, and there are 48"
    assert rs2_arm(Ground.of(pool, "32"), TWO_PASSES, 0) == f"{RS2} is left out: {needed}"


# --- methods and their parts ---------------------------------------------------------------------


def chosen(pool: Pool, rows: list[int], score: np.ndarray, direction: str) -> Choice:
    return Choice(
        rows=np.array(rows),
        reasons=[""] * len(rows),
        score=score,
        group=["all"] * len(pool),
        status=[None] * len(pool),
        tied=np.zeros(len(rows), bool),
        facts={"direction": direction},
    )


def test_a_method_chooses_among_the_records_with_images(pool: Pool) -> None:
    ground = Ground.of(pool, "25%")
    choice = chosen_by(ground, build("balanced", {}, seed=0), lab(pool))
    assert not pool.text_only[choice.rows].any()
    assert len(choice.rows) == ground.chosen == 9


@pytest.mark.parametrize("direction", ["highest first", "lowest first"])
def test_parts_of_a_method(pool: Pool, direction: str) -> None:
    ground, method = Ground.of(pool, "25%"), build("stratified", {}, seed=0)
    # All of the nine come from `a` (rows 0 to 23), the best ones; rows 36 and above are text.
    score = np.arange(48.0) if direction == "lowest first" else -np.arange(48.0)
    score[36:] = np.nan
    choice = chosen(pool, list(range(9)), score, direction)

    def rows_of(kind: str) -> list[int]:
        arm = ablation_arm(ground, kind, "stratified", method, choice, 0)
        assert isinstance(arm, Arm)
        assert len(arm.rows) == 12
        return sorted(arm.rows[~pool.text_only[arm.rows]].tolist())

    mixture = rows_of(MIXTURE_ONLY)
    assert all(row < 24 for row in mixture)
    assert mixture != list(range(9))
    assert rows_of(SCORE_ONLY) == [*range(6), *range(24, 27)]
    assert rows_of(INVERTED) == list(range(15, 24))


def test_a_method_without_scores_has_no_score_ablation(pool: Pool) -> None:
    ground, method = Ground.of(pool, "25%"), build("stratified", {}, seed=0)
    choice = chosen_by(ground, method, lab(pool))
    said = ablation_arm(ground, INVERTED, "stratified", method, choice, 0)
    assert said == (
        "stratified, inverted is left out: stratified ranks by no score of single records"
    )


def test_parts_of_a_method_leave_out_what_its_arm_has_no_place_for(pool: Pool) -> None:
    ground, method = Ground.of(pool, "25%"), build("stratified", {}, seed=0)
    # Nine fit; what comes after them is all of `b`.
    choice = chosen(pool, [*range(9), *range(24, 36)], -np.arange(48.0), "highest first")
    arm = ablation_arm(ground, MIXTURE_ONLY, "m", method, choice, 0)
    assert isinstance(arm, Arm)
    assert all(row < 24 for row in arm.rows[~pool.text_only[arm.rows]].tolist())
    assert (arm.name, arm.filled) == ("m, mixture only", 0)

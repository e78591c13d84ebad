"""Choosing in rounds: sizes, names, and that every round measures with a model newly tuned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from helpers import sources_pool, talk, write_json
from visift.engine.lab import LocalLab
from visift.methods.method import build
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.training.recipe import TINY
from visift.validate.arms import CONTROL, Arm, Ground, control_arm
from visift.validate.rounds import (
    control_of,
    control_rounds,
    is_round,
    round_arms,
    round_name,
    sizes,
)

MODEL = ModelRef("builtin:tiny", dtype="float32", device="cpu")


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool.open(sources_pool(tmp_path / "pool", {"a": 9, "b": 6}, text=3))


def test_rounds_grow_by_equal_steps() -> None:
    assert sizes(713, 3) == [237, 475, 713]
    assert sizes(10, 1) == [10]
    assert sizes(20, 3, kept=14) == [16, 18, 20]


def test_every_round_is_held_against_as_many_records() -> None:
    assert control_of(round_name("prism", 1, 3)) == "stratified, round 1 of 3"
    assert control_of(round_name("prism", 3, 3)) == "stratified"
    assert control_of("prism") == control_of("stratified") == "stratified"
    assert is_round("prism, round 2 of 3")
    assert not is_round("prism, mixture only")


def test_controls_of_rounds_have_their_sizes(pool: Pool) -> None:
    lab = LocalLab(pool, Path("unused"), lambda: ("cpu",))
    arms = list(control_rounds(Ground.of(pool, "9"), lab, 3, 0))
    assert [(arm.name, len(arm.rows)) for arm in arms] == [
        ("stratified, round 1 of 3", 3),
        ("stratified, round 2 of 3", 6),
    ]


def test_a_method_without_a_model_has_no_rounds(pool: Pool) -> None:
    lab = LocalLab(pool, Path("unused"), lambda: ("cpu",))
    method = build("balanced", {}, seed=0)
    (said,) = round_arms(Ground.of(pool, "9"), method.name, method, lab, MODEL, TINY, 3, 0)
    assert said == "balanced in rounds is left out: it measures with no model"


def rounds_of(ground: Ground, lab: LocalLab, monkeypatch: pytest.MonkeyPatch) -> list[Arm | str]:
    """Return the rounds of a method that needs no training; nothing is tuned on the way."""
    monkeypatch.setattr("visift.validate.rounds._tuned", lambda *rest: MODEL)
    method = build("random", {}, seed=0)
    monkeypatch.setattr(type(method), "model", MODEL, raising=False)
    monkeypatch.setattr("visift.validate.rounds._measuring_with", lambda method, model: method)
    return list(round_arms(ground, "pkg:Mine", method, lab, MODEL, TINY, 3, 0))


@pytest.mark.parametrize("size", range(3, 19))
def test_text_only_records_are_those_of_every_other_arm(
    pool: Pool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = Ground.of(pool, str(size))
    lab = LocalLab(pool, Path("unused"), lambda: ("cpu",))
    arms = [arm for arm in rounds_of(ground, lab, monkeypatch) if isinstance(arm, Arm)]
    controls = [*control_rounds(ground, lab, 3, 0), control_arm(ground, CONTROL, lab, 0)]
    for arm, control in zip(arms, controls, strict=True):
        text = [set(one.rows[pool.text_only[one.rows]].tolist()) for one in (arm, control)]
        assert text[0] == text[1]
        assert len(np.unique(arm.rows)) == len(arm.rows) == len(control.rows)
    assert [set(arm.rows) <= set(arms[2].rows) for arm in arms] == [True] * 3
    assert arms[0].name == "pkg:Mine, round 1 of 3"


def test_kept_records_are_in_before_the_first_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sources_pool(tmp_path / "pool", {"a": 9, "b": 6}, text=3)
    kept = write_json(tmp_path / "kept.json", [talk(f"kept {n}?") for n in range(5)])
    pool = Pool.open(file, keep=kept)
    lab = LocalLab(pool, Path("unused"), lambda: ("cpu",))
    arms = rounds_of(Ground.of(pool, "8"), lab, monkeypatch)
    assert [len(arm.rows) for arm in arms if isinstance(arm, Arm)] == [6, 7, 8]
    assert list(rounds_of(Ground.of(pool, "7"), lab, monkeypatch)) == [
        "pkg:Mine in rounds is left out: there are fewer records to choose than rounds"
    ]
    assert not list(control_rounds(Ground.of(pool, "7"), lab, 3, 0))


@pytest.mark.slow
def test_every_round_adds_to_the_one_before_and_tunes_anew(pool: Pool, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    lab = LocalLab(pool, tmp_path / "cache", lambda: ("cpu",))
    method = build("perplexity", {}, seed=0, model=MODEL)
    recipe = dataclasses.replace(TINY, epochs=1, batch_size=4, micro_batch=4)
    arms = list(round_arms(Ground.of(pool, "9"), method.name, method, lab, MODEL, recipe, 3, 0))
    rows = [set(arm.rows.tolist()) for arm in arms if isinstance(arm, Arm)]
    assert [len(some) for some in rows] == [3, 6, 9]
    assert rows[0] < rows[1] < rows[2]
    assert [len(one.items) for one in lab.trainings] == [3, 6]
    models = {handle.signal.model for handle in lab.handles}  # type: ignore[attr-defined]
    assert models == {MODEL, *(one.tuned for one in lab.trainings)}
    assert int(pool.text_only[np.array(sorted(rows[2]))].sum()) in (1, 2)

"""`kcenter`: always the image farthest from those chosen, and from what is there already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import put_images, talk, write_json
from methods.choosing import chosen
from methods.handed_in import at_degrees, embeddings, pool_of
from visift.methods.kcenter import farthest_first
from visift.pool.pool import Pool

POINTS = np.array([[0.0], [1.0], [2.0], [10.0], [6.0]])


def test_the_case_of_the_specification() -> None:
    order, distance = farthest_first(POINTS, 4, first=0)
    assert order.tolist() == [0, 3, 4, 2]
    assert distance[[3, 4, 2, 1]].tolist() == [10, 4, 2, 1]
    assert np.isnan(distance[0])


def test_what_is_there_is_where_it_begins() -> None:
    order, distance = farthest_first(POINTS, 2, there=np.array([[9.0], [11.0]]))
    assert order.tolist() == [0, 4]
    assert distance.tolist() == [9, 1, 2, 1, 3]


@given(st.integers(0, 2**32 - 1), st.integers(1, 25))
@settings(max_examples=30)
def test_every_step_takes_the_farthest(seed: int, n: int) -> None:
    X = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    order, left = farthest_first(X, n)
    assert sorted(order.tolist()) == list(range(n))
    away = np.linalg.norm(X[:, None] - X[None], axis=2)
    for step in range(1, n):
        nearest = away[:, order[:step]].min(axis=1)
        assert nearest[order[step]] == pytest.approx(nearest.max(), abs=2e-3)
        assert left[order[step]] == pytest.approx(nearest[order[step]], abs=2e-3)


def test_it_begins_nearest_the_mean(tmp_path: Path) -> None:
    file = embeddings(tmp_path, at_degrees(0, 40, 60, 90, 70))
    choice = chosen(pool_of(tmp_path, "aaaaa"), "kcenter", 3, signals=file)
    assert choice.rows.tolist() == [2, 0, 3]
    assert choice.reasons == [
        "the first: nearest the mean of 5 images",
        "farthest from what was chosen before it (distance 1)",
        "farthest from what was chosen before it (distance 0.518)",
    ]
    assert choice.facts["direction"] == "highest first"
    assert choice.score[1] == pytest.approx(2 * np.sin(np.radians(10)), abs=1e-3)


def test_or_with_the_lowest_tie_key(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "aaaaa"), embeddings(tmp_path, at_degrees(0, 40, 60, 90, 70))
    choice = chosen(pool, "kcenter", 1, signals=file, first="key")
    assert choice.rows.tolist() == [int(np.argmin(pool.tie_keys(0)))]
    assert choice.reasons == ["the first: lowest tie key of 5 images"]


def test_kept_and_had_images_are_chosen_from_the_start(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(6)]
    put_images(tmp_path, names)
    records = [talk(f"question {n}", image=name) for n, name in enumerate(names)]
    pool = Pool.open(
        write_json(tmp_path / "pool.json", records[:4]),
        image_folder=tmp_path,
        keep=write_json(tmp_path / "keep.json", records[4:5]),
        have=write_json(tmp_path / "have.json", records[5:]),
    )
    file = embeddings(tmp_path, at_degrees(0, 90, 175, 200, 180, 5))
    choice = chosen(pool, "kcenter", 2, signals=file)
    assert choice.rows.tolist() == [4, 1], "180 is kept, 5 is had: 90 is farthest from both"


def test_outliers_come_last_where_asked(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "aaaaa"), embeddings(tmp_path, at_degrees(0, 5, 10, 15, 180))
    assert 4 in chosen(pool, "kcenter", 2, signals=file).rows
    choice = chosen(pool, "kcenter", "100%", signals=file, drop_outliers=90)
    assert choice.rows[-1] == 4


def test_beyond_the_cap_images_come_last_and_it_is_said(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "a" * 8), embeddings(tmp_path, at_degrees(*range(0, 80, 10)))
    choice = chosen(pool, "kcenter", "100%", signals=file, cap=5)
    by_key = np.argsort(pool.tie_keys(0)).tolist()
    assert set(choice.rows[:5].tolist()) == set(by_key[:5])
    assert choice.rows[5:].tolist() == by_key[5:]
    assert choice.reasons[-1] == "drawn at random: beyond the 5 images that are compared"
    assert choice.facts["notices"] == [
        "5 of 8 images were compared; the others come after them, at random (--set cap=…)."
    ]

"""`herding`: images whose mean stays nearest to the mean of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.choosing import chosen
from methods.handed_in import at_degrees, embeddings, pool_of
from visift.methods.herding import herd


def test_the_case_of_the_specification() -> None:
    order, distance = herd(np.array([[0.0], [1.0], [2.0], [10.0], [6.0]]), np.array([3.8]), 3)
    assert order.tolist() == [2, 4, 1]
    assert distance == pytest.approx([1.8, 0.2, 0.8])


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
@settings(max_examples=30)
def test_every_step_brings_the_mean_nearest(seed: int, n: int) -> None:
    X = np.random.default_rng(seed).normal(size=(n, 3))
    mean = X.mean(axis=0)
    order, distance = herd(X, mean, n)
    assert sorted(order.tolist()) == list(range(n))
    for step in range(n):
        total = X[order[:step]].sum(axis=0)
        rest = np.setdiff1d(np.arange(n), order[:step])
        nearest = np.linalg.norm(mean - (total + X[rest]) / (step + 1), axis=1).min()
        assert distance[step] == pytest.approx(nearest, abs=1e-9)
    assert distance[-1] == pytest.approx(0, abs=1e-12)


def test_a_choice_says_how_near_its_mean_is(tmp_path: Path) -> None:
    vectors = at_degrees(0, 20, 40, 100)
    choice = chosen(pool_of(tmp_path, "aaaa"), "herding", 2, signals=embeddings(tmp_path, vectors))
    assert choice.rows[0] == 2
    distance = np.linalg.norm(vectors.mean(axis=0) - vectors[2])
    assert np.isnan(choice.score).all(), "no image has a score by itself"
    said = f"brings the mean of those chosen to {distance:.3g} from that of 4 images"
    assert choice.reasons[0] == said
    assert choice.facts["direction"] == "none"


def test_every_source_has_its_own_mean_where_asked(tmp_path: Path) -> None:
    vectors = at_degrees(0, 10, 20, 100, 110, 120)
    pool, file = pool_of(tmp_path, "aaabbb"), embeddings(tmp_path, vectors)
    choice = chosen(pool, "herding", 2, signals=file, per_source=True)
    assert set(choice.rows) == {1, 4}
    assert choice.reasons[0].endswith("from that of 3 a images")


def test_beyond_the_cap_images_come_last_but_count_in_the_mean(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 6)
    vectors = at_degrees(0, 31, 58, 90, 127, 149)
    choice = chosen(pool, "herding", "100%", signals=embeddings(tmp_path, vectors), cap=4)
    by_key = np.argsort(pool.tie_keys(0))
    assert set(choice.rows[:4]) == set(by_key[:4])
    assert choice.rows[4:].tolist() == by_key[4:].tolist()
    order, _ = herd(vectors[by_key[:4]], vectors.mean(axis=0), 4)
    assert choice.rows[:4].tolist() == by_key[order].tolist()

"""Mean cosine and distance to nearest neighbours, against the specification's cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.numerics import neighbours
from visift.numerics.neighbours import mean_distance, mean_nearest, unit_rows


def at_degrees(*angles: float) -> np.ndarray:
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [0.984808, 0.984808, 0.939693, 0.5]),
        (2, [0.925417, 0.962250, 0.902859, 0.336824]),
        (3, [0.616944, 0.699383, 0.768573, 0.224549]),
        (9, [0.616944, 0.699383, 0.768573, 0.224549]),
    ],
)
def test_u6_mean_cosine_to_the_nearest(k: int, expected: list[float]) -> None:
    assert mean_nearest(at_degrees(0, 10, 30, 90), k) == pytest.approx(expected, abs=1e-6)


def test_u7_copies_win() -> None:
    found = mean_nearest(at_degrees(0, 0, 0, 40, 41, 80), 2)
    assert found == pytest.approx([1, 1, 1, 0.882946, 0.888497, 0.771595], abs=1e-6)


def test_typicality_of_the_specification() -> None:
    found = 1 / mean_distance(at_degrees(0, 10, 30, 90), 2)
    assert found == pytest.approx([2.890384, 3.834298, 2.312314, 0.875053], abs=1e-6)


def test_a_row_alone_has_no_neighbour() -> None:
    assert mean_nearest(at_degrees(5), 3).tolist() == [0]
    assert mean_distance(at_degrees(5), 3).tolist() == [np.inf]


def test_copies_are_at_no_distance_whatever_rounding_says() -> None:
    rng = np.random.default_rng(0)
    one = unit_rows(rng.normal(size=(1, 768)))
    assert mean_distance(np.repeat(one, 4, axis=0), 3).tolist() == [0, 0, 0, 0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=30)
def test_blocks_give_what_the_whole_matrix_gives(seed: int, n: int, k: int) -> None:
    X = np.random.default_rng(seed).normal(size=(n, 5))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK_ROWS", 7)
        found = mean_nearest(X, k)
    cosines = X @ X.T
    rest = [np.sort(np.delete(row, i))[::-1][:k] for i, row in enumerate(cosines)]
    expected = [some.mean() if len(some) else 0 for some in rest]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_rows_are_scaled_to_length_one_and_zeros_stay() -> None:
    found = unit_rows(np.array([[3, 4], [0, 0], [1e-30, 0]]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1, 0]], atol=1e-7)

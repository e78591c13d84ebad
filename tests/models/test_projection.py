"""Random projections keep inner products, the same ones on any machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed")

from visift.models.projection import Projection, Rademacher, Sparse, Whole  # noqa: E402

SIZES = {"a": 700, "b": 64, "c": 1333, "d": 200}
ENTRIES = sum(SIZES.values())


def sparse(width: int, seed: int, sizes: Mapping[str, int] = SIZES) -> Sparse:
    return Sparse.draw(sizes, width, seed, "cpu")


def rademacher(width: int, seed: int) -> Rademacher:
    return Rademacher(width, seed)


MAKERS = pytest.mark.parametrize("make", [sparse, rademacher])
Make = Callable[[int, int], Projection]


def projected(projection: Projection, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    total = torch.zeros(len(vectors), projection.width)
    start = 0
    for name, size in SIZES.items():
        projection.add(total, name, torch.from_numpy(vectors[:, start : start + size]))
        start += size
    return np.asarray(total)


def matrix(projection: Projection) -> NDArray[np.float32]:
    """(D, k): P, transposed."""
    return projected(projection, np.eye(ENTRIES, dtype=np.float32))


def test_without_a_projection_parts_stand_one_behind_the_other() -> None:
    assert np.array_equal(matrix(Whole.of(SIZES)), np.eye(ENTRIES, dtype=np.float32))


@pytest.mark.parametrize("width", [64, 100, 512])
def test_rademacher_is_signs_throughout(width: int) -> None:
    signs = matrix(Rademacher(width, 3))
    assert np.unique(signs).tolist() == [-1, 1]
    assert abs(signs.mean()) < 4 / signs.size**0.5


@pytest.mark.parametrize("width", [16, 64, 100, 512])
def test_sparse_is_one_sign_in_every_column_and_full_buckets(width: int) -> None:
    signs = matrix(sparse(width, 3)) / np.float32(width**0.5)
    assert np.count_nonzero(signs, axis=1).tolist() == [1] * ENTRIES
    np.testing.assert_allclose(np.abs(signs).sum(axis=1), 1, rtol=1e-6)
    filled = np.count_nonzero(signs, axis=0)
    rows = {name: -(-size // width) for name, size in SIZES.items()}
    assert filled.max() <= sum(rows.values())
    assert filled.min() >= sum(size // width for size in SIZES.values())


@MAKERS
def test_the_seed_and_the_name_of_a_part_decide(make: Make) -> None:
    one, again, other = (matrix(make(128, seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    start = SIZES["a"]
    assert not np.array_equal(one[:64], one[start : start + 64])


def test_signs_are_the_raw_bits_of_philox() -> None:
    """Which no version of numpy changes, nor a machine: one word for every 64 dimensions."""
    key = int.from_bytes(blake2b(b"0\x1fa", digest_size=16).digest(), "little")
    words = np.random.Philox(key=key).random_raw(2 * 700).reshape(700, 2)
    signs = matrix(Rademacher(100, 0))
    for entry, bit in [(0, 0), (0, 99), (1, 0), (699, 63), (699, 64)]:
        wanted = int(words[entry, bit // 64]) >> (bit % 64) & 1
        assert signs[entry, bit] == (1 if wanted else -1)


def test_entries_of_a_row_never_meet_and_those_of_others_seldom() -> None:
    """One in k pairs, as if each bucket were drawn."""
    width, size, seeds = 32, 320, 300
    met = np.zeros((size, size))
    for seed in range(seeds):
        projection, total = sparse(width, seed, {"a": size}), torch.zeros(size, width)
        projection.add(total, "a", torch.eye(size))
        buckets = total.abs().argmax(dim=1).numpy()
        met += buckets[:, None] == buckets
    rows = np.arange(size) // width
    alike = rows[:, None] == rows
    assert (met[alike] > 0).sum() == size
    share = met[~alike].mean() / seeds
    assert share == pytest.approx(1 / width, rel=0.01)
    assert (met[~alike] / seeds).max() < 5 / width


@MAKERS
def test_how_many_signs_are_drawn_at_a_time_changes_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = matrix(make(100, 5))
    monkeypatch.setattr("visift.models.projection._MOST_CPU_SIGNS", 1000)
    assert np.array_equal(matrix(make(100, 5)), wanted)


def vectors_of(kind: str) -> NDArray[np.float32]:
    """Pairs of unit vectors: at random, nearly the same, or ruled by few entries and low rank."""
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, ENTRIES))
    if kind == "near":
        two = one + 0.2 * two
    if kind == "spiked":  # a few channels carry nearly all, in every row of a factor alike
        channels = np.where(np.arange(ENTRIES) % 64 == 5, 30.0, 1.0)
        one, two = one * channels, two * channels
    pair = np.stack([one, two])
    return np.asarray(pair / np.linalg.norm(pair, axis=1, keepdims=True), np.float32)


@MAKERS
@pytest.mark.parametrize("kind", ["random", "near", "spiked"])
def test_inner_products_are_kept_with_the_stated_error(make: Make, kind: str) -> None:
    """Over 200 seeds: no bias, and the error of independent signs, one in sqrt(k)."""
    width, seeds = 256, 200
    pair = vectors_of(kind)
    exact = float(pair[0] @ pair[1])
    both = [projected(make(width, seed), pair) for seed in range(seeds)]
    products = np.array([one @ two for one, two in both]) / width
    stated = ((1 + exact**2) / width) ** 0.5
    assert abs(products.mean() - exact) < 4 * stated / seeds**0.5
    assert products.std() < 1.2 * stated
    cosines = np.array([one @ two / np.linalg.norm(one) / np.linalg.norm(two) for one, two in both])
    assert cosines.std() < 1.3 * (1 - exact**2) / width**0.5

"""Near-duplicates: of several hashes that are near each other, the one with the lowest key stays.

Held against the definition itself, every hash with every kept one.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from visift.errors import InputError
from visift.pool import near_duplicates as module
from visift.pool.near_duplicates import MOST_DIFFERENT, near_duplicates


def found(
    hashes: list[int], keys: list[int], threshold: int, there: list[int] | None = None
) -> dict[int, int]:
    items, stay = near_duplicates(
        np.array(hashes, np.uint64),
        np.array(keys, np.uint64),
        threshold,
        None if there is None else np.array(there, np.int64),
    )
    assert (np.diff(items) > 0).all()
    return dict(zip(items.tolist(), stay.tolist(), strict=True))


def defined(
    hashes: list[int], keys: list[int], threshold: int, there: list[int] | None = None
) -> dict[int, int]:
    first = set(there or [])
    order = sorted(range(len(hashes)), key=lambda item: (item not in first, keys[item], item))
    kept: list[int] = []
    near: dict[int, int] = {}
    for item in order:
        hits = (k for k in kept if (hashes[item] ^ hashes[k]).bit_count() <= threshold)
        hit = None if item in first else next(hits, None)
        if hit is None:
            kept.append(item)
        else:
            near[item] = hit
    return near


def test_the_lowest_key_stays_and_chains_do_not_grow() -> None:
    chain = [0b0, 0b11, 0b1111, 0b111111]
    assert found(chain, [0, 1, 2, 3], 2) == {1: 0, 3: 2}
    assert found(chain, [3, 2, 1, 0], 2) == {2: 3, 0: 1}
    assert found(chain, [1, 0, 2, 3], 2) == {0: 1, 2: 1}
    assert found(chain, [0, 1, 2, 3], 1) == {}


def test_equal_hashes_and_equal_keys() -> None:
    assert found([7, 7, 7], [5, 5, 5], 0) == {1: 0, 2: 0}
    assert found([7, 6, 7], [1, 2, 0], 0) == {0: 2}


def test_what_is_there_stays_and_comes_first() -> None:
    assert found([0, 1, 1, 3], [0, 1, 2, 3], 1, there=[1, 2]) == {0: 1, 3: 1}
    assert found([0, 1], [0, 1], 1, there=[0, 1]) == {}
    assert found([0, 1], [0, 1], 1, there=[]) == {1: 0}


def test_nothing_to_compare() -> None:
    assert found([], [], 4) == {}
    assert found([5], [0], 4) == {}


@pytest.mark.parametrize("threshold", [-1, MOST_DIFFERENT + 1])
def test_a_threshold_out_of_range(threshold: int) -> None:
    with pytest.raises(InputError, match=f"0 to {MOST_DIFFERENT} of 64 bits, not in {threshold}"):
        found([1], [1], threshold)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[int], list[int], int, list[int]]:
    """Hashes around a few centres, keys that repeat, and some that are there already."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count, flips = draw(st.integers(1, 60)), draw(st.integers(0, 8))
    centres = rng.integers(0, 2**64, draw(st.integers(1, 4)), dtype=np.uint64)
    hashes = centres[rng.integers(0, len(centres), count)]
    for _ in range(flips):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64))
    keys = rng.integers(0, draw(st.sampled_from([3, 1000])), count)
    there = rng.choice(count, min(count, draw(st.integers(0, 4))), replace=False)
    threshold = draw(st.integers(0, MOST_DIFFERENT))
    return hashes.tolist(), keys.tolist(), threshold, there.tolist()


@settings(max_examples=80, deadline=None)
@given(crowds(), st.sampled_from([1, 8, 4096]), st.sampled_from([2, 4_000_000]))
def test_any_crowd_is_what_the_definition_says(
    crowd: tuple[list[int], list[int], int, list[int]], first_round: int, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST_ROUND", first_round)
        patch.setattr(module, "_PAIRS_AT_ONCE", at_once)
        assert found(*crowd) == defined(*crowd)


@settings(max_examples=20, deadline=None)
@given(crowds(), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(
    crowd: tuple[list[int], list[int], int, list[int]], random: object
) -> None:
    hashes, _, threshold, _ = crowd
    keys = np.random.default_rng(1).permutation(len(hashes)).tolist()
    moved = np.random.default_rng(2).permutation(len(hashes))
    before = found(hashes, keys, threshold)
    after = found([hashes[m] for m in moved], [keys[m] for m in moved], threshold)
    assert {int(moved[a]): int(moved[b]) for a, b in after.items()} == before


def test_a_crowd_of_nearly_equal_hashes_meets_its_kept_ones_only() -> None:
    """Compared in all pairs, 30,000 would be 450 million; memory is what would fail."""
    rng = np.random.default_rng(0)
    hashes: NDArray[np.uint64] = np.zeros(30_000, np.uint64)
    for _ in range(3):
        hashes ^= np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
    keys = rng.permutation(len(hashes)).astype(np.uint64)
    items, stay = near_duplicates(hashes, keys, 6)
    assert len(items) == len(hashes) - 1
    assert set(stay.tolist()) == {int(np.argmin(keys))}

"""The order of exported files: an image first, modalities mixed, rank order a prefix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import open_records, put_images, talk
from visift.export.order import arrange
from visift.pool.pool import Pool

KINDS = st.lists(st.booleans(), min_size=1, max_size=12)


def pool_of(folder: Path, has_image: list[bool]) -> Pool:
    put_images(folder, ["a.png"])
    records = [
        talk(f"<image>{n}", image="a.png") if image else talk(str(n))
        for n, image in enumerate(has_image)
    ]
    return open_records(folder, records)


def kinds(pool: Pool, rows: np.ndarray) -> str:
    return "".join("t" if pool.text_only[row] else "i" for row in rows)


def test_original_order_is_the_pools_for_bytes_that_go_as_they_are(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [False, True, True])
    placed = arrange(pool, np.array([2, 0, 1]), "original", image_first=False)
    assert placed.tolist() == [0, 1, 2]


def test_text_is_spread_evenly_and_each_kind_keeps_its_order(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [False] * 3 + [True] * 9)
    placed = arrange(pool, np.arange(12), "original", image_first=True)
    assert kinds(pool, placed) == "iitiiitiiiti"
    assert [row for row in placed if row < 3] == [0, 1, 2]
    assert [row for row in placed if row >= 3] == list(range(3, 12))


def test_an_image_comes_first_even_among_many_texts(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [False] * 5 + [True])
    placed = arrange(pool, np.arange(6), "original", image_first=True)
    assert placed.tolist() == [5, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rank", "written"),
    [([1, 3, 0, 2], [1, 3, 0, 2]), ([2, 3, 1, 0], [3, 2, 1, 0]), ([2, 0], [2, 0])],
)
def test_rank_order_changes_only_its_head(
    tmp_path: Path, rank: list[int], written: list[int]
) -> None:
    pool = pool_of(tmp_path, [False, True, False, True])
    assert arrange(pool, np.array(rank), "rank", image_first=True).tolist() == written
    assert arrange(pool, np.array(rank), "rank", image_first=False).tolist() == rank


def test_shuffling_is_the_same_for_one_seed_whatever_the_rank(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [True] * 20)
    one, again, other = (
        arrange(pool, rows, "shuffle", image_first=True, seed=seed).tolist()
        for rows, seed in ((np.arange(20), 1), (np.arange(20)[::-1], 1), (np.arange(20), 2))
    )
    assert one == again != other
    assert sorted(one) == sorted(other) == list(range(20)) != one


@settings(deadline=None)
@given(KINDS, st.sampled_from(["original", "rank", "shuffle"]), st.randoms())
def test_no_record_is_lost_and_an_image_leads(
    tmp_path_factory: pytest.TempPathFactory, has_image: list[bool], order: str, random: object
) -> None:
    pool = pool_of(tmp_path_factory.getbasetemp(), has_image)
    rows = np.arange(len(pool))
    random.shuffle(rows)  # type: ignore[attr-defined]
    placed = arrange(pool, rows, order, image_first=True)  # type: ignore[arg-type]
    assert sorted(placed.tolist()) == list(range(len(pool)))
    assert has_image[placed[0]] == any(has_image)

"""Exact duplicates: the same images by key, the same conversation after NFC and white space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import open_records, put_images, sources_only, talk, write_json
from visift.pool.duplicates import exact_duplicates
from visift.pool.pool import Pool

NONE = np.empty(0, np.int64)


def repeats(pool: Pool, before: list[int] | None = None) -> dict[int, int]:
    first = np.array(before or [], np.int64)
    rows = np.setdiff1d(pool.rows("candidate"), first)
    found, stays = exact_duplicates(pool, rows, pool.tie_keys(0), first)
    return dict(zip(found.tolist(), stays.tolist(), strict=True))


def test_white_space_and_unicode_forms_do_not_matter_and_words_do(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png"])
    pool = open_records(
        tmp_path,
        [
            talk("<image>\ncaf\u00e9?", image="a.png"),
            talk("<image> cafe\u0301?", image="./a.png"),
            talk("<image>\ncaf\u00e9?", image="b.png"),
            talk("<image>\nCaf\u00e9?", image="a.png"),
            talk("<image>\ncaf\u00e9?", "that. ", image="a.png"),
        ],
    )
    found = repeats(pool)
    assert {*found, *found.values()} == {0, 1, 4}
    keys = pool.tie_keys(0)
    assert set(found.values()) == {min((0, 1, 4), key=lambda row: int(keys[row]))}


def test_images_count_in_their_order_and_as_often_as_shown(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png"])
    shown = [["a.png", "b.png"], ["b.png", "a.png"], ["a.png", "a.png"], ["a.png"], ["a.png"]]
    pool = open_records(tmp_path, [talk(image=images) for images in shown])
    assert repeats(pool).keys() in ({3}, {4})


def test_bytes_decide_where_the_pool_hashes_images(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    put_images(tmp_path, ["a.png"])
    (tmp_path / "x/a.png").write_bytes((tmp_path / "a.png").read_bytes())
    path = write_json(tmp_path / "pool.json", [talk(image="a.png"), talk(image="x/a.png")])
    assert repeats(Pool.open(path)) == {}
    assert len(repeats(Pool.open(path, hash_images=True))) == 1


def test_rows_that_are_there_already_stay(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk("same"), talk("same"), talk("same "), talk("other")])
    assert repeats(pool, before=[2]) == {0: 2, 1: 2}
    assert repeats(pool, before=[0, 1, 2]) == {}


def test_text_only_rows_repeat_text_only_rows(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png"])
    pool = open_records(tmp_path, [talk("q"), talk("q", image="a.png"), talk("q ")])
    assert repeats(pool).keys() in ({0}, {2})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_one_of_each_stays(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> None:
    pool = open_records(tmp_path_factory.mktemp("p"), [talk(word) for word in said])
    found = repeats(pool)
    left = [word for row, word in enumerate(said) if row not in found]
    assert sorted(left) == sorted(set(said))
    assert all(said[row] == said[stays] for row, stays in found.items())


def test_an_empty_request(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 2})
    found, stays = exact_duplicates(pool, NONE, pool.tie_keys(0), NONE)
    assert len(found) == len(stays) == 0

"""Kept and have rows: joined to the pool, never candidates, known apart by role and uid."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import put_images, talk, write_json, write_lines
from visift.errors import PoolError
from visift.pool.pool import Pool


def joined(folder: Path) -> Pool:
    put_images(folder, ["a.png", "b.png"])
    pool = [talk(f"q{n}") for n in range(4)] + [talk("<image>", image="a.png")]
    write_json(folder / "pool.json", pool)
    write_json(folder / "mine.json", [talk("q1"), talk("own"), {"no": "record"}])
    write_lines(folder / "old.jsonl", [talk("q3"), talk("gone", image="missing.png")])
    return Pool.open(folder / "pool.json", keep=folder / "mine.json", have=[folder / "old.jsonl"])


def test_roles_and_uids(tmp_path: Path) -> None:
    pool = joined(tmp_path)
    assert pool.uids(pool.rows("kept")) == ["keep:mine.json#0", "keep:mine.json#1"]
    assert pool.uids(pool.rows("have")) == ["have:old.jsonl#0"]
    assert pool.uids(pool.rows("candidate")) == ["pool.json#0", "pool.json#2", "pool.json#4"]
    assert pool.has_role("have").tolist() == [False] * 8 + [True] * 2


def test_what_is_there_already_is_left_out_with_a_status(tmp_path: Path) -> None:
    assert joined(tmp_path).left_out == {
        1: "duplicate: of a kept record",
        3: "have: the same record",
        8: "have",
        9: "have",
    }


def test_have_rows_need_not_be_usable_and_kept_ones_must(tmp_path: Path) -> None:
    assert list(joined(tmp_path).set_aside()) == [7]


def test_candidates_keep_their_rows_and_uids_beside_other_roles(tmp_path: Path) -> None:
    pool = joined(tmp_path)
    alone = Pool.open(tmp_path / "pool.json")
    assert pool.uids(pool.rows())[:1] == alone.uids(alone.rows())[:1]
    assert pool.content_hashes()[: len(alone)] == alone.content_hashes()
    assert pool.opened["keep"] == (str(tmp_path / "mine.json"),)


def test_no_joined_pool_is_called_like_a_role(tmp_path: Path) -> None:
    for name in ("keep.json", "have.json", "other.json"):
        write_json(tmp_path / name, [talk(name)])
    files = [tmp_path / name for name in ("keep.json", "other.json")]
    pool = Pool.open(files, keep=[tmp_path / "have.json", tmp_path / "other.json"])
    assert [file.name for file in pool.files] == [
        "keep-2:keep.json",
        "other:other.json",
        "keep:have-2:have.json",
        "keep:other:other.json",
    ]


def test_a_pool_without_other_roles_leaves_nothing_out(tmp_path: Path) -> None:
    write_json(tmp_path / "pool.json", [talk("a"), talk("a")])
    pool = Pool.open(tmp_path / "pool.json")
    assert pool.left_out == {}
    assert len(pool.rows()) == 2


def test_a_pool_without_a_candidate_is_empty(tmp_path: Path) -> None:
    write_json(tmp_path / "pool.json", [])
    write_json(tmp_path / "mine.json", [talk("own")])
    with pytest.raises(PoolError, match="no records in it"):
        Pool.open(tmp_path / "pool.json", keep=tmp_path / "mine.json")

"""Pools over one file, a folder, several files; rows that cannot be used; other processes."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import open_records, png, put_images, talk, write_json, write_lines
from visift.errors import InputError, PoolError
from visift.pool.pool import Pool


def uids(pool: Pool) -> list[str]:
    return pool.uids(np.arange(len(pool)))


def test_one_file_is_named_relative_to_its_folder(tmp_path: Path) -> None:
    pool = Pool.open(str(write_json(tmp_path / "sub/a.b.json", [talk("1"), talk("2")])))
    assert uids(pool) == ["a.b.json#0", "a.b.json#1"]
    assert [r.uid for r in pool.records()] == uids(pool)


def test_a_folder_is_all_its_files_sorted_without_hidden_ones(tmp_path: Path) -> None:
    write_json(tmp_path / "b.json", [talk("b")])
    write_lines(tmp_path / "a/x.JSONL", [talk("x0"), talk("x1")])
    write_json(tmp_path / ".ipynb_checkpoints/b.json", [talk("old")])
    (tmp_path / "a/._x.jsonl").write_bytes(b"\x00\x05\x16\x07")
    pool = Pool.open(tmp_path)
    assert uids(pool) == ["a/x.JSONL#0", "a/x.JSONL#1", "b.json#0"]
    assert [r.turns[0].text for r in pool.records([2, 0])] == ["b", "x0"]


def test_joined_pools_have_prefixes_that_differ(tmp_path: Path) -> None:
    paths = [
        write_json(tmp_path / name, [talk(name)])
        for name in ("one/p.json", "two/p.json", "three/p-2.json", "four/p-2.jsonl")
    ]
    names = ["p:p.json#0", "p-2:p.json#0", "p-2-2:p-2.json#0", "p-2-3:p-2.jsonl#0"]
    pool = Pool.open(paths)
    assert uids(pool) == names
    files, places = pool.place_columns(np.array([3, 0]))
    assert (files, places.tolist()) == (["p-2-3:p-2.jsonl", "p:p.json"], [0, 0])


def test_a_dot_is_named_after_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "here/a.json", [talk()])
    write_json(tmp_path / "b.json", [talk()])
    monkeypatch.chdir(tmp_path / "here")
    assert uids(Pool.open([".", "../b.json"])) == ["here:a.json#0", "b:b.json#0"]


@pytest.mark.parametrize("names", [[], ["empty.json"], ["."], ["none.json"]])
def test_pools_that_are_none(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "empty.json" in names:
        Path("empty.json").write_text("[]")
    with pytest.raises((PoolError, InputError)) as caught:
        Pool.open(names)
    assert caught.value.fix or "no records" in caught.value.what


def test_rows_beyond_the_pool(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk()])
    for row in (1, -1):
        with pytest.raises(IndexError):
            pool.record(row)


def test_ids_are_no_keys(tmp_path: Path) -> None:
    records = [talk("a", id=1), talk("b", id="1"), talk("c", id=1), talk("d")]
    pool = open_records(tmp_path, records)
    assert len(set(pool.content_hashes())) == 4
    assert pool.raw(0).startswith(b'{"id": 1,')


def test_images_lie_beside_the_pool_or_where_told(tmp_path: Path) -> None:
    file = write_json(tmp_path / "data/pool.json", [talk(image="a/1.png"), talk(image="2.png")])
    put_images(tmp_path / "data", ["a/1.png"])
    assert Pool.open(file).faults == [None, "image missing: 2.png"]
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("2.png", png(2))
        archive.writestr("a/1.png", png(1))
    pool = Pool.open(file, image_folder=tmp_path / "images.zip")
    assert pool.faults == [None, None]
    assert pool.image_bytes(pool.record(1).images[0]) == png(2)
    assert pool.load_image(pool.record(0).images[0]).size == (4, 3)


def test_each_joined_pool_has_its_own_images(tmp_path: Path) -> None:
    for shade, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "i.png").write_bytes(png(shade))
        write_json(tmp_path / name / "p.json", [talk(name, image="i.png")])
    pool = Pool.open([tmp_path / "a/p.json", tmp_path / "b/p.json"])
    shown = [pool.image_bytes(record.images[0]) for record in pool.records()]
    assert shown == [png(0), png(1)]


def test_groups(tmp_path: Path) -> None:
    put_images(tmp_path, ["b/1.png", "a/2.png", "3.png"])
    records = [
        talk("0", image="b/1.png"),
        talk("1", image=["a/2.png", "b/1.png"]),
        talk("2", image="./b/1.png", task="t"),
        talk("3"),
        talk("4", image="3.png"),
        talk("5", image=["b/1.png", "a/2.png", "b/1.png"]),
        talk("6", image="gone.png"),
    ]
    pool = open_records(tmp_path, records)
    source, task, image = (pool.groups(kind) for kind in ("source", "task", "image"))
    assert source.labels == ("a", "b", "t")
    assert source.of_row.tolist() == [1, 0, 2, -1, -1, 1, -1]
    assert task.of_row.tolist() == [1, 0, 2, -1, -1, 1, -1]
    assert image.of_row.tolist() == [0, 1, 0, -1, 2, 1, -1]
    assert pool.text_only.tolist() == [False, False, False, True, False, False, False]


def test_rows_that_cannot_be_used_have_a_reason(tmp_path: Path) -> None:
    outside = put_images(tmp_path, ["secret.png"]) / "secret.png"
    root = put_images(tmp_path / "in", ["ok.png"])
    (root / "link.png").symlink_to(outside)
    (root / "folder").mkdir()
    paths: list[Any] = [
        "ok.png", "gone.png", "../secret.png", str(outside), "link.png", "folder",
        "https://example.org/a.png", ["ok.png", "gone.png", "also.png"],
    ]  # fmt: skip
    records = [talk(str(n), image=path) for n, path in enumerate(paths)]
    pool = open_records(root, [*records, {"id": 1}, talk("text")])
    reasons = pool.faults
    assert reasons[0] is None
    assert reasons[1] == reasons[7] == "image missing: gone.png"
    assert all("image leaves the image folder" in str(reason) for reason in reasons[2:5])
    assert "is a folder" in str(reasons[5])
    assert "is a URL" in str(reasons[6])
    assert reasons[8] == '"conversations" is missing'
    assert pool.rows().tolist() == [0, 9]
    assert pool.text_only.tolist() == [False] * 9 + [True]


def test_a_pool_travels_by_pickling(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png"])
    pool = open_records(tmp_path, [talk("ä", image="a.png"), talk("b")])
    there = pickle.loads(pickle.dumps(pool))
    assert list(there.records()) == list(pool.records())
    assert there.images.keys == pool.images.keys
    assert (there.tie_keys(3) == pool.tie_keys(3)).all()
    assert len(pickle.dumps(pool)) < 20_000


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk("before")])
    packed = pickle.dumps(pool)
    path = write_json(tmp_path / "pool.json", [talk("after!")])
    os.utime(path, (1, 1))
    with pytest.raises(PoolError, match="changed after it was indexed"):
        pickle.loads(packed)


def test_tie_keys_know_copies_apart(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk("a"), talk("b"), talk("a"), talk("a")])
    keys = pool.tie_keys(0)
    assert len(set(keys.tolist())) == 4
    assert sorted(open_records(tmp_path / "x", [talk("a")] * 3).tie_keys(0)) == sorted(
        keys[[0, 2, 3]]
    )
    assert not set(keys.tolist()) & set(pool.tie_keys(0, b"control").tolist())


def test_a_pool_says_how_it_was_opened(tmp_path: Path) -> None:
    write_json(tmp_path / "p/a.json", [talk(kind="k")])
    pool = Pool.open(tmp_path / "p", image_folder=tmp_path, task_field="kind", hash_images=True)
    assert pool.opened == {
        "files": (str(tmp_path / "p"),),
        "image_folder": str(tmp_path),
        "task_field": "kind",
        "source_field": None,
        "hash_images": True,
        "keep": (),
        "have": (),
        "target": (),
    }
    assert "1 records" in repr(pool)

"""Which references are one image, and which rows show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers import open_records, png, talk, write_json
from visift.pool.pool import Pool


def files(folder: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_ids_offsets_and_rows(tmp_path: Path) -> None:
    files(tmp_path, {"a.png": png(1), "b.png": png(2)})
    records = [
        talk("0", image=["b.png", "gone.png", "a.png"]),
        talk("1"),
        talk("2", image="./a.png"),
        talk("3", image=["b.png", "b.png"]),
    ]
    images = open_records(tmp_path, records).images
    assert [ref.path for ref in images.refs] == ["b.png", "a.png"]
    assert images.offsets.tolist() == [0, 3, 3, 4, 6]
    assert images.flat.tolist() == [0, -1, 1, 1, 0, 0]
    assert images.of_row(0).tolist() == [0, -1, 1]
    assert images.of_rows(np.array([2, 3])).tolist() == [1, 0]
    assert images.of_rows(np.array([1])).tolist() == []
    assert images.missing_of_row() == {0: "image missing: gone.png"}
    assert images.set_of_row().tolist() == [-1, -1, 0, 1]


def test_sets_hold_each_image_of_a_row_once_in_an_order_of_their_own(tmp_path: Path) -> None:
    files(tmp_path, {f"{name}.png": png(1) for name in "abc"})
    rows = [["c", "a", "c"], [], ["a", "c"], ["b"], ["b", "gone", "gone"], ["c", "b", "a"]]
    records = [talk(str(i), image=[f"{n}.png" for n in row]) for i, row in enumerate(rows)]
    seen = []
    for order in (range(6), (5, 3, 4, 0, 1, 2)):
        images = open_records(tmp_path, [records[i] for i in order]).images
        offsets, flat = images.sets()
        names = [
            [images.keys[i][0] if i >= 0 else None for i in row]
            for row in np.split(flat, offsets[1:-1])
        ]
        seen.append([names[list(order).index(i)] for i in range(6)])
    assert seen[0] == seen[1] == [
        ["a", "c"], [], ["a", "c"], ["b"], [None, "b"], ["a", "b", "c"],
    ]  # fmt: skip


def test_sets_of_rows_with_one_image_are_the_table_itself(tmp_path: Path) -> None:
    files(tmp_path, {"a.png": png(1)})
    images = open_records(tmp_path, [talk("0", image="a.png"), talk("1")]).images
    offsets, flat = images.sets()
    assert offsets is images.offsets
    assert flat is images.flat


def test_a_pool_without_images(tmp_path: Path) -> None:
    images = open_records(tmp_path, [talk(), talk("b")]).images
    assert (len(images), images.flat.tolist(), images.set_of_row().tolist()) == (0, [], [-1, -1])


def test_hashing_makes_equal_bytes_one_image(tmp_path: Path) -> None:
    files(tmp_path, {"a.png": png(1), "x/copy.png": png(1), "b.png": png(2)})
    records = [talk(name, image=name) for name in ("a.png", "x/copy.png", "b.png")]
    assert open_records(tmp_path, records).images.flat.tolist() == [0, 1, 2]
    hashed = open_records(tmp_path, records, hash_images=True)
    assert hashed.images.flat.tolist() == [0, 0, 1]
    assert hashed.groups("image").of_row.tolist() == [0, 0, 1]


def joined(folder: Path, *contents: dict[str, bytes], hash_images: bool = False) -> Pool:
    paths = []
    for number, content in enumerate(contents):
        root = folder / f"pool{number}"
        files(root, content)
        records = [talk(f"{number}{name}", image=name) for name in content]
        paths.append(write_json(root / f"p{number}.json", records))
    return Pool.open(paths, hash_images=hash_images)


def test_in_two_roots_the_bytes_decide_what_is_one_image(tmp_path: Path) -> None:
    assert len(png(1)) == len(png(2))
    first = {"same.png": png(1), "other.png": png(1), "only.png": png(3)}
    second = {"same.png": png(1), "other.png": png(2)}
    for hashed in (False, True):
        flat = joined(tmp_path, first, second, hash_images=hashed).images.flat
        assert flat[0] == flat[3]
        assert flat[1] != flat[4]
    assert len(joined(tmp_path, first, second).images) == 4


def test_an_image_that_cannot_be_read_is_the_fault_of_its_rows(tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        root = tmp_path / str(number)
        files(root, {"good.png": png(number)})
        with (root / "vast.png").open("wb") as sparse:
            sparse.truncate(2**31)
        records = [talk(f"{number}{name}", image=name) for name in ("good.png", "vast.png")]
        paths.append(write_json(root / "p.json", records))
    for hashed in (False, True):
        pool = Pool.open(paths, hash_images=hashed)
        assert [fault is None for fault in pool.faults] == [True, False, True, False]
        size = "2,147,483,648 bytes, limit 104,857,600"
        assert pool.faults[1] == f"image too large: vast.png ({size})"

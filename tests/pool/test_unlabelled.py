"""Images nobody has annotated, as a pool: one record an image, in the order of their paths."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import png, put_images, talk, write_json, write_lines
from methods.choosing import chosen
from visift.errors import ImageError, InputError, PoolError
from visift.pool import embedded
from visift.pool.duplicates import exact_duplicates
from visift.pool.inspect import inspect_pool
from visift.pool.pool import Pool
from visift.pool.readers.images import ImageList
from visift.pool.record import content_hash

HUGGING_FACE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def names(pool: Pool) -> list[str]:
    return [record.images[0].path for record in pool.records()]


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_table(path: Path, columns: Mapping[str, Any], rows_a_group: int = 2) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows_a_group)
    return path


def embed(path: Path, images: list[tuple[bytes | None, str | None] | None], **more: Any) -> Path:
    """Write a parquet file with images in it, as Hugging Face does."""
    values = [None if one is None else {"bytes": one[0], "path": one[1]} for one in images]
    return write_table(path, {"image": pa.array(values, HUGGING_FACE), **more})


# --- folders and archives -----------------------------------------------------------------------


def test_a_folder_is_one_record_an_image_in_the_order_of_paths(tmp_path: Path) -> None:
    shown = ["b.JPG", "a/2.png", "a/1.Tiff", "a/deep/er/3.webp", "Z.bmp", "c.gif", "d.jpeg"]
    hidden = [".x.png", "a/.y.png", ".cache/z.png"]
    put_images(tmp_path / "photos", [*shown, *hidden])
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    pool = Pool.open(tmp_path / "photos")
    assert names(pool) == sorted(shown)
    assert pool.uids(np.arange(2)) == ["photos#0", "photos#1"]
    first = pool.record(1)
    assert (first.turns, first.source, first.task) == ((), "a", "a")
    assert first.raw == b'{"id":"a/1.Tiff","image":"a/1.Tiff"}'
    assert first.content_hash == content_hash([], ["a/1.Tiff"]).hex()
    assert pool.faults == [None] * len(shown)
    assert pool.roots[0].path == tmp_path / "photos"
    assert pool.load_image(first.images[0]).size == (4, 3)
    assert pool.unannotated.all()
    assert not pool.text_only.any()
    for column in ("turns", "tags", "text_bytes", "answer_chars"):
        assert set(pool.index[column].to_pylist()) == {0}


def test_what_is_no_image_is_counted(tmp_path: Path) -> None:
    put_images(tmp_path, ["1.png"])
    for name in ("a.txt", "b.TXT", "c.heic", "none", "deep.zip"):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_text("x")
    (tmp_path / "link").symlink_to("x")
    reader = Pool.open(tmp_path).files[0].reader
    assert isinstance(reader, ImageList)
    expected = {".txt": 2, ".heic": 1, "no ending": 1, ".zip": 1, "linked folder": 1}
    assert reader.skipped == expected


def test_archives_at_the_top_of_a_folder_and_files_beside_them(tmp_path: Path) -> None:
    put_images(tmp_path, ["cats/1.png"])
    members = {"dogs/2.png": png(2), "__MACOSX/._2.png": b"", "read.me": b"", "cats/1.png": b"?"}
    write_zip(tmp_path / "more.zip", members)
    pool = Pool.open(tmp_path)
    assert names(pool) == ["cats/1.png", "dogs/2.png"]
    assert pool.image_bytes(pool.record(0).images[0]) == png(0), "the file comes before the archive"
    assert pool.image_bytes(pool.record(1).images[0]) == png(2)
    assert pool.index["source"].to_pylist() == ["cats", "dogs"]


def test_one_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", {"b.png": png(1), "a/b.png": png(2), "a.txt": b"x"})
    pool = Pool.open(path)
    assert names(pool) == ["a/b.png", "b.png"]
    assert pool.uids(np.arange(2)) == ["photos.zip#0", "photos.zip#1"]
    assert pool.faults == [None, None]
    assert pool.image_bytes(pool.record(1).images[0]) == png(1)


def test_a_folder_with_json_files_is_what_it_was(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png"])
    write_lines(tmp_path / "x" / "pool.jsonl", [talk(image="a.png")])
    pool = Pool.open(tmp_path)
    assert (len(pool), names(pool)) == (1, ["a.png"])
    assert not pool.unannotated.any()


@pytest.mark.parametrize("given", [".", "..", "photos/."])
def test_a_folder_is_called_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    put_images(tmp_path / "photos" / "in", ["1.png"])
    (tmp_path / "photos" / "photos").symlink_to("in")
    monkeypatch.chdir(tmp_path / "photos" / ("in" if given == ".." else ""))
    (uid,) = Pool.open(given).uids(np.arange(1))
    assert uid == "photos#0"


def test_the_image_folder_names_images_where_it_holds_the_pool(tmp_path: Path) -> None:
    put_images(tmp_path / "all" / "photos" / "x", ["1.png"])
    write_zip(tmp_path / "all" / "more.zip", {"y/2.png": png(2)})
    write_zip(tmp_path / "all" / "deep" / "more.zip", {"z/3.png": png(3)})
    put_images(tmp_path / "elsewhere", ["w/4.png"])
    given = ["all/photos", "all/more.zip", "all/deep", "all/deep/more.zip", "elsewhere"]
    pool = Pool.open([tmp_path / one for one in given], image_folder=tmp_path / "all")
    assert names(pool) == ["photos/x/1.png", "y/2.png", "z/3.png", "z/3.png", "w/4.png"]
    roots = [pool.roots[record.images[0].root].path for record in pool.records()]
    own = [tmp_path / one for one in given[2:]]
    assert roots == [tmp_path / "all", tmp_path / "all", *own]
    assert pool.faults == [None] * 5


def test_images_beside_records_in_a_joined_pool(tmp_path: Path) -> None:
    put_images(tmp_path / "photos", ["1.png", "2.png"])
    file = write_json(tmp_path / "pool.json", [talk(image="photos/1.png")])
    pool = Pool.open([file, tmp_path / "photos"])
    assert pool.uids(np.arange(3)) == ["pool:pool.json#0", "photos:photos#0", "photos:photos#1"]
    assert pool.unannotated.tolist() == [False, True, True]


# --- what was annotated already -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "status"),
    [("have", "have: the same image"), ("keep", "duplicate: the image of a kept record")],
)
def test_an_image_that_a_record_shows_is_not_asked_for_again(
    tmp_path: Path, role: str, status: str
) -> None:
    photos = put_images(tmp_path / "photos", ["1.png", "2.png", "3.png", "4.png"])
    done = [talk(image="1.png"), talk("q?", image="./2.png"), talk(image=["3.png", "4.png"])]
    file = write_json(tmp_path / "annotated.json", done)
    pool = Pool.open(photos, image_folder=photos, **{role: file})
    left = {row: why for row, why in pool.left_out.items() if row < 4}
    assert left == {0: status, 1: status}
    assert pool.rows("candidate").tolist() == [2, 3]


# --- tables -------------------------------------------------------------------------------------


def test_a_csv_file_with_labels_and_more(tmp_path: Path) -> None:
    put_images(tmp_path / "p", ["1.png", "2, too.png", "3.png"])
    text = (
        "\ufefffile_name,task,score\r\n"
        "p/1.png,reading,3\r\n"
        '"p/2, too.png",,\r\n'
        "\r\n"
        'p/3.png,"count\ning",\r\n'
    )
    (tmp_path / "images.csv").write_bytes(text.encode())
    pool = Pool.open(tmp_path / "images.csv")
    assert names(pool) == ["p/1.png", "p/2, too.png", "p/3.png"]
    assert pool.faults == [None] * 3
    assert pool.index["task"].to_pylist() == ["reading", "p", "count\ning"]
    assert pool.index["source_by"].to_pylist() == ["task", "path", "task"]
    whole = {"id": "p/1.png", "image": "p/1.png", "task": "reading", "score": "3"}
    assert json.loads(pool.raw(0)) == whole
    assert pool.raw(1) == b'{"id":"p/2, too.png","image":"p/2, too.png"}'
    assert text.encode()[pool.start(2) :].startswith(b'p/3.png,"count')
    assert pool.uids(np.arange(1)) == ["images.csv#0"]


def test_a_parquet_file_of_paths(tmp_path: Path) -> None:
    put_images(tmp_path / "p", ["1.png", "2.png"])
    dictionary = pa.array(["p/1.png", "p/2.png", None]).dictionary_encode()
    more = {"level": [1, None, 3], "vector": [[1.0], [2.0], [3.0]], "id": ["a", "b", "c"]}
    path = write_table(tmp_path / "images.parquet", {"path": dictionary, **more})
    pool = Pool.open(path, task_field="level")
    assert pool.index["task"].to_pylist() == ["1", "p", None]
    assert pool.raw(0) == b'{"id":"a","image":"p/1.png","level":1}'
    assert pool.faults == [None, None, "no image: its path is missing"]
    assert pool.start(0) == -1


@pytest.mark.parametrize("name", ["images.csv", "images.parquet"])
def test_label_columns_are_checked(tmp_path: Path, name: str) -> None:
    put_images(tmp_path, ["1.png"])
    (tmp_path / "images.csv").write_text("image,kind\n1.png,x\n")
    write_table(tmp_path / "images.parquet", {"image": ["1.png"], "kind": ["x"]})
    assert Pool.open(tmp_path / name, source_field="kind").record(0).source == "x"
    with pytest.raises(InputError, match='no record has a field "sort"'):
        Pool.open(tmp_path / name, source_field="sort")
    with pytest.raises(InputError, match='"image" holds the images, it is no label'):
        Pool.open(tmp_path / name, task_field="image")


# --- images in parquet --------------------------------------------------------------------------


def test_images_in_a_parquet_file_are_its_own(tmp_path: Path) -> None:
    images = [(png(n), f"{'ab'[n % 2]}/{n}.png") for n in range(7)]
    path = embed(tmp_path / "train.parquet", list(images), task=[f"t{n}" for n in range(7)])
    pool = Pool.open(path, image_folder=tmp_path)
    assert names(pool) == [name for _, name in images]
    assert (pool.roots[0].path, pool.record(3).source, pool.record(3).task) == (path, "t3", "t3")
    for row in [0, 6, 3, 3, 1, 5, 0]:
        assert pool.image_bytes(pool.record(row).images[0]) == images[row][0]
    assert pool.load_image(pool.record(2).images[0]).size == (4, 3)
    bare = write_table(tmp_path / "bare.parquet", {"image": pa.array([png(0)], pa.large_binary())})
    assert names(Pool.open(bare)) == ["0"]


def test_records_may_find_their_images_in_a_parquet_file(tmp_path: Path) -> None:
    images = embed(tmp_path / "images.parquet", [(png(4), "a/4.png"), (png(5), "5.png")])
    file = write_json(tmp_path / "pool.json", [talk(image="a/4.png"), talk(image="6.png")])
    pool = Pool.open(file, image_folder=images)
    assert pool.faults == [None, "image missing: 6.png"]
    assert pool.image_bytes(pool.record(0).images[0]) == png(4)


def test_names_of_images_in_parquet_lead_nowhere_else(tmp_path: Path) -> None:
    same = png(1)
    given = [(same, "a.png"), (same, "a.png"), (png(2), "a.png"), (png(3), "/etc/a.png")]
    given += [(png(4), "../../b.png"), (png(5), None), (png(6), "c\0.png"), (png(7), "a-3.png")]
    given += [(png(8), "https://example.org/d.png"), (None, "e.png"), (b"", "f.png")]
    pool = Pool.open(embed(tmp_path / "x.parquet", [*given, None]))
    shown = [images[0] if images else None for images in pool.index["images"].to_pylist()]
    expected = ["a.png", "a.png", "a-2.png", "a-3.png", "b.png", "5", "6", "a-3-7.png", "d.png"]
    assert shown == [*expected, None, "f.png", None]
    lost = "no image: its bytes are missing"
    assert pool.faults == [*[None] * 9, lost, None, lost]
    for row, (data, _) in enumerate(given):
        if data:
            assert pool.image_bytes(pool.record(row).images[0]) == data
    with pytest.raises(ImageError, match="empty"):
        pool.load_image(pool.record(10).images[0])


def test_the_bytes_are_the_identity_of_images_in_parquet(tmp_path: Path) -> None:
    one = embed(tmp_path / "one.parquet", [(png(1), "a.png"), (png(2), "b.png")])
    two = embed(tmp_path / "two.parquet", [(png(2), "other.png"), (png(3), "a.png")])
    put_images(tmp_path / "folder", ["zero.png", "one.png"])
    joined = Pool.open([one, two, tmp_path / "folder"], hash_images=True)
    assert joined.images.flat.tolist() == [0, 1, 1, 2, 0, 3]
    assert Pool.open([one, two]).images.keys == joined.images.keys[:3]


def test_a_parquet_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for part in range(2):
        embed(tmp_path / "data" / f"train-{part}.parquet", [(png(part), "same.png")])
    pool = Pool.open(tmp_path / "data")
    assert pool.uids(np.arange(2)) == ["train-0.parquet#0", "train-1.parquet#0"]
    assert [pool.image_bytes(r.images[0]) for r in pool.records()] == [png(0), png(1)]


def test_images_in_parquet_are_read_in_any_order_by_threads_and_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_HELD_BYTES", 200)
    monkeypatch.setattr(embedded, "_BATCH_BYTES", 100)
    path = embed(tmp_path / "x.parquet", [(png(n), f"{n}.png") for n in range(40)])
    root = Pool.open(path).roots[0]
    order = np.random.default_rng(0).permutation(40).tolist()
    with ThreadPoolExecutor(4) as threads:
        data = list(threads.map(lambda n: root.read(f"{n}.png"), order))
    assert data == [png(n) for n in order]
    assert pickle.loads(pickle.dumps(root)).read("7.png") == png(7)
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert workers.apply(root.read, ("9.png",)) == png(9)


def test_a_parquet_file_that_changed_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    path = embed(tmp_path / "x.parquet", [(png(1), "a.png")])
    root = Pool.open(path).roots[0]
    embed(path, [(png(2), "a.png"), (png(3), "b.png")])
    with pytest.raises(ImageError, match="of a parquet file that changed while in use"):
        root.read("a.png")
    path.unlink()
    with pytest.raises(ImageError, match="changed while in use"):
        root.read("a.png")


def test_a_labelled_parquet_file_is_not_read_yet(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", {"image": ["a.png"], "conversations": [["q"]]})
    said = 'holds "conversations": conversations are not read from tables yet, only images are'
    with pytest.raises(PoolError, match=said):
        Pool.open(path)


# --- records without turns everywhere -----------------------------------------------------------


def test_equal_images_are_exact_duplicates_by_their_bytes_only(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png"])
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())

    def repeats(pool: Pool) -> int:
        found, _ = exact_duplicates(pool, pool.rows(), pool.tie_keys(0), np.empty(0, np.int64))
        return len(found)

    assert repeats(Pool.open(tmp_path)) == 0
    assert repeats(Pool.open(tmp_path, hash_images=True)) == 1
    (tmp_path / "twice.csv").write_text("image\na.png\n./a.png\nb.png\n")
    assert repeats(Pool.open(tmp_path / "twice.csv")) == 1
    both = embed(tmp_path / "both.parquet", [(png(0), "x.png"), (png(0), "y.png")])
    assert repeats(Pool.open(both)) == 1


@pytest.mark.parametrize("method", ["random", "stratified", "balanced", "longest"])
def test_methods_that_read_no_answers_choose_images(tmp_path: Path, method: str) -> None:
    put_images(tmp_path, [f"{source}/{n}.png" for source in "ab" for n in range(5)])
    pool = Pool.open(tmp_path)
    found = chosen(pool, method, 4)
    assert len(set(found.rows.tolist())) == 4
    if method in ("stratified", "balanced"):
        assert sorted(pool.index["source"].take(found.rows).to_pylist()) == ["a", "a", "b", "b"]


def test_inspection_measures_conversations_where_there_are_any(tmp_path: Path) -> None:
    put_images(tmp_path / "photos", ["1.png", "2.png"])
    file = write_json(tmp_path / "pool.json", [talk("<image> q", "four", image="photos/1.png")])
    found = inspect_pool(Pool.open([file, tmp_path / "photos"]))
    assert (found.records, found.usable, found.placeholders.count) == (3, 3, 0)
    assert (found.turns.median, found.answer_chars.median) == (2, 4)
    alone = inspect_pool(Pool.open(tmp_path / "photos"))
    assert (alone.turns.largest, alone.duplicates.count, alone.ids.records) == (0, 0, 2)

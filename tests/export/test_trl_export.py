"""TRL folders: parts in place, images inside the files, types stated, and the read-back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export.pools import NAMES, export_all, pool_of, tampering
from helpers import MIXED, REAL_IMAGES, needs_shared, png, talk
from visift.export import trl
from visift.export.readback import ReadbackError
from visift.export.trainers import write_export
from visift.pool.pool import Pool

IMAGE = {"type": "image", "text": None}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def rows_of(folder: Path, arm: str = "subset") -> list[dict[str, Any]]:
    return pa.concat_tables(map(pq.read_table, sorted((folder / arm).iterdir()))).to_pylist()


def test_parts_stand_where_the_tags_were(tmp_path: Path) -> None:
    folder, told = export_all(pool_of(tmp_path), "trl", tmp_path / "x")
    rows = {row["uid"]: row for row in rows_of(folder)}
    assert rows["pool.json#3"]["messages"] == [
        {
            "role": "user",
            "content": [text("compare "), IMAGE, text(" with"), IMAGE, text("please")],
        },
        {"role": "assistant", "content": [text("same.")]},
    ]
    assert rows["pool.json#4"]["messages"] == [
        {"role": "system", "content": [text("be brief")]},
        {"role": "user", "content": [text("which?"), IMAGE]},
        {"role": "assistant", "content": [text("this")]},
    ]
    assert rows["pool.json#5"]["messages"][2] == {"role": "user", "content": [IMAGE]}
    assert rows["pool.json#0"]["id"] == "7"
    assert told == []


def test_images_are_inside_as_their_own_bytes(tmp_path: Path) -> None:
    folder, _ = export_all(pool_of(tmp_path), "trl", tmp_path / "x")
    rows = {row["uid"]: row["images"] for row in rows_of(folder)}
    assert rows["pool.json#0"] == rows["pool.json#2"] == []
    assert rows["pool.json#3"] == [
        {"bytes": png(1), "path": "1.png"},
        {"bytes": png(2), "path": "2.png"},
    ]
    assert [image["bytes"] for image in rows["pool.json#5"]] == [png(4), png(4)]
    assert Image.open(io.BytesIO(rows["pool.json#1"][0]["bytes"])).size == (4, 3)


@pytest.mark.parametrize("mode", ["absolute", "copy", "symlink"])
def test_images_by_name(tmp_path: Path, mode: str) -> None:
    folder, _ = export_all(pool_of(tmp_path), "trl", tmp_path / "x", images=mode)
    home = tmp_path if mode == "absolute" else folder / "images"
    rows = {row["uid"]: row["images"] for row in rows_of(folder)}
    assert rows["pool.json#4"] == [{"bytes": None, "path": str(home / "a/3.png")}]


def test_types_are_stated_whatever_the_rows(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    arms = {"subset": np.array([1]), "control": np.array([0, 2]), "random": np.array([], np.int64)}
    folder = write_export("trl", pool, arms, tmp_path / "x", ranked=False)
    schemas = [pq.read_schema(folder / arm / "train-00000.parquet") for arm in arms]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert schemas[0].equals(schemas[2], check_metadata=True)
    features = json.loads(schemas[0].metadata[b"huggingface"])["info"]["features"]
    assert features["images"] == {"feature": {"_type": "Image"}, "_type": "Sequence"}
    assert [len(rows_of(folder, arm)) for arm in arms] == [1, 2, 0]


def test_large_arms_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl, "_GROUP_ROWS", 2)
    monkeypatch.setattr(trl, "_SHARD_BYTES", 500)
    records = [talk("<image>" + "x" * 200, str(n), image=NAMES[n]) for n in range(7)]
    folder, _ = export_all(pool_of(tmp_path, *records), "trl", tmp_path / "x")
    names = sorted(path.name for path in (folder / "subset").iterdir())
    assert names == [f"train-{n:05d}.parquet" for n in range(len(names))]
    assert len(names) > 1
    assert [row["uid"] for row in rows_of(folder)] == [f"pool.json#{n}" for n in range(7)]
    monkeypatch.undo()
    export_all(pool_of(tmp_path, *records), "trl", tmp_path / "x")
    assert [path.name for path in (folder / "subset").iterdir()] == names[:1]


def test_how_to_train(tmp_path: Path) -> None:
    folder, _ = export_all(pool_of(tmp_path), "trl", tmp_path / "x y")
    said = (folder / "RUN.md").read_text("utf-8")
    assert f"cd '{folder}'\npython train.py subset --model " in said
    assert "Images are in them: a copy an arm." in said
    compile((folder / "train.py").read_text("utf-8"), "train.py", "exec")


PIECES = st.lists(st.sampled_from(["<image>", "\n", " ", "a", "<", "image>"])).map("".join)


@given(PIECES)
def test_parts_hold_every_image_and_all_text_but_the_breaks_beside_tags(said: str) -> None:
    found = trl.parts(said)
    assert sum(part == IMAGE for part in found) == said.count("<image>")
    joined = "".join(str(part["text"] or "") for part in found)
    bare = said.replace("<image>", "")
    assert joined.replace("\n", "") == bare.replace("\n", "")
    assert 0 <= bare.count("\n") - joined.count("\n") <= 2 * said.count("<image>")
    if "<image>" not in said:
        assert found == [text(said)]


def change(folder: Path, edit: Any) -> None:
    path = folder / "subset" / "train-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, trl.SCHEMA), path)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda rows: rows.pop(), "5 records of 6"),
        (lambda rows: rows.append(rows[0]), "more than 6 records"),
        (lambda rows: rows[0].update(uid="x"), "record 0: differs from the pool"),
        (lambda rows: rows[0]["messages"][1].update(role="user"), "record 0: differs"),
        (lambda rows: rows[0]["messages"][1]["content"].append(text("x")), "record 0: differs"),
        (lambda rows: rows[0]["messages"][0]["content"].pop(0), "record 0: differs"),
        (lambda rows: rows[0]["messages"][0]["content"][1].update(text=None), "neither text nor"),
        (lambda rows: rows[0]["messages"][0]["content"].clear(), "neither text nor image"),
        (lambda rows: rows[0]["images"].append(rows[0]["images"][0]), "differ in number"),
        (lambda rows: rows[0]["images"][0].update(bytes=png(9)), "an image differs"),
    ],
)  # fmt: skip
def test_readback_catches_a_tampered_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Any, said: str
) -> None:
    tampering(monkeypatch, "trl", lambda folder: change(folder, edit))
    with pytest.raises(ReadbackError, match=said) as caught:
        export_all(pool_of(tmp_path), "trl", tmp_path / "x")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "x" / "RUN.md").exists()


def test_readback_wants_the_image_feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(folder: Path) -> None:
        path = folder / "subset" / "train-00000.parquet"
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)

    tampering(monkeypatch, "trl", forget)
    with pytest.raises(ReadbackError, match="images are not stated to be images"):
        export_all(pool_of(tmp_path), "trl", tmp_path / "x")


@needs_shared
def test_a_part_of_the_mixed_pool_with_images_from_archives(tmp_path: Path) -> None:
    pool = Pool.open(MIXED, image_folder=REAL_IMAGES)
    arms = {"subset": np.arange(0, len(pool), 40)}
    folder = write_export("trl", pool, arms, tmp_path / "x", ranked=False)
    assert len(rows_of(folder)) == len(arms["subset"])

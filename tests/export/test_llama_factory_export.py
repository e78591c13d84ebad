"""LLaMA-Factory folders: one type a column, strict turns, tags that count, and the read-back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.json
import pytest
import yaml

from export.pools import export_all, pool_of, tampering
from helpers import MIXED, REAL_IMAGES, needs_shared
from visift.export.readback import ReadbackError
from visift.export.trainers import write_export
from visift.pool.pool import Pool


def test_every_row_has_the_same_keys_and_types(tmp_path: Path) -> None:
    folder, _ = export_all(pool_of(tmp_path), "llama-factory", tmp_path / "x")
    rows = [json.loads(line) for line in (folder / "subset.jsonl").read_text("utf-8").splitlines()]
    assert [list(row) for row in rows] == [["id", "uid", "system", "conversations", "images"]] * 6
    assert {row["uid"]: row["id"] for row in rows} == {
        "pool.json#0": "7",
        "pool.json#1": "dot",
        "pool.json#2": "pool.json#2",
        "pool.json#3": "8",
        "pool.json#4": "pool.json#4",
        "pool.json#5": "9",
    }
    assert rows[0] == {
        "id": "dot",
        "uid": "pool.json#1",
        "system": "",
        "conversations": [
            {"from": "human", "value": "<image>\nwhat is it?"},
            {"from": "gpt", "value": "a dot."},
        ],
        "images": ["a/0.png"],
    }
    by_uid = {row["uid"]: row for row in rows}
    assert by_uid["pool.json#0"]["images"] == []
    assert by_uid["pool.json#4"]["system"] == "be brief"
    assert by_uid["pool.json#4"]["conversations"][0] == {
        "from": "human",
        "value": "which?\n<image>",
    }
    assert by_uid["pool.json#4"]["images"] == ["a/3.png"]
    assert by_uid["pool.json#5"]["images"] == ["a/4.png", "a/4.png"]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (b'"a\\u00e4\\n"', "aä\n"),
        (b"1e400", "1e400"),
        (b"7" * 400, "7" * 400),
        (b'["x", 1]', '["x", 1]'),
        (b"null", "pool.json#0"),
        (b"false", "false"),
    ],
)
def test_any_id_becomes_text(tmp_path: Path, said: bytes, written: str) -> None:
    record = b'{"id":' + said + b',"conversations":[{"from":"human","value":"q"},'
    (tmp_path / "pool.json").write_bytes(b"[" + record + b'{"from":"gpt","value":"a"}]}]')
    folder, _ = export_all(Pool.open(tmp_path / "pool.json"), "llama-factory", tmp_path / "x")
    assert json.loads((folder / "subset.jsonl").read_text("utf-8"))["id"] == written


def test_arrow_reads_one_type_a_column(tmp_path: Path) -> None:
    folder, _ = export_all(pool_of(tmp_path), "llama-factory", tmp_path / "x")
    schema = pyarrow.json.read_json(folder / "subset.jsonl").schema
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "id: string",
        "uid: string",
        "system: string",
        "conversations: list<item: struct<from: string, value: string>>",
        "images: list<item: string>",
    ]


def test_data_and_configuration_of_every_arm(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    arms = {"subset": np.array([4, 1]), "control": np.array([0, 3]), "random": np.array([5, 2])}
    folder = write_export("llama-factory", pool, arms, tmp_path / "x", ranked=True)
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    assert list(info) == ["visift_subset", "visift_control", "visift_random"]
    assert info["visift_control"] == {
        "file_name": "control.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "images": "images"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "observation_tag": "observation",
            "function_tag": "function_call",
            "system_tag": "system",
        },
    }
    configs = [yaml.safe_load((folder / f"{arm}.yaml").read_text("utf-8")) for arm in arms]
    assert [config.pop("dataset") for config in configs] == list(info)
    assert [config.pop("output_dir") for config in configs] == [f"saves/{arm}" for arm in arms]
    assert configs[0] == configs[1] == configs[2]
    assert configs[0]["media_dir"] == str(tmp_path)
    said = (folder / "RUN.md").read_text("utf-8")
    assert f"cd {folder}\nllamafactory-cli train subset.yaml\n" in said
    assert "llamafactory-cli train control.yaml\nllamafactory-cli train random.yaml\n```" in said
    assert "rank order: any smaller budget is a prefix, except that one with an image" in said
    uids = [json.loads(line)["uid"] for line in (folder / "control.jsonl").open("rb")]
    assert uids == ["pool.json#3", "pool.json#0"]


def test_a_folder_name_yaml_could_misread(tmp_path: Path) -> None:
    home = tmp_path / "a: 'b' #c \"d\" é"
    folder, _ = export_all(pool_of(home), "llama-factory", home / "x")
    config = yaml.safe_load((folder / "subset.yaml").read_text("utf-8"))
    assert config["media_dir"] == str(home)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"id":"7"', b'"id":7', "line 2: Expected `str`, got `int`"),
        (b'"images":[]', b'"images":null', "line 2: Expected `array`, got `null`"),
        (b'"system":"",', b"", "line 1: Object missing required field `system`"),
        (b'"system":"",', b'"system":"","model":"x",', "line 1: .*unknown field `model`"),
        (b'"from":"gpt","value":"a dot."', b'"from":"human","value":"a dot."', "alternate"),
        (b"<image>\\nwhat", b"what", "line 1: tags and images differ in number"),
        (b'"value":"hi."', b'"value":"hi <audio>."', "line 2: tags and images differ"),
        (b"a dot.", b"a cat.", "line 1: differs from the pool"),
        (b"which?\\n<image>", b"which? <image>", "line 4: differs from the pool"),
        (b"be brief", b"be long", "line 4: differs from the pool"),
        (b"pool.json#3", b"pool.json#9", "differs from the pool"),
        (b"a/0.png", b"a/1.png", "line 1: differs from the pool"),
    ],
)  # fmt: skip
def test_readback_catches_a_tampered_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes, said: str
) -> None:
    def tamper(folder: Path) -> None:
        path = folder / "subset.jsonl"
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    tampering(monkeypatch, "llama-factory", tamper)
    with pytest.raises(ReadbackError, match=said) as caught:
        export_all(pool_of(tmp_path), "llama-factory", tmp_path / "x")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "x" / "RUN.md").exists()


def test_readback_counts_and_looks_for_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(folder: Path) -> None:
        lines = (folder / "subset.jsonl").read_bytes().splitlines(keepends=True)
        (folder / "subset.jsonl").write_bytes(b"".join(lines[:-1]))

    def double(folder: Path) -> None:
        lines = (folder / "subset.jsonl").read_bytes().splitlines(keepends=True)
        (folder / "subset.jsonl").write_bytes(b"".join([*lines, lines[-1]]))

    def text_first(folder: Path) -> None:
        lines = (folder / "subset.jsonl").read_bytes().splitlines(keepends=True)
        (folder / "subset.jsonl").write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))

    def lose(folder: Path) -> None:
        (folder / "images" / "a" / "3.png").unlink()

    for change, said in (
        (cut, "5 records of 6"),
        (double, "more than 6 records"),
        (text_first, "differs from the pool"),
        (lose, "an image is not where the trainer looks"),
    ):
        with monkeypatch.context() as patch:
            tampering(patch, "llama-factory", change)
            with pytest.raises(ReadbackError, match=said):
                export_all(pool_of(tmp_path), "llama-factory", tmp_path / "x", images="copy")


@needs_shared
def test_all_of_the_mixed_pool_says_what_the_pool_says(tmp_path: Path) -> None:
    pool = Pool.open(MIXED, image_folder=REAL_IMAGES)
    folder, _ = export_all(pool, "llama-factory", tmp_path / "x")
    assert len((folder / "subset.jsonl").read_bytes().splitlines()) == len(pool)

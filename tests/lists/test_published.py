"""Lists as people hand them over: every form is read, and what is no list is refused plainly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import talk, write_json, write_lines
from visift.errors import InputError, PoolError
from visift.lists.published import read_published
from visift.pool.record import content_hash, conversation_hash

HASHES = [bytes([n]) * 16 for n in range(3)]
RECORDS = [talk("<image>\na?", image="x/1.png", id=7), talk("b?"), talk("c?", id="c")]


def written(folder: Path, name: str, said: Any) -> Path:
    path = folder / name
    if isinstance(said, pa.Table):
        pq.write_table(said, path)
    elif isinstance(said, str):
        path.write_text(said, encoding="utf-8")
    else:
        path.write_text(json.dumps(said), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "said", "keys"),
    [
        ("a.json", ["x", "y"], {"uid": ["x", "y"], "id": ["x", "y"]}),
        ("a.json", [4, 2], {"uid": ["4", "2"], "id": ["4", "2"], "row": [4, 2]}),
        ("a.json", {"indices": [4, 2], "metric": [0.5, 0.25]}, {"row": [4, 2]}),
        ("a.json", {"ids": ["x"], "note": "ours"}, {"id": ["x"]}),
        ("a.json", [{"id": 3, "score": 1}, {"id": "x"}], {"id": ["3", "x"]}),
        ("a.jsonl", '{"uid": "p#3"}\n{"uid": 1}\n', {"uid": ["p#3", "1"], "id": ["p#3", "1"]}),
        ("a.jsonl", '{"id": "only one"}\n', {"id": ["only one"]}),
        ("a.txt", "x\n\n y \n", {"uid": ["x", "y"], "id": ["x", "y"]}),
        ("a.txt", "12\n7\n", {"uid": ["12", "7"], "id": ["12", "7"], "row": [12, 7]}),
        ("a.txt", '"with \\u00e9"\n', {"uid": ["with é"], "id": ["with é"]}),
        ("a.parquet", pa.table({"index": [5, 6], "other": [0, 0]}), {"row": [5, 6]}),
        ("a.parquet", pa.table({"row": pa.array([5.0, None])}), {"row": [5, None]}),
        ("a.parquet", pa.table({"content_hash": [h.hex() for h in HASHES]}), {"content": HASHES}),
        ("a.parquet", pa.table({"content_hash": HASHES}), {"content": HASHES}),
    ],
)  # fmt: skip
def test_names_of_records(tmp_path: Path, name: str, said: Any, keys: dict[str, Any]) -> None:
    assert dict(read_published(written(tmp_path, name, said)).keys) == keys


def test_ranks_scores_and_reasons_come_along(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c"], "rank": [3, 1, 2], "score": [0.1, 0.9, None],
                      "reason": ["x", None, "z"]})  # fmt: skip
    listed = read_published(written(tmp_path, "list.parquet", table))
    assert listed.keys["id"] == ["b", "c", "a"]
    assert listed.scores == [0.9, None, 0.1]
    assert listed.reasons == [None, "z", "x"]
    assert (len(listed), listed.name, listed.folder) == (3, "list.parquet", None)


def test_a_metric_that_is_no_list_of_numbers_is_no_score(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", {"indices": [4, 2], "metric": {"loss": 1}})
    assert read_published(path).scores == []


def listing(path: Path, form: str) -> Path:
    if form == "list":
        return write_json(path / "a.json", RECORDS, indent=2)
    if form == "lines":
        return write_lines(path / "a.jsonl", RECORDS)
    images = [record.get("image") for record in RECORDS]
    plain = {"conversations": [record["conversations"] for record in RECORDS]}
    if form == "structs":
        return written(
            path, "a.parquet", pa.table({**plain, "image": [i and {"path": i} for i in images]})
        )
    return written(path, "a.parquet", pa.table({**plain, "image": images}))


@pytest.mark.parametrize("form", ["list", "lines", "table", "structs"])
def test_records_are_known_by_what_they_say_and_show(tmp_path: Path, form: str) -> None:
    listed = read_published(listing(tmp_path, form))
    turns = [("user", "<image>\na?"), ("assistant", "that.")]
    assert listed.keys["content"][0] == content_hash(turns, ["x/1.png"])
    assert listed.said[0] == (conversation_hash(turns), ("x/1.png",))
    assert listed.said[1] == (conversation_hash([("user", "b?"), turns[1]]), ())
    if form in ("list", "lines"):
        assert listed.keys["id"] == ["7", None, "c"]


def test_one_record_on_one_line_is_a_list_of_one(tmp_path: Path) -> None:
    assert len(read_published(write_lines(tmp_path / "a.jsonl", RECORDS[:1]))) == 1


def test_a_record_that_cannot_be_read_stays_in_the_list(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [RECORDS[0], {"conversations": 3, "id": 9}])
    listed = read_published(path)
    assert listed.keys["content"][1] is None
    assert listed.faults == {1: '"conversations" is a number, a list was expected'}
    assert listed.called(1) == "id 9"


@pytest.mark.parametrize(
    ("name", "said", "what"),
    [
        ("a.json", "", "names no records: it is empty"),
        ("a.json", "[]", "names no records: it is empty"),
        ("a.txt", "\n \n", "names no records: it is empty"),
        ("a.json", [{"name": 1, "text": 2}], 'names no records: it holds "name", "text"'),
        ("a.json", {"rows_kept": [1]}, 'names no records: it holds "rows_kept"'),
        ("a.parquet", pa.table({"text": ["x"]}), 'names no records: it holds "text"'),
        ("a.parquet", pa.table({"id": pa.array([], pa.string())}), "it is empty"),
        ("a.parquet", "no parquet", "is no parquet file that can be read"),
        ("a.json", "[1, 2", "is not valid JSON"),
        ("a.json", '{"indices": [1,\n', "is not valid JSON"),
        ("a.json", {"indices": ["x"]}, '"indices" holds "x", which is no row number'),
        ("a.json", [{"content_hash": "zz"}], '"content_hash" holds "zz", which is no content hash'),
        ("a.json", [[1, 2]], "names no records"),
        ("a.json", [{"id": 1, "rank": "first"}], '"rank" holds something that is no number'),
        ("a.jsonl", '{"id": 1}\n[2]\n', "is no JSON object"),
    ],
)
def test_what_is_no_list(tmp_path: Path, name: str, said: Any, what: str) -> None:
    with pytest.raises(InputError) as refused:
        read_published(written(tmp_path, name, said))
    assert what in refused.value.what
    assert str(tmp_path / name) in str(refused.value.where)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "subset.zip"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(InputError, match="no text in UTF-8, no JSON and no parquet"):
        read_published(path)


def test_folders_that_hold_no_selection(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no selection\.parquet"):
        read_published(tmp_path)
    with pytest.raises(InputError, match="there is no such file or folder"):
        read_published(tmp_path / "none")


def test_records_whose_list_breaks_off(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", '[{"conversations": [')
    with pytest.raises(PoolError, match="not a valid JSON list"):
        read_published(path)

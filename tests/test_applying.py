"""A selection rebuilt elsewhere is the selection; what cannot be rebuilt is said."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import put_images, sources_pool, talk, write_json, write_lines
from visift.applied import Applied
from visift.applying import apply
from visift.config import PoolConfig
from visift.errors import InputError, PoolError, StorageError
from visift.finished import Run
from visift.run import select

SIZES = {"coco": 30, "gqa": 15, "vg": 5}
ELSEWHERE = ("uid", "file", "row")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return sources_pool(tmp_path / "data", SIZES, text=10)


@pytest.fixture
def run(pool: Path, tmp_path: Path) -> Run:
    return select(pool, method="stratified", budget="40%", output=tmp_path / "out", seed=3)


def records(pool: Path) -> list[Any]:
    return list(json.loads(pool.read_text(encoding="utf-8")))


def shuffled(pool: Path) -> Path:
    """Write the pool's records in another order, container and spelling, beside its images."""
    others = [dict(reversed(record.items())) for record in records(pool)]
    random.Random(5).shuffle(others)
    return write_lines(pool.parent / "elsewhere" / "renamed.jsonl", others)


def applied(
    subset: Path, pool: Path, output: Path, images: Path | None = None, **how: Any
) -> Applied:
    folder = None if images is None else str(images)
    return apply(subset, PoolConfig((str(pool),), folder), output=output, **how)


def chosen(folder: Path, table: str = "selection") -> list[dict[str, Any]]:
    found = pq.read_table(folder / f"{table}.parquet")
    return list(found.drop_columns([n for n in ELSEWHERE if n in found.column_names]).to_pylist())


def test_a_run_on_a_shuffled_pool_is_the_same_selection(
    pool: Path, run: Run, tmp_path: Path
) -> None:
    there = applied(run.folder, shuffled(pool), tmp_path / "new", pool.parent)
    assert chosen(tmp_path / "new") == chosen(run.folder)
    assert chosen(tmp_path / "new", "control") == chosen(run.folder, "control")
    assert (there.fit.match.by, there.fit.match.found) == ("content", 24)
    subset = json.loads((tmp_path / "new/export/llava/subset.json").read_text())
    said = {record["conversations"][0]["value"] for record in subset}
    first = json.loads((run.folder / "export/llava/subset.json").read_text())
    assert said == {record["conversations"][0]["value"] for record in first}


def test_scores_and_statuses_come_along(pool: Path, run: Run, tmp_path: Path) -> None:
    applied(run.folder, shuffled(pool), tmp_path / "new", pool.parent)
    there, first = chosen(tmp_path / "new", "scores"), chosen(run.folder, "scores")
    assert sorted(there, key=str) == sorted(first, key=str)


def test_records_that_the_run_ruled_out_are_not_usable_here(pool: Path, tmp_path: Path) -> None:
    twice = write_json(pool.parent / "twice.json", [*records(pool), *records(pool)[:7]])
    run = select(twice, budget="20%", output=tmp_path / "balanced")
    found = applied(tmp_path / "balanced", twice, tmp_path / "new")
    usable = [one.selection.facts["usable"] for one in (run, found.run)]
    assert usable == [len(records(pool))] * 2


def test_what_comes_of_it_is_a_run_directory(pool: Path, run: Run, tmp_path: Path) -> None:
    applied(run.folder, pool, tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert {"run.yaml", "manifest.json", "quarantine.parquet", "control.parquet"} <= names
    assert "left_out.parquet" not in names
    manifest = json.loads((tmp_path / "new/manifest.json").read_text())
    assert manifest["facts"]["applied"] == {
        "list": "out", "by": "content", "listed": 24, "found": 24, "by images and text": 0,
        "repeated": 0, "left out": 0,
    }  # fmt: skip
    assert manifest["method"] == "stratified"
    assert (
        manifest["settings"] == json.loads((run.folder / "manifest.json").read_text())["settings"]
    )


def test_published_records_in_the_order_of_the_list(pool: Path, tmp_path: Path) -> None:
    whole = records(pool)
    listed = write_json(tmp_path / "subset.json", [whole[40], whole[2], whole[55]])
    applied(listed, pool, tmp_path / "new", nested=True)
    table = chosen(tmp_path / "new")
    assert [row["source"] for row in table] == ["gqa", "coco", None]
    assert [row["rank"] for row in table] == [1, 2, 3]
    assert {row["reason"] for row in table} == {"as in subset.json"}
    subset = json.loads((tmp_path / "new/export/llava/subset.json").read_text())
    assert [r["id"] for r in subset] == [whole[40]["id"], whole[2]["id"], whole[55]["id"]]


def test_scores_and_reasons_of_a_list(pool: Path, tmp_path: Path) -> None:
    listed = tmp_path / "ids.parquet"
    table = {"id": ["gqa/1.png", "vg/0.png"], "score": [0.5, 0.25], "reason": ["hard", None]}
    pq.write_table(pa.table(table), listed)
    applied(listed, pool, tmp_path / "new")
    rows = chosen(tmp_path / "new")
    assert [(row["score"], row["reason"]) for row in rows] == [
        (0.5, "hard"),
        (0.25, "as in ids.parquet"),
    ]


def test_missing_images_leave_records_out_and_say_so(pool: Path, run: Run, tmp_path: Path) -> None:
    lost = next(row for row in run.selection.table.to_pylist() if row["source"] == "gqa")
    image = records(pool)[lost["row"]]["image"]
    (pool.parent / image).unlink()
    with pytest.raises(InputError) as refused:
        applied(run.folder, pool, tmp_path / "new")
    assert refused.value.what == (
        "23 of its 24 records can be taken from the pool "
        f"(1 not usable here; first: {lost['uid']} (image missing: {image}))."
    )
    assert refused.value.fix == (
        f"Check --image-folder (looked in {pool.parent}), or go on without: --min-match 95.8%. "
        "Nothing was written."
    )
    assert not (tmp_path / "new").exists()
    there = applied(run.folder, pool, tmp_path / "new", min_match="95.8%")
    assert len(there.run.selection) == 23
    assert chosen(tmp_path / "new", "left_out") == [
        {"rank": lost["rank"], "name": lost["uid"], "reason": f"image missing: {image}"}
    ]
    quarantine = pq.read_table(tmp_path / "new/quarantine.parquet")
    assert quarantine["reason"].to_pylist() == [f"image missing: {image}"]


def test_a_list_of_records_that_the_pool_lacks(pool: Path, tmp_path: Path) -> None:
    whole = records(pool)
    listed = write_json(tmp_path / "subset.json", [whole[0], talk("else", id=5), {"id": "bad"}])
    there = applied(listed, pool, tmp_path / "new", min_match="30%")
    assert there.fit.left_out == [
        (1, "not in the pool"),
        (2, 'unreadable in the list: "conversations" is missing'),
    ]
    assert chosen(tmp_path / "new", "left_out")[0]["name"] == "id 5"
    applied(write_json(listed, whole[:1]), pool, tmp_path / "new", overwrite=True)
    assert not (tmp_path / "new/left_out.parquet").exists()


def test_texts_that_changed_are_found_by_id_if_asked(pool: Path, tmp_path: Path) -> None:
    changed = [{**record, "conversations": talk("other")["conversations"]} for record in
               records(pool)[:3]]  # fmt: skip
    listed = write_json(tmp_path / "subset.json", changed)
    with pytest.raises(InputError, match="More of their ids are there, with other texts: --by id"):
        applied(listed, pool, tmp_path / "new")
    assert len(applied(listed, pool, tmp_path / "new", by="id").run.rows) == 3


def test_a_run_whose_texts_changed_points_at_its_records(
    pool: Path, run: Run, tmp_path: Path
) -> None:
    spaced = [
        {**record, "conversations": [{**turn, "value": turn["value"] + " "} for turn in
                                     record["conversations"]]}
        for record in records(pool)
    ]  # fmt: skip
    other = write_json(pool.parent / "spaced.json", spaced)
    subset = run.folder / "export/llava/subset.json"
    with pytest.raises(InputError) as refused:
        applied(run.folder, other, tmp_path / "new")
    assert f"apply the records themselves ({subset})" in str(refused.value.fix)
    there = applied(subset, other, tmp_path / "new")
    assert (len(there.run.rows), len(there.fit.match.loose)) == (24, 24)


def test_every_id_of_several_records(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png"])
    pool = write_json(tmp_path / "pool.json", [talk("1", id=1), talk("2", id=2), talk("3", id=1)])
    listed = tmp_path / "ids.txt"
    listed.write_text("1\n")
    with pytest.raises(InputError, match="1 id stands for several different records"):
        applied(listed, pool, tmp_path / "new", by="id")
    there = applied(listed, pool, tmp_path / "new", by="id", ambiguous="all")
    assert there.run.rows.tolist() == [0, 2]
    assert there.summary()["found"] == 1


def test_outputs_that_would_spoil_what_is_read(pool: Path, run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds what is to be applied"):
        applied(run.folder, pool, run.folder)
    with pytest.raises(InputError, match="holds what is to be applied"):
        applied(run.folder / "export/llava/subset.json", pool, run.folder, overwrite=True)
    with pytest.raises(InputError, match="lies inside the pool folder"):
        applied(run.folder, pool.parent, pool.parent / "new")


def test_another_list_does_not_replace_the_first_silently(pool: Path, tmp_path: Path) -> None:
    whole = records(pool)
    listed = write_json(tmp_path / "subset.json", whole[:2])
    applied(listed, pool, tmp_path / "new")
    applied(listed, pool, tmp_path / "new")
    write_json(listed, whole[:3])
    with pytest.raises(InputError, match=r"holds another run \(different: settings\)"):
        applied(listed, pool, tmp_path / "new")
    assert len(applied(listed, pool, tmp_path / "new", overwrite=True).run.rows) == 3


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"min_match": "x"}, '"x" is not a share'),
        ({"export": ["axolotl"]}, 'no exporter "axolotl"'),
        ({"by": "content"}, "its entries have no content hash"),
    ],
)
def test_wishes_that_cannot_be_met(pool: Path, tmp_path: Path, how: Any, what: str) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("gqa/1.png\n")
    with pytest.raises(InputError, match=what):
        applied(listed, pool, tmp_path / "new", **how)
    assert not (tmp_path / "new").exists()


def test_no_entry_in_the_pool(pool: Path, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("nobody\nno one\n")
    with pytest.raises(InputError) as refused:
        applied(listed, pool, tmp_path / "new", min_match="0%")
    assert refused.value.what == (
        "0 of its 2 records can be taken from the pool (2 not in the pool; first: nobody, no one)."
    )
    assert refused.value.fix == "Name the pool it was chosen from. Nothing was written."


def test_a_name_that_commands_a_terminal_stays_a_name(pool: Path, tmp_path: Path) -> None:
    listed = write_json(tmp_path / "ids.json", ["gqa/1.png", "\x1b[31mevil\nline\u202e"])
    with pytest.raises(InputError) as refused:
        applied(listed, pool, tmp_path / "new")
    assert "first: ⟨U+001B⟩[31mevil line⟨U+202E⟩)." in refused.value.what


def test_a_pool_that_is_not_there(run: Run, tmp_path: Path) -> None:
    with pytest.raises(PoolError):
        applied(run.folder, tmp_path / "none.json", tmp_path / "new")
    with pytest.raises(InputError, match="no pool was named"):
        apply(run.folder, PoolConfig(), output=tmp_path / "new")


def test_a_folder_that_cannot_be_written(pool: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, StorageError)):
        applied(run.folder, pool, tmp_path / "file")

"""Finding listed records in a pool: by content, loosely, by id, by row; copies and ambiguity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import open_records, talk, write_json
from visift.errors import InputError
from visift.lists.matching import Match, match, rows_of
from visift.lists.published import read_published
from visift.pool.pool import Pool


def said(match: Match) -> tuple[str, list[int], list[int]]:
    return match.by, match.rows.tolist(), match.entries.tolist()


def found(folder: Path, pool: Pool, listed: Any, **how: Any) -> Match:
    path = folder / "listed.json"
    path.write_text(json.dumps(listed), encoding="utf-8")
    return match(read_published(path), pool, **how)


RECORDS = [talk(f"question {n}", id=f"id-{n}") for n in range(5)]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return open_records(tmp_path / "data", RECORDS)


def test_records_in_another_order_and_spelling(tmp_path: Path, pool: Pool) -> None:
    listed = [dict(reversed(RECORDS[n].items())) | {"id": "other"} for n in (3, 0, 4)]
    assert said(found(tmp_path, pool, listed)) == ("content", [3, 0, 4], [0, 1, 2])


def test_white_space_and_image_paths_get_a_second_chance(tmp_path: Path) -> None:
    pool = open_records(
        tmp_path / "data",
        [talk("<image>\n a?", image="./x//1.png"), talk("<image>\na?", image="x/2.png"), talk("b")],
    )
    listed = [talk("b\n"), talk("<image> a?", image="x/1.png"), talk("<image> a?", image="3.png")]
    there = found(tmp_path, pool, listed)
    assert said(there) == ("content", [2, 0], [0, 1])
    assert (there.loose.tolist(), there.missing.tolist()) == ([0, 1], [2])


def test_the_kth_of_identical_records_takes_the_kth(tmp_path: Path) -> None:
    same = talk("again")
    pool = open_records(tmp_path / "data", [same, talk("x"), same, talk("again ")])
    there = found(tmp_path, pool, [same, same, talk("x")])
    assert said(there) == ("content", [0, 2, 1], [0, 1, 2])
    there = found(tmp_path, pool, [same, same, same, same])
    assert said(there) == ("content", [0, 2, 3], [0, 1, 2])
    assert (there.loose.tolist(), there.repeated.tolist()) == ([2], [3])
    assert (there.found, there.listed) == (3, 4)


def test_ids_are_text_and_numbers_alike(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "data", [talk("a", id=17), talk("b", id="18"), talk("c")])
    assert said(found(tmp_path, pool, ["18", 17, "19"])) == ("id", [1, 0], [0, 1])


def test_numbers_are_what_the_pool_makes_of_them(tmp_path: Path) -> None:
    ids = open_records(tmp_path / "ids", [talk(str(n), id=1000 + n) for n in range(4)])
    assert said(found(tmp_path, ids, [1003, 1000])) == ("id", [3, 0], [0, 1])
    assert said(found(tmp_path, ids, [3, 0])) == ("row", [3, 0], [0, 1])
    assert said(found(tmp_path, ids, {"indices": [2]})) == ("row", [2], [0])


def test_numbers_that_are_ids_and_rows_are_ids_and_say_so(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "data", [talk(str(n), id=str(3 - n)) for n in range(4)])
    there = found(tmp_path, pool, [0, 1])
    assert (said(there), there.also) == (("id", [3, 2], [0, 1]), "row")
    there = found(tmp_path, pool, [0, 1], by="row")
    assert (said(there), there.also) == (("row", [0, 1], [0, 1]), None)


def test_rows_that_are_not_there(tmp_path: Path, pool: Pool) -> None:
    there = found(tmp_path, pool, {"rows": [4, 5, -1, 4]})
    assert said(there) == ("row", [4], [0])
    assert (there.missing.tolist(), there.repeated.tolist()) == ([1, 2], [3])


def test_uids_of_a_joined_pool(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_json(tmp_path / f"{name}.json", [talk(f"{name} {n}") for n in range(2)])
    pool = Pool.open([tmp_path / "one.json", tmp_path / "two.json"])
    listed = ["two:two.json#1", "one:one.json#0"]
    assert said(found(tmp_path, pool, listed)) == ("uid", [3, 0], [0, 1])


DOUBLE = [talk("a", id="x"), talk("b", id="y"), talk("c", id="x"), talk("d", id="x")]


def test_an_id_of_several_records_is_refused(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "data", DOUBLE)
    with pytest.raises(InputError) as refused:
        found(tmp_path, pool, ["y", "x"])
    assert refused.value.what == (
        '1 id stands for several different records of the pool ("x" for 3).'
    )
    assert "--ambiguous first" in str(refused.value.fix)
    assert said(found(tmp_path, pool, ["x", "y"], ambiguous="first")) == ("id", [0, 1], [0, 1])
    assert said(found(tmp_path, pool, ["x", "y"], ambiguous="all")) == (
        "id",
        [0, 2, 3, 1],
        [0, 0, 0, 1],
    )


def test_all_records_of_an_id_that_is_listed_several_times(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "data", DOUBLE)
    there = found(tmp_path, pool, ["x", "y", "x"], ambiguous="all")
    assert said(there) == ("id", [0, 3, 1, 2], [0, 0, 1, 2])
    assert (there.found, there.listed) == (3, 3)


def test_an_id_listed_as_often_as_it_occurs_is_not_ambiguous(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "data", DOUBLE)
    assert said(found(tmp_path, pool, ["x", "y", "x", "x"])) == ("id", [0, 1, 2, 3], [0, 1, 2, 3])


def test_an_id_of_identical_records_is_not_ambiguous(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "data", [talk("a", id="x"), talk("a", id="x")])
    assert said(found(tmp_path, pool, ["x"])) == ("id", [0], [0])


def test_names_that_a_list_does_not_have(tmp_path: Path, pool: Pool) -> None:
    with pytest.raises(InputError, match=r"its entries have no content hash\.\nThey have: uid, id"):
        found(tmp_path, pool, ["id-1"], by="content")


def test_records_by_their_ids_where_texts_differ(tmp_path: Path, pool: Pool) -> None:
    listed = [talk("a new text", id="id-2")]
    assert found(tmp_path, pool, listed).missing.tolist() == [0]
    assert said(found(tmp_path, pool, listed, by="id")) == ("id", [2], [0])


def test_content_hashes_of_a_table(tmp_path: Path, pool: Pool) -> None:
    hashes = [pool.record(row).content_hash for row in (4, 1)]
    path = tmp_path / "published.parquet"
    pq.write_table(pa.table({"content_hash": hashes}), path)
    assert said(match(read_published(path), pool)) == ("content", [4, 1], [0, 1])


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_every_name_gets_a_place_of_its_own(names: list[int], there: list[int]) -> None:
    rows = rows_of(names, there).tolist()
    placed = [row for row in rows if row >= 0]
    assert len(set(placed)) == len(placed)
    assert all(there[row] == name for row, name in zip(rows, names, strict=True) if row >= 0)
    assert len(placed) == sum(min(names.count(n), there.count(n)) for n in range(4))

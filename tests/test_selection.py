"""A selection: its tables, saving, loading, prefixes, and finding its rows again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from helpers import open_records, talk, write_json
from visift.errors import InfeasibleBudget, InputError, PoolError
from visift.pool.pool import Pool
from visift.run import select
from visift.selection import Choice, Selection

TABLE = [
    *("uid", "content_hash", "file", "row", "rank", "score", "reason"),
    *("source", "task", "group", "quota", "tied"),
]
SCORES = ["uid", "content_hash", "file", "row", "source", "task", "group", "score", "status"]


def made(folder: Path, *, nested: bool = True) -> tuple[Pool, Selection]:
    """Six rows, one of them bad; rows 4, 0, 3 are chosen in this order."""
    records = [talk(f"{n}", source="s" if n < 3 else "t") for n in range(5)]
    pool = open_records(folder, [*records, {"id": 1}])
    choice = Choice(
        rows=np.array([4, 0, 3]),
        reasons=["best", "second", "third"],
        score=np.array([0.2, np.nan, 0.9, 0.3, 0.1, np.nan]),
        group=["s", "s", "s", "t", "t", None],
        status=[None, "duplicate", None, None, None, None],
        tied=np.array([False, True, False]),
        facts={"nested": nested, "usable": 4, "direction": "lowest first"},
    )
    return pool, Selection.of(pool, choice, {5: '"conversations" is missing'})


def test_tables_have_the_documented_columns(tmp_path: Path) -> None:
    pool, selection = made(tmp_path)
    assert selection.table.column_names == TABLE
    assert selection.scores.column_names == SCORES
    assert selection.table.drop_columns(["content_hash", "file"]).to_pylist()[0] == {
        "uid": "pool.json#4", "row": 4, "rank": 1, "score": 0.1, "reason": "best",
        "source": "t", "task": "t", "group": "t", "quota": 2, "tied": False,
    }  # fmt: skip
    assert selection.table["quota"].to_pylist() == [2, 1, 2]
    assert selection.table["content_hash"][0].as_py() == pool.record(4).content_hash


def test_every_record_has_a_score_or_a_status(tmp_path: Path) -> None:
    pool, selection = made(tmp_path)
    assert selection.scores["uid"].to_pylist() == pool.uids(np.arange(6))
    assert selection.scores["score"].to_pylist() == [0.2, None, 0.9, 0.3, 0.1, None]
    assert selection.scores["status"].to_pylist() == [
        "selected",
        "duplicate",
        "not selected",
        "selected",
        "selected",
        'set aside: "conversations" is missing',
    ]


def test_save_and_load(tmp_path: Path) -> None:
    _, selection = made(tmp_path)
    selection.save(tmp_path)
    again = Selection.load(tmp_path)
    assert again.table.equals(selection.table)
    assert again.scores.equals(selection.scores)
    assert again.facts == selection.facts
    assert len(again) == 3
    assert again.to_pandas()["rank"].tolist() == [1, 2, 3]


def test_a_folder_without_a_selection(tmp_path: Path) -> None:
    _, selection = made(tmp_path)
    with pytest.raises(InputError, match="holds no selection"):
        Selection.load(tmp_path)
    (tmp_path / "selection.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="holds no selection"):
        Selection.load(tmp_path)
    pq.write_table(selection.table, tmp_path / "selection.parquet")
    pq.write_table(selection.scores, tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="holds no selection"):
        Selection.load(tmp_path)


def test_top_is_a_prefix_whose_tables_agree(tmp_path: Path) -> None:
    _, selection = made(tmp_path)
    top = selection.top("50%")
    assert top.table["rank"].to_pylist() == [1, 2]
    assert top.table["quota"].to_pylist() == [1, 1]
    assert top.table.column_names == TABLE
    chosen = [s for s in top.scores["status"].to_pylist() if s == "selected"]
    assert (len(chosen), top.scores.column_names) == (2, SCORES)
    assert selection.top(3).table.equals(selection.table)


def test_top_refuses(tmp_path: Path) -> None:
    _, selection = made(tmp_path)
    with pytest.raises(InputError, match="more than the 3 selected"):
        selection.top(4)
    with pytest.raises(InfeasibleBudget):
        selection.top(5)
    with pytest.raises(InputError, match="rows or a share"):
        selection.top("1-images")
    with pytest.raises(InputError, match="not prefixes"):
        made(tmp_path, nested=False)[1].top(1)


def test_rows_are_found_again_or_refused(tmp_path: Path) -> None:
    pool, selection = made(tmp_path)
    assert selection.rows_in(pool).tolist() == [4, 0, 3]
    changed = [talk(f"{n}", source="s") for n in (0, 1, 2, 3, "other")]
    with pytest.raises(PoolError, match="json#4: is not the record"):
        selection.rows_in(open_records(tmp_path, changed))
    with pytest.raises(PoolError, match="has changed"):
        selection.rows_in(Pool.open(write_json(tmp_path / "new.json", changed)))


def test_an_empty_choice_is_a_selection(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk()])
    nothing = Choice(
        np.empty(0, np.int64), [], np.array([np.nan]), [None], [None], np.empty(0, bool), {}
    )
    selection = Selection.of(pool, nothing, {})
    assert (len(selection), selection.table.column_names) == (0, TABLE)


def test_reprs_say_how_many(tmp_path: Path) -> None:
    _, selection = made(tmp_path)
    assert repr(selection) == "Selection(3 of 6 records)"
    assert "&lt;" not in selection._repr_html_()
    assert "best" in selection._repr_html_()


def test_no_prefix_is_shorter_than_what_is_kept(tmp_path: Path) -> None:
    write_json(tmp_path / "pool.json", [talk(f"q{n}") for n in range(6)])
    write_json(tmp_path / "mine.json", [talk("own"), talk("own, too")])
    pool = Pool.open(tmp_path / "pool.json", keep=tmp_path / "mine.json")
    chosen = select(pool, budget=5, output=tmp_path / "out").selection
    assert len(chosen.top(2)) == 2
    with pytest.raises(InfeasibleBudget, match="1 is fewer than the 2 records of --keep"):
        chosen.top(1)

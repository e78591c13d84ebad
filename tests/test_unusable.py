"""What is set aside: one reason a row, counted by kind and source, and a limit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from helpers import open_records, put_images, talk
from visift.errors import TooManyUnusable
from visift.pool.pool import Pool
from visift.unusable import Quarantine


def pool_of(folder: Path) -> Pool:
    """Ten rows: two missing images of source a, one of b, one bad record, six good ones."""
    put_images(folder, ["a/0.png"])
    records = [talk(str(n), image=f"{s}/{i}.png") for n, (s, i) in enumerate(["a0", "a1", "a2"])]
    records += [talk("b", image="b/1.png"), {"id": 4}]
    return open_records(folder, records + [talk(f"t{n}") for n in range(5)])


def test_faults_are_counted_by_kind(tmp_path: Path) -> None:
    found = Quarantine.of(pool_of(tmp_path).set_aside())
    assert list(found.reasons) == [1, 2, 3, 4]
    assert found.kinds() == {"image missing": 3, '"conversations" is missing': 1}
    assert found.summary() == '4 records (3 image missing, 1 "conversations" is missing)'


def test_the_first_reason_stays_and_rows_ascend() -> None:
    found = Quarantine.of({5: "a: x", 9: "b"}, {5: "c", 1: "c: y"})
    assert dict(found.reasons) == {1: "c: y", 5: "a: x", 9: "b"}
    assert list(found.reasons) == [1, 5, 9]


def test_table_and_back(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    found = Quarantine.of(pool.set_aside())
    table = found.table(pool)
    assert table.column_names == ["uid", "file", "row", "reason"]
    assert table.to_pylist()[0] == {
        "uid": "pool.json#1", "file": "pool.json", "row": 1, "reason": "image missing: a/1.png",
    }  # fmt: skip
    pq.write_table(table, tmp_path / "quarantine.parquet")
    assert Quarantine.load(tmp_path, pool) == found
    assert Quarantine.of().table(pool).schema == table.schema


def test_too_many_names_counts_per_source_the_first_and_the_flag(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    found = Quarantine.of(pool.set_aside())
    with pytest.raises(TooManyUnusable) as caught:
        found.check(pool, Fraction(1, 100), "Nothing was measured yet.")
    assert caught.value.what == (
        "4 of 10 records cannot be used: 2 a (image missing), 1 b (image missing), "
        '1 without source ("conversations" is missing) '
        "(first: pool.json#1, image missing: a/1.png)."
    )
    assert caught.value.fix == (
        f"Check --image-folder (looked in {tmp_path}), or go on without: --max-unusable 40%. "
        "Nothing was measured yet."
    )
    found.check(pool, Fraction(2, 5), "")


def test_the_suggested_share_is_always_enough(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk(str(n)) for n in range(997)])
    for count in (10, 11, 333, 996):
        found = Quarantine(dict.fromkeys(range(count), "why"))
        with pytest.raises(TooManyUnusable) as caught:
            found.check(pool, Fraction(1, 100), "")
        share = str(caught.value.fix).partition("--max-unusable ")[2].partition("%")[0]
        found.check(pool, Fraction(share) / 100, "")


def test_where_nothing_is_left_going_on_is_not_advised(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk(str(n)) for n in range(5)])
    with pytest.raises(TooManyUnusable) as caught:
        Quarantine(dict.fromkeys(range(5), "why")).check(pool, Fraction(1, 100), "")
    assert "--max-unusable" not in str(caught.value.fix)

"""A teacher's labels find their records, and what is wrong with them is said in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import open_records, talk
from visift.errors import InputError
from visift.pool.bill import NO_BILL, Bill
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return open_records(tmp_path, [talk(f"question {n}?", "yes") for n in (0, 1, 2, 2)])


def labels(pool: Pool, folder: Path, **columns: Any) -> Path:
    path = folder / "labels.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def hashes(pool: Pool) -> list[str]:
    return [digest.hex() for digest in pool.content_hashes()]


def test_records_are_found_by_content_and_equal_ones_share_their_labels(
    pool: Pool, tmp_path: Path
) -> None:
    known = hashes(pool)
    columns = {"content_hash": [known[2], known[0], "0" * 32], "score.ocr": [5, 0, 3]}
    path = labels(pool, tmp_path, **columns, styles=[["a", "b"], ["c"], []])
    found = TeacherLabels.open(pool, [path])
    assert found.labelled().tolist() == [0, 2]  # the third record was not labelled itself
    assert found.remarks == ("1 lines of labels.parquet name no record of the pool",)
    mine = found.of(np.array([3, 0, 1]), ["ocr"], styles=True)
    assert mine.rows.tolist() == [0, 3]
    assert mine.scores["ocr"].tolist() == [0.0, 5.0]
    assert mine.styles == (("c",), ("a", "b"))


def test_what_failed_is_settled_and_has_no_labels(pool: Pool, tmp_path: Path) -> None:
    uids = pool.uids(np.arange(3))
    path = labels(
        pool,
        tmp_path,
        uid=uids,
        **{"score.ocr": pa.array([4, None, None], pa.int8())},
        styles=pa.array([["a"], None, None], pa.list_(pa.string())),
        failed=[None, "no reply", None],
    )
    found = TeacherLabels.open(pool, [path])
    assert found.lacking([2, 1, 0, 3], ["ocr"], styles=True) == [2, 3]
    assert found.lacking([0], ["ocr", "other"], styles=False) == [0]
    assert found.of(np.arange(3), ["ocr"], styles=True).rows.tolist() == [0]


def test_files_complete_each_other(pool: Pool, tmp_path: Path) -> None:
    uids = pool.uids(np.arange(2))
    first, second = (tmp_path / name for name in ("labels.parquet", "labels-new.parquet"))
    pq.write_table(pa.table({"uid": uids, "score.a": [1, 2]}), first)
    pq.write_table(pa.table({"uid": uids, "score.a": [5, 5], "score.b": [3, 4]}), second)
    found = TeacherLabels.open(pool, [first, second])
    assert found.scores == {"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 4.0}}


def test_files_of_a_run_may_be_missing_and_those_handed_in_may_not(
    pool: Pool, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.parquet"
    assert not TeacherLabels.open(pool, [gone]).labelled().size
    assert not TeacherLabels.open(pool, [], handed_in=True).handed_in
    with pytest.raises(InputError, match="there is no such file"):
        TeacherLabels.open(pool, [gone], handed_in=True)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"score.ocr": [6]}, "6 is no score: a whole number from 0 to 5"),
        ({"score.ocr": [2.5]}, "2.5 is no score"),
        ({"score.ocr": ["4"]}, "holds string, whole numbers from 0 to 5 were expected"),
        ({"styles": [7]}, "holds int64, lists of texts were expected"),
        ({"image_quality_rating": [4]}, "holds no labels"),
    ],
)
def test_what_is_no_label_is_refused(
    columns: dict[str, Any], said: str, pool: Pool, tmp_path: Path
) -> None:
    path = labels(pool, tmp_path, uid=pool.uids(np.arange(1)), **columns)
    with pytest.raises(InputError, match=said):
        TeacherLabels.open(pool, [path])


def test_labels_of_another_pool_are_refused(pool: Pool, tmp_path: Path) -> None:
    path = labels(pool, tmp_path, uid=["elsewhere.json#1"], **{"score.ocr": [1]})
    with pytest.raises(InputError, match="labels no record of the pool"):
        TeacherLabels.open(pool, [path])


def test_of_equal_records_the_one_with_the_uid_was_labelled(pool: Pool, tmp_path: Path) -> None:
    digest, uid = hashes(pool)[3], pool.uids(np.array([3]))[0]
    path = labels(pool, tmp_path, uid=[uid], content_hash=[digest], **{"score.ocr": [2]})
    found = TeacherLabels.open(pool, [path], handed_in=True)
    assert found.labelled().tolist() == [3]
    assert found.of(np.arange(4), ["ocr"], styles=False).rows.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("tokens_in", "dollars", "bill"),
    [
        (None, None, Bill(None, None)),
        ([10, 20], None, Bill(33, None)),
        ([10, 20], [0.5, 0.25], Bill(33, 0.75)),
        ([10, None], [0.5, None], Bill(None, None)),
        (["a", "b"], [None, None], Bill(None, None)),
        ([10, 20], [float("nan"), 0.5], Bill(33, None)),
        ([10, -20], [float("inf"), -0.5], Bill(None, None)),
    ],
)
def test_what_labels_cost_is_known_where_it_is_known_of_all(
    tokens_in: list[Any] | None, dollars: list[Any] | None, bill: Bill, pool: Pool, tmp_path: Path
) -> None:
    given = {"tokens_in": tokens_in, "tokens_out": [1, 2], "dollars": dollars}
    columns = {name: values for name, values in given.items() if values is not None}
    uids = pool.uids(np.arange(2))
    first, second = (tmp_path / name for name in ("labels.parquet", "labels-new.parquet"))
    pq.write_table(pa.table({"uid": uids, "score.a": [1, 2], **columns}), first)
    assert TeacherLabels.open(pool, [first]).bill == bill
    more = {"tokens_in": [1, 1], "tokens_out": [1, 1], "dollars": [1.0, 1.0]}
    pq.write_table(pa.table({"uid": uids, "score.b": [1, 2], **more}), second)
    both = TeacherLabels.open(pool, [first, second]).bill
    assert both.tokens == (None if bill.tokens is None else bill.tokens + 4)
    assert both.dollars == (None if bill.dollars is None else bill.dollars + 2)
    # What is named twice was paid for once.
    assert TeacherLabels.open(pool, [first, first], handed_in=True).bill == bill


@pytest.mark.parametrize(
    ("bill", "text"),
    [
        (Bill(338_000, 1.2), "$1.20 (338k tokens)"),
        (Bill(None, 1.2), "$1.20"),
        (Bill(338_000, None), "338k tokens"),
        (Bill(None, None), "–"),
        (NO_BILL, "nothing"),
    ],
)
def test_a_bill_for_people(bill: Bill, text: str) -> None:
    assert str(bill) == text

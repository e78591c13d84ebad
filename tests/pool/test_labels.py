"""Labels: named fields, then detected ones, then each other, then the first folder of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers import open_records, talk, write_json
from visift.errors import InputError
from visift.pool.labels import path_prefix
from visift.pool.pool import Pool


def labels(folder: Path, record: dict[str, Any], **options: Any) -> tuple[str | None, str | None]:
    pool = open_records(folder, [record, talk(named=1)], **options)
    return pool.record(0).task, pool.record(0).source


@pytest.mark.parametrize(
    ("fields", "task", "source"),
    [
        ({"task": "t", "task_name": "n"}, "t", "t"),
        ({"task_name": "n", "source": "s"}, "n", "s"),
        ({"source": "s", "data_source": "d", "dataset": "e"}, "s", "s"),
        ({"data_source": "d", "dataset": "e"}, "d", "d"),
        ({"dataset": "e", "task": "t"}, "t", "e"),
        ({"task": "", "task_name": "n", "source": None, "dataset": "e"}, "n", "e"),
        ({"task": 3, "source": 0}, "3", "0"),
        ({"image": "coco/train/1.jpg"}, "coco", "coco"),
        ({"image": ["a/1.jpg", "b/2.jpg"]}, "a", "a"),
        ({"image": "coco/1.jpg", "task": "t"}, "t", "t"),
        ({"image": "1.jpg"}, None, None),
        ({}, None, None),
    ],
)
def test_detection_order_and_filling_in(
    tmp_path: Path, fields: dict[str, Any], task: str | None, source: str | None
) -> None:
    assert labels(tmp_path, talk(**fields)) == (task, source)


def test_named_fields_are_the_only_ones_read(tmp_path: Path) -> None:
    record = talk(task="t", kind="k", source="s", origin="o")
    assert labels(tmp_path, record, task_field="kind", source_field="origin") == ("k", "o")
    assert labels(tmp_path, record, task_field="kind") == ("k", "s")
    assert labels(tmp_path, talk(task="t", source="s"), task_field="named") == ("s", "s")


def test_one_field_can_name_both(tmp_path: Path) -> None:
    both = {"task_field": "kind", "source_field": "kind"}
    assert labels(tmp_path, talk(kind="k"), **both) == ("k", "k")


def test_a_field_that_no_record_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no record has a field "tsk"'):
        labels(tmp_path, talk(task="t"), task_field="tsk")


@pytest.mark.parametrize("escaped", [True, False])
def test_a_field_is_found_however_its_name_is_spelt(tmp_path: Path, escaped: bool) -> None:
    path = write_json(tmp_path / "pool.json", [talk(**{"任务": "t"})], ensure_ascii=escaped)
    assert Pool.open(path, task_field="任务").record(0).task == "t"


@pytest.mark.parametrize("field", ["conversations", "image"])
def test_the_conversation_is_no_label(tmp_path: Path, field: str) -> None:
    with pytest.raises(InputError, match="no label"):
        labels(tmp_path, talk(image="a.png"), source_field=field)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("coco/train2017/1.jpg", "coco"),
        ("./coco/1.jpg", "coco"),
        ("1.jpg", None),
        ("/data/1.jpg", None),
        ("../coco/1.jpg", None),
        ("coco\\1.jpg", "coco"),
        ("a\\b/1.jpg", "a"),
        ("coco/../other/1.jpg", "other"),
        ("\\data\\1.jpg", None),
        ("C:\\data\\1.jpg", None),
        ("C:/data/1.jpg", None),
        ("http://host/coco/1.jpg", None),
        ("s3://bucket/coco/1.jpg", None),
        ("data:image/png;base64,AA/A", None),
    ],
)
def test_path_prefix(path: str, prefix: str | None) -> None:
    assert path_prefix([path]) == prefix

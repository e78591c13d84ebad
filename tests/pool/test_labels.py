"""Labels: named fields, then detected ones, then each other, then the first folder of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers import open_records, talk, write_json
from visift.errors import InputError
from visift.pool.labels import path_prefix, strange_folders
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


LETTER = "Answer with the option's letter from the given choices directly."
SHORT = "Answer the question using a single word or phrase."
LIKE_LLAVA = [
    ("coco/1.jpg", f"<image>\nwhich?\nA. a\n{LETTER}", "a_okvqa"),
    (
        "coco/2.jpg",
        "<image>\nPlease provide a short description for this region: [0, 1]",
        "refcoco",
    ),
    ("coco/3.jpg", "Please provide the bounding box coordinate of the region: a dog", "refcoco"),
    ("coco/4.jpg", f"<image>\nhow many?\n{SHORT}", "vqav2+okvqa"),
    ("coco/5.jpg", "<image>\ndescribe", "llava"),
    ("gqa/6.jpg", f"<image>\nhow many?\n{SHORT}", "gqa"),
    ("ocr_vqa/7.jpg", f"<image>\nwho wrote it?\n{SHORT}", "ocr_vqa"),
    ("textvqa/8.jpg", "<image>\ncaption", "textvqa"),
    ("vg/9.jpg", "<image>\nregion", "vg"),
]


def like_llava(folder: Path, *more: dict[str, Any], but: str = "") -> Pool:
    records = [talk(said, image=path) for path, said, _ in LIKE_LLAVA if path != but]
    return open_records(folder, [*records, *more, talk(f"no image, {SHORT}")])


def test_llava_665k_is_told_apart_by_folder_and_under_coco_by_prompt(tmp_path: Path) -> None:
    pool = like_llava(tmp_path)
    labels = [label for *_, label in LIKE_LLAVA]
    assert pool.index["source"].to_pylist() == pool.index["task"].to_pylist() == [*labels, None]
    by = pool.index["source_by"].to_pylist()
    assert by == ["prompt"] * 5 + ["path"] * 4 + [None]


def test_the_first_prompt_that_fits_decides(tmp_path: Path) -> None:
    both = talk(f"<image>\nwhich?\n{LETTER}", image="coco/1.jpg")
    both["conversations"] += talk(f"how many?\n{SHORT}")["conversations"]
    assert like_llava(tmp_path, both).index["source"][len(LIKE_LLAVA)].as_py() == "a_okvqa"


def test_a_field_wins_over_the_prompt(tmp_path: Path) -> None:
    named = talk(f"<image>\n{SHORT}", image="coco/1.jpg", source="mine")
    pool = like_llava(tmp_path, named)
    assert pool.index["source"][len(LIKE_LLAVA)].as_py() == "mine"


def test_a_pool_without_one_of_the_folders_is_somebody_elses(tmp_path: Path) -> None:
    pool = like_llava(tmp_path, but="vg/9.jpg")
    assert set(pool.index["source"].to_pylist()) == {"coco", "gqa", "ocr_vqa", "textvqa", None}
    assert strange_folders(pool.index) == []


def test_what_fits_no_folder_is_listed(tmp_path: Path) -> None:
    more = [talk(str(n), image=path) for n, path in enumerate(["x/1.jpg", "y/1.jpg", "x/2.jpg"])]
    assert strange_folders(like_llava(tmp_path, *more).index) == [("x", 2), ("y", 1)]

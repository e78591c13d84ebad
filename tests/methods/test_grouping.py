"""Groups from labels that may be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import open_records, put_images, talk
from visift.errors import InputError
from visift.methods.grouping import label_groups
from visift.pool.pool import Pool


def pool_of(folder: Path, *records: dict[str, Any]) -> Pool:
    put_images(folder, ["i.png"])
    return open_records(folder, [talk(str(n), **record) for n, record in enumerate(records)])


def named(pool: Pool, rows: list[int] | None = None, **options: Any) -> list[str]:
    at = np.arange(len(pool)) if rows is None else np.array(rows, np.int64)
    found = label_groups(pool, at, options.pop("kind", "source"), **options)
    return [found.labels[g] for g in found.of]


def test_labels_in_order_text_only_last(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"source": "z"}, {}, {"source": "a", "image": "i.png"}, {})
    found = label_groups(pool, np.arange(4), "source")
    assert found.labels == ("a", "z", "text-only")
    assert found.of.tolist() == [1, 2, 0, 2]


def test_a_text_only_row_with_a_label_keeps_it(tmp_path: Path) -> None:
    assert named(pool_of(tmp_path, {"task": "t"}, {}), kind="task") == ["t", "text-only"]


def test_only_the_rows_asked_about_count(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"source": "a"}, {"image": "i.png"}, {"source": "b"})
    assert named(pool, [2, 0]) == ["b", "a"]
    assert named(pool, [1]) == ["all"]
    assert named(pool, []) == []


def test_rows_without_a_label_among_labelled_ones(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"source": "a"}, *[{"image": "i.png"}] * 5)
    with pytest.raises(InputError) as caught:
        named(pool)
    assert caught.value.what == (
        "5 records have no source, others have one (first: pool.json#1, pool.json#2, pool.json#3)."
    )
    assert "--source-field" in str(caught.value.fix)
    assert "--set unlabelled=other" in str(caught.value.fix)
    assert named(pool, unlabelled="other") == ["a", *["other"] * 5]
    assert named(pool, unlabelled="a") == ["a"] * 6


def test_a_pool_without_labels_is_one_group_and_its_text(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"image": "i.png"}, {})
    assert named(pool) == ["all", "text-only"]
    assert named(pool, unlabelled="other") == ["other", "text-only"]

"""What a lab answers of a teacher's labels, and training on several conversations a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import open_records, talk
from visift.engine.counting import CountingLab
from visift.engine.items import Items
from visift.engine.lab import Examples, Lab, LocalLab
from visift.errors import AnnotationNeeded, InputError
from visift.models.ref import ModelRef
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.pool.record import Turn
from visift.training.recipe import TINY

ROWS = np.array([2, 0])


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return open_records(tmp_path, [talk(f"question {n}?", "yes") for n in range(4)])


def lab_of(pool: Pool, folder: Path, kind: Any = LocalLab, **teacher: Any) -> Any:
    devices = {} if kind is CountingLab else {"devices": lambda: ("cpu",)}
    return kind(pool, folder / "cache", teacher=TeacherLabels(**teacher), **devices)


def said(*texts: str) -> tuple[Turn, ...]:
    roles = ("user", "assistant")
    return tuple(Turn(roles[n % 2], text) for n, text in enumerate(texts))  # type: ignore[arg-type]


def test_records_without_labels_are_asked_for(pool: Pool, tmp_path: Path) -> None:
    lab: Lab = lab_of(pool, tmp_path, scores={"ocr": {0: 3.0}}, styles={0: ("a",)})
    with pytest.raises(AnnotationNeeded, match="1 of 2 records want a teacher's labels") as need:
        lab.labels(ROWS, ["ocr"])
    assert need.value.rows == (2, 0)  # in the order wanted: whoever runs out of money has these
    assert (need.value.purpose, need.value.capabilities, need.value.styles) == (
        "labels",
        ("ocr",),
        True,
    )


def test_records_that_nobody_could_label_are_not_asked_for_again(
    pool: Pool, tmp_path: Path
) -> None:
    lab = lab_of(pool, tmp_path, scores={"ocr": {0: 3.0, 1: 5.0}}, failed={2: "no reply"})
    found = lab.labels(ROWS, ["ocr"], styles=False)
    assert found.rows.tolist() == [0]
    assert (found.scores["ocr"].tolist(), found.styles, found.known) == ([3.0], (), True)


def test_labels_handed_in_say_which_records_are_labelled(pool: Pool, tmp_path: Path) -> None:
    teacher = {"scores": {"ocr": {1: 2.0, 3: 4.0}}, "styles": {1: ("a",)}, "handed_in": True}
    teacher["named"] = frozenset({1, 3})
    for kind in (LocalLab, CountingLab):
        found = lab_of(pool, tmp_path, kind, **teacher).labels(ROWS, ["ocr"])
        assert found.rows.tolist() == [1, 3]
        assert found.styles == (("a",), ())
        with pytest.raises(InputError, match=r"--labels holds no score\.other"):
            lab_of(pool, tmp_path, kind, **teacher).labels(ROWS, ["other"])


def test_a_plan_counts_what_is_to_be_labelled(pool: Pool, tmp_path: Path) -> None:
    lab = lab_of(pool, tmp_path, CountingLab)
    found = lab.labels(ROWS, ["ocr"])
    assert (found.rows.tolist(), found.known, lab.unlabelled) == ([0, 2], False, 2)


def test_several_conversations_of_a_record_are_examples_of_their_own(
    pool: Pool, tmp_path: Path
) -> None:
    several = {0: (said("a?", "1"), said("b?", "2")), 2: (said("a?", "1"),)}
    examples = Examples(np.array([0, 2]), several=several)
    items = examples.items(pool)
    assert items.ids.tolist() == [0, 0, 2]
    assert len(set(items.keys())) == 3
    assert [one.record.turns for one in items.load(np.arange(3))] == [
        turns for some in several.values() for turns in some
    ]  # type: ignore[union-attr]
    single = Items.of(pool, "record", np.array([2]), {2: said("a?", "1")})
    assert next(single.keys()) == list(items.keys())[2]
    model = ModelRef("builtin:tiny")
    tuned = [lab_of(pool, tmp_path, kind).finetune(model, TINY, examples).model for kind in (
        LocalLab, CountingLab)]  # fmt: skip
    assert tuned[0] == tuned[1]
    assert tuned[0].count == 3


def test_files_of_labels_reach_the_lab(pool: Pool, tmp_path: Path) -> None:
    table = pa.table({"uid": pool.uids(ROWS), "score.ocr": [1, 2], "styles": [["a"], ["b"]]})
    pq.write_table(table, tmp_path / "labels.parquet")
    teacher = TeacherLabels.open(pool, [tmp_path / "labels.parquet"], handed_in=True)
    lab = LocalLab(pool, tmp_path / "cache", lambda: ("cpu",), teacher=teacher)
    assert lab.labels(np.arange(1), ["ocr"]).rows.tolist() == [0, 2]

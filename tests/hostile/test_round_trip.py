"""What LLaVA's own files do and no schema foresees comes out of a selection as it went in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import MIXED, REAL_IMAGES, needs_shared, put_images
from visift.export.llava import write_list
from visift.pool.pool import Pool
from visift.run import select

Records = list[dict[str, Any]]


def ids_shared(records: Records) -> bool:
    return Counter(str(r["id"]) for r in records).most_common(1)[0][1] >= 3


def turns(record: dict[str, Any]) -> list[dict[str, Any]]:
    return list(record["conversations"])


#: Each is in LLaVA-665K by report, see the pool's own description.
QUIRKS: list[tuple[str, Callable[[Records], bool]]] = [
    ("ids are text", lambda rs: any(type(r["id"]) is str for r in rs)),
    ("ids are numbers", lambda rs: any(type(r["id"]) is int for r in rs)),
    ("one id has several records", ids_shared),
    (
        "several questions on one image",
        lambda rs: any(len(turns(r)) > 2 and "image" in r for r in rs),
    ),
    ("several images", lambda rs: any(type(r.get("image")) is list for r in rs)),
    ("text alone, with a model", lambda rs: any("image" not in r and "model" in r for r in rs)),
    (
        "answers with white space around them",
        lambda rs: any(t["value"] != t["value"].strip() for r in rs for t in turns(r)),
    ),
    (
        "keys in a turn that nobody knows",
        lambda rs: any(set(t) - {"from", "value"} for r in rs for t in turns(r)),
    ),
]

#: The same in ten lines, with spellings of JSON that a parser would not give back.
SMALL = r"""[
 {
  "id": "000000033471",   "image": "coco/1.png",
  "conversations": [
   {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": " a caf\u00e9 \n"},
   {"value": "And\there?", "from": "human"}, {"from": "gpt", "value": "Caf\/é 😀 \ud83d\ude00"}
  ]
 },
 {"id": 2377, "image": ["coco/1.png", "gqa\/2.png"], "conversations": [{"from":"human","value":""
  }, {"from":"gpt","value":"1<image><image>","text":null,"markdown":{"answer":[1.0, 1e5, -0.0]}}]},
 {"id": 2377, "model": "gpt-4", "conversations":[{"from":"system","value":"x"},{"from":"gpt","value":"y"}]},
 {"id": 2377, "image": "gqa/2.png", "id2": 12345678901234567890123, "conversations":[
  {"from":"human","value":"same"},{"from":"gpt","value":"y"},{"from":"gpt","value":"y"}], "z": 1E400}
]
"""  # noqa: E501


def small(folder: Path) -> tuple[Path, Path]:
    put_images(folder / "images", ["coco/1.png", "gqa/2.png"])
    (folder / "pool.json").write_text(SMALL, encoding="utf-8")
    return folder / "pool.json", folder / "images"


def shared(folder: Path) -> tuple[Path, Path]:
    return MIXED, REAL_IMAGES


@pytest.mark.parametrize("given", [small, pytest.param(shared, marks=needs_shared)])
def test_every_quirk_survives_byte_for_byte(
    tmp_path: Path, given: Callable[[Path], tuple[Path, Path]]
) -> None:
    file, images = given(tmp_path)
    pool = Pool.open(file, image_folder=images)
    assert pool.faults == [None] * len(pool)
    records = json.loads(file.read_bytes())
    assert {name: there(records) for name, there in QUIRKS} == {name: True for name, _ in QUIRKS}
    write_list(pool, np.arange(len(pool)), tmp_path / "subset.json")
    again = Pool.open(tmp_path / "subset.json", image_folder=images)
    assert [again.raw(row) for row in range(len(again))] == [
        pool.raw(row) for row in range(len(pool))
    ]
    assert again.content_hashes() == pool.content_hashes()
    assert again.index.drop_columns(["file", "row"]) == pool.index.drop_columns(["file", "row"])
    assert json.loads((tmp_path / "subset.json").read_bytes()) == records


def test_a_whole_run_keeps_them_too(tmp_path: Path) -> None:
    file, images = small(tmp_path)
    run = select(file, image_folder=images, method="random", budget="100%", output=tmp_path / "out")
    written = (run.folder / "export" / "llava" / "subset.json").read_text(encoding="utf-8")
    pool = Pool.open(file, image_folder=images)
    assert written == "[\n" + ",\n".join(pool.raw(row).decode() for row in range(4)) + "\n]\n"

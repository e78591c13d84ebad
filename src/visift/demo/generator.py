"""Writes a demo pool to disk in LLaVA's format, with a table of what was planted where."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from visift.demo.plan import FULL_SIZE, Draft, plan_pool
from visift.demo.scenes import Picture, Rng
from visift.errors import InputError

SMALLEST = 200
INTEGER_ID_SHARE = 0.02
# One id in three hundred records belongs to them all, as a COCO image's id does in LLaVA's pool.
SHARED_ID_SHARE = 1 / 300


@dataclass(frozen=True, slots=True)
class DemoPool:
    """Where a pool was written, and how much of everything it holds."""

    pool: Path
    images: Path
    planted: Path
    records: int
    image_files: int
    tasks: dict[str, int]
    plants: dict[str, int]


def write_demo_pool(folder: Path, *, seed: int = 0, records: int = FULL_SIZE) -> DemoPool:
    """Write `pool.json`, `images/` and `planted.parquet`; one seed always gives one pool.

    Args:
        folder: Created if missing; files of an earlier pool are overwritten.
        seed: Another seed gives another pool of the same make-up.
        records: Between 200 and 6,000.

    Returns:
        The paths written and the counts per task and per planted kind.
    """
    if not SMALLEST <= records <= FULL_SIZE:
        raise InputError(
            f"A demo pool of {records:,} records cannot be made.",
            fix=f"Ask for {SMALLEST} to {FULL_SIZE:,} records.",
        )
    # A stream of its own: the order of records does not depend on how many draws the plan took.
    rng = np.random.default_rng([seed, 1])
    drafts = plan_pool(seed, records)
    order = [int(index) for index in rng.permutation(records)]
    ordered = [drafts[index] for index in order]
    ids = _ids(ordered, rng)
    files = _image_files(ordered)
    _write_images(folder / "images", files)
    _write_records(folder / "pool.json", ordered, ids, files)
    plants = _planted_rows(ordered, ids, order)
    _write_planted(folder / "planted.parquet", plants)
    return DemoPool(
        pool=folder / "pool.json",
        images=folder / "images",
        planted=folder / "planted.parquet",
        records=records,
        image_files=len(files),
        tasks=dict(Counter(draft.task.name for draft in ordered)),
        plants=dict(Counter(plant["kind"] for plant in plants)),
    )


def _ids(drafts: list[Draft], rng: Rng) -> list[str | int]:
    ids: list[str | int] = [f"{draft.task.source}-{row:06d}" for row, draft in enumerate(drafts)]
    shuffled = [int(row) for row in rng.permutation(len(drafts))]
    sharing = max(3, round(len(drafts) * SHARED_ID_SHARE))
    for row in shuffled[1:sharing]:
        ids[row] = ids[shuffled[0]]
    for row in shuffled[sharing : sharing + round(len(drafts) * INTEGER_ID_SHARE)]:
        ids[row] = row
    return ids


def _image_files(drafts: list[Draft]) -> dict[Picture, str]:
    """Name one file for every different picture, numbered by first use inside its source."""
    files: dict[Picture, str] = {}
    used: Counter[str] = Counter()
    for draft in drafts:
        for picture in draft.pictures:
            if picture not in files:
                used[draft.task.source] += 1
                files[picture] = f"{draft.task.source}/{used[draft.task.source]:06d}.png"
    return files


def _write_images(root: Path, files: dict[Picture, str]) -> None:
    for source in {name.partition("/")[0] for name in files.values()}:
        (root / source).mkdir(parents=True, exist_ok=True)
    for picture, name in files.items():
        Image.fromarray(picture.pixels()).save(root / name)


def _write_records(
    path: Path, drafts: list[Draft], ids: list[str | int], files: dict[Picture, str]
) -> None:
    records = [_record(draft, id_, files) for draft, id_ in zip(drafts, ids, strict=True)]
    path.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8", newline="\n")


def _record(draft: Draft, id_: str | int, files: dict[Picture, str]) -> dict[str, Any]:
    names = [files[picture] for picture in draft.pictures]
    # Text-only records have no key at all: LLaVA's loader tests for the key.
    image = {"image": names[0] if len(names) == 1 else names} if names else {}
    (question, answer), *rest = draft.turns
    turns = [
        {"from": role, "value": value}
        for turn in ((draft.layout.format(question=question), answer), *rest)
        for role, value in zip(("human", "gpt"), turn, strict=True)
    ]
    labels = {"task": draft.task.name, "source": draft.task.source}
    return {"id": id_, **image, "conversations": turns, **labels}


def _planted_rows(
    drafts: list[Draft], ids: list[str | int], order: list[int]
) -> list[dict[str, Any]]:
    row_of = {index: row for row, index in enumerate(order)}
    repeated = {id_ for id_, count in Counter(ids).items() if count > 1}
    plants = []
    for row, (draft, id_) in enumerate(zip(drafts, ids, strict=True)):
        found = []
        if draft.kind:
            of = "" if draft.origin is None else f"of row {row_of[draft.origin]}"
            found.append((draft.kind, of or draft.detail))
        if isinstance(id_, int):
            found.append(("integer-id", ""))
        if id_ in repeated:
            found.append(("duplicate-id", str(id_)))
        plants += [{"row": row, "id": str(id_), "kind": k, "detail": d} for k, d in found]
    return plants


def _write_planted(path: Path, plants: list[dict[str, Any]]) -> None:
    schema = pa.schema(
        [("row", pa.int64()), ("id", pa.string()), ("kind", pa.string()), ("detail", pa.string())]
    )
    pq.write_table(pa.Table.from_pylist(plants, schema=schema), path)

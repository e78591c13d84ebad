"""A demo pool with known faults, in which three of ten answers are wrong, and what to ask."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.demo.generator import write_demo_pool
from visift.demo.tasks import TASKS, wrong_answer
from visift.files import write_atomically
from visift.pool.pool import Pool
from visift.validate.splitting import HELD_OUT, Questions, hold_out, tasks_of

Rows = NDArray[np.int64]

#: Share of the records with images whose last answer is replaced, beside the demo's own faults.
WRONG = 0.3
HELD_SHARE = Fraction(1, 6)
#: Notes of `planted.parquet` that say nothing against a record.
_HARMLESS = ("integer-id", "duplicate-id", "rare-cluster")
#: Faults that teach something wrong; copies of other records do not.
_MISLEADING = ("wrong-answer", "uninformative")
_TEXT_ONLY = "text-only"


@dataclass(frozen=True, slots=True)
class Known:
    """A pool whose faults are known; only records with images count.

    Attributes:
        pool: what is trained on; held out and text-only records are set aside.
        questions: sound records that are held out.
        rows: what can be trained on.
        sound: those of `rows` without a fault.
        misleading: those of `rows` that teach something wrong.
        tasks: (N,) task of each row of the pool.
        shares: records of every task, those held out among them.
    """

    pool: Pool = field(repr=False)
    questions: Questions = field(repr=False)
    rows: Rows = field(repr=False)
    sound: Rows = field(repr=False)
    misleading: Rows = field(repr=False)
    tasks: NDArray[Any] = field(repr=False)
    shares: Mapping[str, int]

    @property
    def commonest(self) -> Rows:
        """Rows of the task with the most records."""
        task = Counter(self.tasks[self.rows].tolist()).most_common(1)[0][0]
        return np.asarray(self.rows[self.tasks[self.rows] == task], np.int64)


def known_pool(folder: Path, records: int, most: int) -> Known:
    """Make a pool in a folder, unless it is there, and hold questions out of it.

    Questions whose right answer is wrong would reward whoever learnt wrong answers, so records
    with a fault are held out, too, but not asked about.

    Args:
        folder: of the pool.
        records: of the demo pool.
        most: records a task that are held out at most.
    """
    faults = folder / "faults.json"
    if not faults.exists():
        write_demo_pool(folder, records=records)
        write_atomically(faults, json.dumps(_more_faults(folder)).encode())
    kinds = {int(row): kind for row, kind in json.loads(faults.read_bytes()).items()}
    whole = Pool.open(folder / "pool.json", image_folder=folder / "images", hash_images=True)
    held = hold_out(whole, HELD_SHARE, most, 0)
    shown = ~whole.text_only
    asked = held.rows[shown[held.rows] & ~np.isin(held.rows, list(kinds))]
    aside = dict.fromkeys(np.flatnonzero(~shown).tolist(), _TEXT_ONLY)
    aside |= dict.fromkeys(held.rows.tolist(), HELD_OUT)
    pool = whole.without(aside)
    rows = pool.rows("candidate")
    tasks = np.array(tasks_of(pool, np.arange(len(pool))), object)
    wrong = [row for row, kind in kinds.items() if kind in _MISLEADING]
    return Known(
        pool=pool,
        questions=Questions.of(whole, asked),
        rows=rows,
        sound=np.setdiff1d(rows, list(kinds)),
        misleading=np.intersect1d(rows, wrong),
        tasks=tasks,
        shares=Counter(tasks[np.flatnonzero(shown)].tolist()),
    )


def _more_faults(folder: Path) -> dict[int, str]:
    """Make a share of the answers wrong; return the fault of every record that has one."""
    path = folder / "pool.json"
    records = json.loads(path.read_bytes())
    planted = pq.read_table(folder / "planted.parquet", columns=["row", "kind"]).to_pylist()
    noted = {one["row"] for one in planted if one["kind"] == "rare-cluster"}
    kinds = {one["row"]: one["kind"] for one in planted if one["kind"] not in _HARMLESS}
    rng, tasks = np.random.default_rng(0), {task.name: task for task in TASKS}
    for row, record in enumerate(records):
        if "image" not in record or row in kinds or row in noted or rng.random() >= WRONG:
            continue
        question, answer = record["conversations"][-2:]
        said = question["value"].rpartition(">")[2].strip() or question["value"].partition("\n")[0]
        answer["value"] = wrong_answer(tasks[record["task"]], said, answer["value"], rng)
        kinds[row] = "wrong-answer"
    path.write_text(json.dumps(records), encoding="utf-8")
    return kinds

"""Records that want a conversation: the list that a run leaves, and what comes back of it.

    out/reference/to_annotate.jsonl   before anything is measured, where a method learns from some
    out/to_annotate.jsonl             the selection, in rank order

What was written for them is looked for beside each list, as `annotated.jsonl` (or `.json`), when
the same command is run again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted, short
from visift.annotate.money import Spending
from visift.annotate.plan import rough_estimate
from visift.annotate.prompts import Prompts
from visift.annotate.sheet import write_sheet
from visift.annotate.todo import ToAnnotate, read_todo, write_todo
from visift.files import disk_errors
from visift.pool.annotations import Annotations
from visift.pool.pool import Pool
from visift.pool.record import ImageRef

Rows = NDArray[np.int64]

LIST = "to_annotate.jsonl"
SHEET = "to_annotate.csv"
WRITTEN = ("annotated.jsonl", "annotated.json")
_PURPOSES = ("reference",)


def annotation_files(output: Path) -> list[Path]:
    """Return the files in which a run looks for conversations, whether they are there or not."""
    folders = [*(output / purpose for purpose in _PURPOSES), output]
    return [folder / name for folder in folders for name in WRITTEN]


def open_annotations(pool: Pool, output: Path) -> Annotations:
    """Return what was written for a run's lists; raises what `Annotations.open` raises."""
    return Annotations.open(pool, annotation_files(output))


def write_wanted(
    folder: Path, pool: Pool, rows: Sequence[int], reasons: Mapping[int, str] | None = None
) -> Path:
    """Write the list of some rows, in order, for `visift annotate` and as a sheet; return its path.

    Args:
        folder: made if it is not there.
        pool: what rows refer to.
        rows: in the order in which they are wanted.
        reasons: by row, why.

    Raises:
        StorageError: the folder cannot be written.
    """
    uids = pool.uids(np.array(rows, np.int64))
    why = reasons or {}
    items = [
        ToAnnotate(
            uid=uid,
            images=tuple(ref.path for ref in _images(pool, row)),
            content_key=pool.index["content_hash"][row].as_py().hex(),
            rank=rank,
            reason=why.get(row),
            task=pool.index["task"][row].as_py(),
            source=pool.index["source"][row].as_py(),
        )
        for rank, (row, uid) in enumerate(zip(rows, uids, strict=True), 1)
    ]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_todo(folder / LIST, items)
    write_sheet(folder / SHEET, items)
    return folder / LIST


def _images(pool: Pool, row: int) -> Sequence[ImageRef]:
    return pool.record(row).images


def annotate_command(todo: Path, pool: Pool) -> str:
    """Return the command that asks an endpoint for what a list wants."""
    root = str(pool.roots[0].path)
    asked = ["visift", "annotate", str(todo), "--image-folder", root]
    written = shlex.join([*asked, "-o", str(todo.parent / WRITTEN[0])])
    return f"{written} --endpoint URL --model NAME"


def what_it_takes(todo: Path) -> str:
    """Return about how many tokens an endpoint would take for a list, and who knows the money."""
    spending = Spending()
    tokens = rough_estimate(read_todo(todo), Prompts.read(), spending)
    return (
        f"about {short(tokens.sent)} tokens in and {short(tokens.received)} out "
        f"({spending.tokens_per_image:,} an image assumed); in money: --dry-run --price-in … "
        "--price-out …"
    )


def how_to_go_on(todo: Path, pool: Pool, count: int) -> str:
    """Return what to do with a list, line by line."""
    by_hand = todo.parent / WRITTEN[0]
    return "\n".join(
        [
            f"{counted(count, 'record')} in {todo}. Have them annotated, then run the same command "
            "again:",
            annotate_command(todo, pool),
            what_it_takes(todo),
            f"(or write {by_hand} yourself: one LLaVA record a line, with the image paths of the "
            "list)",
        ]
    )

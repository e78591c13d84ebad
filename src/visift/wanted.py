"""Records that want a conversation: the list that a run leaves, and what comes back of it.

    out/reference/to_annotate.jsonl   before anything is measured, where a method learns from some
    out/labels/to_annotate.jsonl      likewise, where a teacher is to rate them
    out/to_annotate.jsonl             the selection, in rank order

What was written for them is looked for beside each list, as `annotated.jsonl` (or `.json`), when
the same command is run again; a teacher's labels as `labels*.parquet`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted, short
from visift.annotate.capabilities import CAPABILITIES
from visift.annotate.money import Spending
from visift.annotate.plan import Work, rough_estimate
from visift.annotate.prompts import Prompts
from visift.annotate.sheet import write_sheet
from visift.annotate.taxonomy import Taxonomy
from visift.annotate.todo import ToAnnotate, read_todo, write_todo
from visift.errors import AnnotationNeeded
from visift.files import disk_errors
from visift.pool.annotations import Annotations
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool

Rows = NDArray[np.int64]

LIST = "to_annotate.jsonl"
SHEET = "to_annotate.csv"
WRITTEN = ("annotated.jsonl", "annotated.json")
_PURPOSES = ("reference",)

#: Purpose, and folder, of records that a teacher is to rate.
LABELS = "labels"
_RATINGS = "labels*.parquet"


def annotation_files(output: Path) -> list[Path]:
    """Return the files in which a run looks for conversations, whether they are there or not."""
    folders = [*(output / purpose for purpose in _PURPOSES), output]
    return [folder / name for folder in folders for name in WRITTEN]


def open_annotations(pool: Pool, output: Path) -> Annotations:
    """Return what was written for a run's lists; raises what `Annotations.open` raises."""
    return Annotations.open(pool, annotation_files(output))


def open_labels(pool: Pool, handed_in: Sequence[str], output: Path) -> TeacherLabels:
    """Return a teacher's labels: those handed in, else what lies beside a run's list.

    Raises:
        InputError: a file holds no labels of this pool.
    """
    if handed_in:
        return TeacherLabels.open(pool, [Path(file) for file in handed_in], handed_in=True)
    return TeacherLabels.open(pool, sorted((output / LABELS).glob(_RATINGS)))


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
    items = _items(pool, rows, reasons or {})
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_todo(folder / LIST, items)
    write_sheet(folder / SHEET, items)
    return folder / LIST


def write_unlabelled(folder: Path, pool: Pool, rows: Sequence[int]) -> Path:
    """Write the list of some rows that a teacher is to rate, conversations included.

    The arguments, and what is raised, are those of `write_wanted`.
    """
    items = [
        replace(item, conversations=pool.record(row).turns)
        for row, item in zip(rows, _items(pool, rows, {}), strict=True)
    ]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_todo(folder / LIST, items)
    return folder / LIST


def _items(pool: Pool, rows: Sequence[int], reasons: Mapping[int, str]) -> list[ToAnnotate]:
    """Return the lines of a list of some rows."""
    uids = pool.uids(np.array(rows, np.int64))
    return [
        ToAnnotate(
            uid=uid,
            images=tuple(ref.path for ref in pool.record(row).images),
            content_key=pool.index["content_hash"][row].as_py().hex(),
            rank=rank,
            reason=reasons.get(row),
            task=pool.index["task"][row].as_py(),
            source=pool.index["source"][row].as_py(),
        )
        for rank, (row, uid) in enumerate(zip(rows, uids, strict=True), 1)
    ]


def annotate_command(todo: Path, pool: Pool) -> str:
    """Return the command that asks an endpoint for what a list wants."""
    root = str(pool.roots[0].path)
    asked = ["visift", "annotate", str(todo), "--image-folder", root]
    written = shlex.join([*asked, "-o", str(todo.parent / WRITTEN[0])])
    return f"{written} --endpoint URL --model NAME"


def what_it_takes(todo: Path) -> str:
    """Return about how many tokens an endpoint would take for a list, and who knows the money."""
    return in_tokens(todo, Prompts.read())


def in_tokens(todo: Path, work: Work) -> str:
    """Return about how many tokens an endpoint would take for some work on a list."""
    spending = Spending()
    tokens = rough_estimate(read_todo(todo), work, spending)
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


def label_command(todo: Path, pool: Pool, need: AnnotationNeeded) -> str:
    """Return the command that asks an endpoint for the labels that a list wants.

    Whoever names styles rates in all capabilities at once; others get a file of their own.
    """
    asked = ["visift", "annotate", "--for", "mmssr", str(todo)]
    asked += ["--image-folder", str(pool.roots[0].path)]
    name = LABELS
    if not need.styles:
        more = len(need.capabilities) - 1
        name = f"{LABELS}-{need.capabilities[0]}" + (f"-and-{more}-more" if more else "")
        asked += ["--only", ",".join(need.capabilities)]
    strange = [key for key in need.capabilities if key not in CAPABILITIES]
    if strange:
        asked += ["--prompt", f"A-FILE-WITH-{strange[0]}.yaml"]
    written = shlex.join([*asked, "-o", str(todo.parent / f"{name}.parquet")])
    return f"{written} --endpoint URL --model NAME"


def how_to_label(todo: Path, pool: Pool, need: AnnotationNeeded) -> str:
    """Return what to do with a list of records that a teacher is to rate, line by line."""
    return "\n".join(
        [
            f"{counted(len(need.rows), 'record')} in {todo}. Have them rated, then run the same "
            "command again:",
            label_command(todo, pool, need),
            in_tokens(todo, Taxonomy.read()),
            "(labelled already, for another output or elsewhere: --labels FILE; numbers for every "
            "record: --signals FILE)",
        ]
    )

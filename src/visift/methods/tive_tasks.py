"""Which rows take part in TIVE, and in what order their tasks stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError, did_you_mean
from visift.methods.grouping import Labelled, label_groups
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]


def offered(
    pool: Pool, drop_text: bool, exclude: str, by_default: Sequence[str], unlabelled: str | None
) -> tuple[IntArray, dict[int, str]]:
    """Return the rows that take part, and by row why the other candidates do not.

    Args:
        pool: what rows refer to.
        drop_text: whether rows without an image are left out.
        exclude: tasks that are left out, a comma between; `auto` for `by_default`.
        by_default: these need not be there.
        unlabelled: see `label_groups`.

    Raises:
        InputError: nothing is left, or there is no such task.
    """
    rows = pool.rows("candidate")
    gone = pool.text_only[rows] & drop_text
    status = dict.fromkeys(rows[gone].tolist(), "text-only: dropped")
    rows = rows[~gone]
    tasks = label_groups(pool, rows, "task", unlabelled)
    out = by_default if exclude == "auto" else _named(exclude, tasks.labels)
    names = np.array(tasks.labels, object)[tasks.of]
    gone = np.isin(tasks.of, [t for t, label in enumerate(tasks.labels) if label in out])
    pairs = zip(rows[gone].tolist(), names[gone].tolist(), strict=True)
    status |= {row: f"excluded task: {name}" for row, name in pairs}
    if gone.all():
        raise InputError(
            "no record is left to choose from.", fix="Look at exclude_tasks and text_only."
        )
    return rows[~gone], status


def _named(exclude: str, labels: Sequence[str]) -> list[str]:
    names = [name.strip() for name in exclude.split(",") if name.strip() not in ("", "none")]
    for name in names:
        if name not in labels:
            raise InputError(
                f'--set exclude_tasks: there is no task "{name}".{did_you_mean(name, labels)}'
            )
    return names


def task_labels(
    pool: Pool, rows: IntArray, unlabelled: str | None, *, first_seen: bool
) -> Labelled:
    """Return the task of each row.

    Args:
        pool: what rows refer to.
        rows: (n,) rows.
        unlabelled: see `label_groups`.
        first_seen: whether tasks stand in the order of their first rows instead of their names'.
    """
    tasks = label_groups(pool, rows, "task", unlabelled)
    if not first_seen:
        return tasks
    first = np.full(len(tasks.labels), len(pool))
    np.minimum.at(first, tasks.of, rows)
    order = np.argsort(first, kind="stable")
    return Labelled(tuple(tasks.labels[t] for t in order), np.argsort(order)[tasks.of])

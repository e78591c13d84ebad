"""What PreSel says of its choice: a reason a row, and the shares of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.methods.entrants import Entrants
from visift.methods.grouping import Labelled
from visift.methods.typicality import Typical
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]


def reason_of(
    typical: Typical, labels: Sequence[str], s: Float, w: Float, found: Entrants
) -> Callable[[int, int], str]:
    """Return what says why a row is in.

    Args:
        typical: the clusters of every task.
        labels: (T,) the tasks.
        s: (T,) their scores.
        w: (T,) their shares, on any scale.
        found: the rows in their cells.
    """
    share = w / w.sum()
    task = np.repeat(np.arange(len(labels)), [len(cells.names) for cells in typical.cells])
    NC, names = typical.nc[found.rows], found.labels.labels

    def reason(at: int, group: int) -> str:
        if not np.isfinite(NC[at]):
            return "drawn at random from the text-only records"
        t = int(task[group])
        return (
            f"typical of {names[group]} (similarity to its neighbours {NC[at]:.3g}); "
            f"{labels[t]} has {share[t]:.1%} of the rest by its relevance score {s[t]:.3g}"
        )

    return reason


def presel_facts(
    pool: Pool,
    choice: Choice,
    tasks: Labelled,
    rows: IntArray,
    reference: IntArray,
    score: Float,
    s: Float,
    w: Float,
    typical: Typical,
) -> dict[str, Any]:
    """Return what the report shows: the direction of NC, and the shares of the tasks.

    Args:
        pool: what rows refer to.
        choice: what was chosen.
        tasks: the task of each of `rows`.
        rows: all rows with images.
        reference: those of the reference.
        score: IRS of each of these.
        s: (T,) task scores.
        w: (T,) shares, on any scale.
        typical: the clusters of every task.
    """
    count = len(tasks.labels)
    of = np.full(len(pool), -1)
    of[rows] = tasks.of
    chosen = of[choice.rows]
    size = np.bincount(tasks.of, minlength=count)
    seen = np.bincount(of[reference], minlength=count)
    taken = np.bincount(chosen[chosen >= 0], minlength=count)
    lines = []
    for t, label in enumerate(tasks.labels):
        mine = score[of[reference] == t]
        mine = mine[np.isfinite(mine)]
        error = f"{mine.std(ddof=1) / np.sqrt(len(mine)):.2g}" if len(mine) > 1 else ""
        lines.append(
            [
                label,
                f"{size[t]:,}",
                f"{seen[t]:,}",
                f"{mine.mean():.3g}" if len(mine) else "none",
                error,
                f"{s[t]:.3g}",
                f"{w[t] / w.sum():.1%}",
                f"{taken[t]:,}",
                f"{taken[t] / max(len(choice.rows), 1):.1%}",
                f"{len(typical.cells[t].names):,}",
            ]
        )
    columns = ["task", "records", "reference", "IRS, mean", "its standard error", "s(t)", "weight"]
    lost = int((~np.isfinite(score)).sum())
    return {
        "direction": "highest first",
        "score": "NC: mean cosine to the nearest neighbours in the cluster",
        "reference_rows": len(reference),
        "reference_rows_without_score": lost,
        "tables": [
            {
                "title": "Tasks: low scores mean that the question matters, and get more",
                "columns": [*columns, "chosen", "of all chosen", "clusters"],
                "rows": lines,
            }
        ],
    }

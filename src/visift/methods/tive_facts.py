"""What TIVE says of its choice: a reason a row, the shares of the tasks, and when to doubt them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.methods.tables import few
from visift.methods.tive_order import Judged
from visift.selection import Choice

Float = NDArray[np.float64]

#: A draw with more effective rows is uniform for all it matters, with fewer it is a ranking [ours].
UNIFORM, SHARP = 0.99, 0.05


def reason_of(judged: Judged) -> Callable[[int, int], str]:
    """Return what says why a row is in."""
    sizes = np.bincount(judged.found.group, minlength=len(judged.a))
    labels = judged.found.labels.labels

    def reason(at: int, task: int) -> str:
        return (
            f"drawn from {sizes[task]:,} {labels[task]} records (value {judged.v[at]:.3g}); "
            f"{labels[task]} has {judged.weights[task]:.1%} of the budget by its gradients "
            f"({judged.a[task]:.3g})"
        )

    return reason


def tive_facts(judged: Judged, choice: Choice, stat: str) -> dict[str, Any]:
    """Return what the report shows: what v is, and a line a task.

    Args:
        judged: what was found out.
        choice: what was chosen, rows that come twice included.
        stat: `cosine` or `dot`.
    """
    word = "cosine to" if stat == "cosine" else "dot product with"
    return {
        "direction": "drawn",
        "score": f"v: mean {word} the gradients of the task",
        "warmup_rows": int(judged.warmup.sum()),
        "tables": [
            {
                "title": "Tasks: those with larger gradients get more",
                "columns": [
                    *("task", "records", "warm-up", "gradient norm, mean", "a(t)", "share"),
                    *("chosen", "of all chosen", "v, median", "v of the chosen, median"),
                    *("q", "effective rows"),
                ],
                "rows": _lines(judged, choice),
            }
        ],
    }


def _lines(judged: Judged, choice: Choice) -> list[list[str]]:
    found, total = judged.found, max(len(choice.rows), 1)
    chosen = np.zeros(len(choice.score), np.int64)
    np.add.at(chosen, choice.rows, 1)
    times = chosen[found.rows]
    names = np.array(choice.group, object)[choice.rows]
    lines = []
    for t, label in enumerate(found.labels.labels):
        mine = found.group == t
        count = int((names == label).sum())
        heat = judged.heat[t]
        lines.append(
            [
                label,
                f"{int(mine.sum()):,}",
                f"{judged.warmup[t]:,}",
                _number(judged.norm[mine], np.mean),
                f"{judged.a[t]:.3g}" if mine.any() else "none",
                f"{judged.weights[t]:.1%}",
                f"{count:,}",
                f"{count / total:.1%}",
                _number(judged.v[mine], np.median),
                _number(judged.v[mine & (times > 0)], np.median),
                f"{heat.q:.4g}",
                f"{heat.share:.1%}",
            ]
        )
    return lines


def _number(values: Float, of: Callable[[Float], Any]) -> str:
    return f"{of(values):.3g}" if len(values) else "none"


def heat_notices(judged: Judged, target: float | None) -> list[str]:
    """Return a sentence for every way in which a draw is not what it seems.

    Args:
        judged: what was found out.
        target: share of effective rows that was asked for; None where q was given.
    """
    labels = judged.found.labels.labels
    sizes = np.bincount(judged.found.group, minlength=len(labels))
    several = [t for t in range(len(labels)) if sizes[t] > 1]
    heat = judged.heat

    def named(some: Sequence[int]) -> str:
        return few([labels[t] for t in some])

    said = []
    missed = [t for t in several if target is not None and not heat[t].reached]
    uniform = [t for t in several if t not in missed and heat[t].share > UNIFORM]
    if missed:
        said.append(
            f"Values of {named(missed)} are equal, or too many are: no temperature gives "
            f"{target:.0%} effective rows there."
        )
    if uniform:
        said.append(
            f"The draw inside {named(uniform)} is all but uniform ({UNIFORM:.0%} effective rows or "
            "more): values of records play no part, the result is that of the mixture alone."
        )
    sharp = [t for t in several if heat[t].share < SHARP]
    if sharp:
        said.append(
            f"The draw inside {named(sharp)} is all but a ranking (fewer than {SHARP:.0%} "
            "effective rows): the same few records come whatever the seed."
        )
    return said

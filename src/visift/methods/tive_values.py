"""TIVE's equations (arXiv 2403.09559, as in its program): values of tasks and of rows, and weights.

Rows of one task are compared through the mean of their gradients, which gives what the mean over
all pairs gives: two passes over the gradients, and one vector a task in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError
from visift.numerics.allocate import allocate, power
from visift.numerics.groups import as_fraction
from visift.numerics.sums import group_sums, row_values

Float = NDArray[np.float64]
IntArray = NDArray[np.int64]
#: Gives the gradients of all rows from the first on, each time it is called.
Blocks = Callable[[], Iterable[NDArray[Any]]]

TaskStat = Literal["mean_norm", "mean_sq_norm"]

#: Values smaller than this, beside lengths of 1, are what is left of sums that cancel out.
ZERO = 1e-12
#: Least effective rows are this much above the rows of the largest value, which only an infinite
#: temperature reaches.
_ABOVE = 1e-6
_HALVINGS = 100


def task_values(norm: Float, of: IntArray, tasks: int, stat: TaskStat = "mean_norm") -> Float:
    """Return (T,) a(t): the mean of |g_s| over the rows of a task, or of its square.

    Summed exactly, so that they do not depend on the machine; NaN for a task without rows.

    Args:
        norm: (N,) |g_s| of each row.
        of: (N,) its task.
        tasks: T.
        stat: which mean.

    Raises:
        InputError: all gradients are zero, or a norm is negative.
    """
    if len(norm) and (norm.min() < 0 or not norm.any()):
        raise InputError(
            "gradient norms are negative, or all of them are zero.",
            fix="Check the model, or the column grad_norm of --signals.",
        )
    size = norm * norm if stat == "mean_sq_norm" else norm
    found = [size[of == t].tolist() for t in range(tasks)]
    return np.array([math.fsum(some) / len(some) if some else math.nan for some in found])


def task_weights(a: Float, sizes: IntArray, size_power: float = 0.0) -> list[Fraction]:
    """Return (T,) what shares a budget: a(t) n_t^size_power; 0 for a task without rows.

    Args:
        a: (T,) values of the tasks.
        sizes: (T,) their rows.
        size_power: 0 leaves sizes out, as published.
    """
    by_size = power(sizes.tolist(), size_power)
    return [
        as_fraction(t, value) * size if math.isfinite(value) else Fraction(0)
        for t, (value, size) in enumerate(zip(a.tolist(), by_size, strict=True))
    ]


def instance_values(blocks: Blocks, of: IntArray, tasks: int, norm: Float | None = None) -> Float:
    """Return (N,) v_s: the mean over the rows of its task of the cosine between gradients.

    v_s = z_s . m_t, m_t the mean of z over the task, z_s = g_s/|g_s|; the row itself counts. A
    gradient of zero has the value 0.

    Args:
        blocks: the gradients of the N rows, of any length each.
        of: (N,) task of each row.
        tasks: T.
        norm: (N,) |g_s|, where the mean dot product is wanted: z_s = g_s then.
    """

    def directions(rows: IntArray, F: Float) -> Float:
        lengths = np.sqrt(np.vecdot(F, F))[:, None]
        np.divide(F, lengths, out=F, where=lengths > 0)
        return F if norm is None else np.multiply(F, norm[rows, None], out=F)

    sizes = np.bincount(of, minlength=tasks)
    sums = group_sums(blocks(), of, tasks, lambda t, rows, F: directions(rows, F).sum(axis=0))
    m = sums / np.maximum(sizes, 1)[:, None]
    v = row_values(blocks(), of, lambda t, rows, F: directions(rows, F) @ m[t])
    scale = 1.0 if norm is None else float(np.mean(norm)) ** 2
    v[np.abs(v) <= ZERO * scale] = 0.0
    return v


def softmax(v: Float, q: float) -> Float:
    """Return (n,) w_s, proportional to exp(q v_s), summing to 1."""
    w = np.exp(q * (v - v.max())) if len(v) else v
    return np.asarray(w / w.sum())


def effective(w: Float) -> float:
    """Return ESS = 1/sum w^2, the effective number of rows under weights that sum to 1."""
    return float(1.0 / np.square(w).sum()) if len(w) else 0.0


@dataclass(frozen=True, slots=True)
class Temperature:
    """How sharply the rows of one task are drawn.

    Attributes:
        q: their weights are exp(q v).
        share: effective number of rows under these weights, as a share of all.
        reached: whether that is the share that was asked for.
    """

    q: float
    share: float
    reached: bool = True

    @classmethod
    def at(cls, v: Float, q: float) -> Temperature:
        """Return what a given q does to the n values of a task."""
        return cls(q, effective(softmax(v, q)) / max(len(v), 1))

    @classmethod
    def solved(cls, v: Float, target: float) -> Temperature:
        """Return the q under which the effective number of rows is `target` of all, by bisection.

        It falls as q grows, down to the number of rows that share the largest value. Where that is
        more than was asked for, q is the one that comes close to it; where all values are equal,
        no q does anything, and it is 0.

        Args:
            v: (n,) values.
            target: of the effective number of rows, as a share of n; above 0, at most 1.
        """
        if not len(v) or v.min() == v.max():
            return cls(0.0, 1.0, reached=target >= 1.0)
        least = int((v == v.max()).sum())
        goal = max(target * len(v), least * (1 + _ABOVE))
        low, high = 0.0, 1.0 / float(v.max() - v.min())
        while effective(softmax(v, high)) > goal:
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = effective(softmax(v, middle)) > goal
            low, high = (middle, high) if above else (low, middle)
        q = 0.0 if target >= 1.0 else (low + high) / 2
        share = effective(softmax(v, q)) / len(v)
        return cls(q, share, reached=target * len(v) >= least * (1 + _ABOVE))


def warmup_rows(sizes: Sequence[int] | IntArray, ratio: float) -> IntArray:
    """Return (T,) rows of each task that the reference model learns from.

    floor(N r / M) of every task; what small tasks cannot give is shared among the others, and
    every task gives at least one row [ours].

    Args:
        sizes: (M,) rows of each task, all above 0; N is their sum.
        ratio: r, above 0.
    """
    tasks = len(sizes)
    total = int(np.sum(sizes))
    each = max(int(Fraction(repr(ratio)) * total / tasks), 1)
    return allocate(min(each * tasks, total), [1] * tasks, sizes)

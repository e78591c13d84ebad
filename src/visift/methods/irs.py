"""Task importance, the equations of PreSel (arXiv 2503.07591): which tasks need their questions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: Losses without the question that are smaller make no ratio [ours].
SMALLEST_LOSS = 1e-6


def irs(loss_q: Float, loss_noq: Float) -> Float:
    """Return the Instruction Relevance Score of each row, eq. (3): loss_q / loss_noq.

    Low where the question is needed to produce the answer. NaN where it is not defined: a loss
    that is not finite, or next to none without the question (ours: the program divides).

    Args:
        loss_q: (n,) token-mean loss of the answers given image and questions.
        loss_noq: (n,) the same given the image only.
    """
    fine = np.isfinite(loss_q) & np.isfinite(loss_noq) & (loss_noq > SMALLEST_LOSS)
    out = np.full(loss_q.shape, np.nan)
    return np.asarray(np.divide(loss_q, loss_noq, out=out, where=fine))


def task_scores(score: Float, task: IntArray, tasks: int, kappa: float) -> Float:
    """Return s(t), eq. (4), the mean score of each task, drawn towards the mean of all rows.

    s_t = (n_t mean_t + kappa mean_all) / (n_t + kappa): with kappa = 0 the plain mean of the paper;
    a task without rows of its own has the mean of all.

    Args:
        score: (n,) IRS; rows with NaN do not count.
        task: (n,) task of each.
        tasks: T.
        kappa: rows that the mean of all weighs as much as [ours].
    """
    fine = np.isfinite(score)
    count = np.bincount(task[fine], minlength=tasks)
    total = np.bincount(task[fine], score[fine], minlength=tasks)
    everywhere = float(score[fine].mean()) if fine.any() else math.nan
    weight = count + kappa
    out = np.full(tasks, everywhere)
    return np.asarray(np.divide(total + kappa * everywhere, weight, out=out, where=weight > 0))


def task_weights(s: Float, tau: float | None = None) -> Float:
    """Return w(t), eq. (5): exp(-s(t)/tau) over their sum.

    Args:
        s: (T,) task scores.
        tau: temperature; None for 1/sqrt(T) as published.
    """
    tau = 1 / math.sqrt(len(s)) if tau is None else tau
    raised = np.exp(-(s - s.min()) / tau)
    return np.asarray(raised / raised.sum())

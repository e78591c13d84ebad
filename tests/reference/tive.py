"""TIVE's instance value as printed (arXiv 2403.09559): all pairs of rows of a task, O(N^2 d)."""

from __future__ import annotations

import numpy as np


def instance_values(g, task, stat="cosine", self_included=True):
    """Return v_s = mean over the rows s' of the task of s of the cosine between g_s and g_s'.

    Args:
        g: (N, d) gradients, of any float type.
        task: (N,) task of each row.
        stat: `cosine`, or `dot` for plain products.
        self_included: whether s' = s counts, as in the authors' program.

    Returns:
        (N,) float64; a task of one row without itself has 0.
    """
    g, task = np.asarray(g, np.float64), np.asarray(task)
    length = np.linalg.norm(g, axis=1, keepdims=True)
    z = np.divide(g, length, out=np.zeros_like(g), where=length > 0) if stat == "cosine" else g
    v = np.zeros(len(g))
    for t in np.unique(task):
        mine = np.flatnonzero(task == t)
        pairs = z[mine] @ z[mine].T
        count = len(mine)
        if not self_included:
            pairs[np.arange(count), np.arange(count)] = 0.0
            count = max(count - 1, 1)
        v[mine] = pairs.sum(axis=1) / count
    return v

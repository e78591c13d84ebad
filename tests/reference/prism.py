"""PRISM's redundancy as printed (arXiv 2502.12119): the mean cosine over all pairs, O(N^2 d)."""

from __future__ import annotations

import numpy as np

ZERO = 1e-9
ROWS_AT_ONCE = 1000


def redundancy(F, group=None, center="corpus", centre_group=None):
    """Return R_i = 1/(N-1) sum over j != i of z_i . z_j, j in the group of i.

    Args:
        F: (M, d) features, of any float type.
        group: (M,) group an item is scored in; by default all items are one group.
        center: `corpus` (the mean over the items of the same centre group), `row` (the mean of the
            vector itself), or `none`.
        centre_group: (M,) groups the corpus mean is taken over; `group` by default.

    Returns:
        (M,) float64.
    """
    F = np.asarray(F, np.float64)
    group = np.zeros(len(F), int) if group is None else np.asarray(group)
    c = centres(F, center, group if centre_group is None else np.asarray(centre_group))
    z = unit_vectors(F, c)
    R = np.zeros(len(F))
    for g in np.unique(group):
        R[group == g] = mean_of_the_others(z[group == g])
    return R


def centres(F, center, centre_group):
    """Return (M, d): c_i for every item."""
    if center == "none":
        return np.zeros_like(F)
    if center == "row":
        return np.repeat(F.mean(axis=1, keepdims=True), F.shape[1], axis=1)
    c = np.empty_like(F)
    for g in np.unique(centre_group):
        c[centre_group == g] = F[centre_group == g].mean(axis=0)
    return c


def unit_vectors(F, c):
    """Return (M, d): z_i = (F_i - c_i)/|F_i - c_i|, zero where that length is rounding noise."""
    length = np.linalg.norm(F - c, axis=1)
    scale = np.maximum(np.linalg.norm(F, axis=1), np.linalg.norm(c, axis=1))
    z = np.zeros_like(F)
    kept = length > ZERO * scale
    z[kept] = (F - c)[kept] / length[kept, None]
    return z


def mean_of_the_others(z):
    """Return (N,): the mean of z_i . z_j over all j but i; 0 for a vector alone."""
    total = np.zeros(len(z))
    for start in range(0, len(z), ROWS_AT_ONCE):
        some = np.arange(start, min(start + ROWS_AT_ONCE, len(z)))
        cosines = z[some] @ z.T
        cosines[some - start, some] = 0.0  # j = i does not count
        total[some] = cosines.sum(axis=1)
    return total / max(len(z) - 1, 1)

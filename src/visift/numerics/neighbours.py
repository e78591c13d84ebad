"""Nearest neighbours among unit vectors, exact and in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Float = NDArray[np.float64]

BLOCK_ROWS = 1024
#: Squared distances below this are rounding noise: such vectors are the same.
_SAME = 1e-12


def unit_rows(features: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows divided by their lengths, float32; a row of zeros stays one.

    Args:
        features: (n, d) of any numbers, finite.
    """
    out = np.empty(features.shape, np.float32)
    for start in range(0, len(features), BLOCK_ROWS):
        block = features[start : start + BLOCK_ROWS].astype(np.float64)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        out[start : start + BLOCK_ROWS] = block / np.where(lengths > 0, lengths, 1.0)
    return out


def mean_nearest(unit: NDArray[Any], k: int) -> Float:
    """Return (n,) float64, the mean cosine of each row to its k nearest others.

    PreSel's NC (arXiv 2503.07591, eq. 7). With fewer than k others, the mean over all of them; 0
    for a row without any [ours].

    Args:
        unit: (n, d) unit vectors.
        k: at least 1.
    """
    return _over_nearest(unit, k, lambda cosines: cosines, alone=0.0)


def mean_distance(unit: NDArray[Any], k: int) -> Float:
    """Return (n,) float64, the mean Euclidean distance of each row to its k nearest others.

    Infinity for a row without any [ours].

    Args:
        unit: (n, d) unit vectors.
        k: at least 1.
    """
    return _over_nearest(unit, k, _distances, alone=np.inf)


def _distances(cosines: Float) -> Float:
    squared = 2.0 - 2.0 * cosines
    return np.asarray(np.sqrt(np.where(squared < _SAME, 0.0, squared)))


def _over_nearest(
    unit: NDArray[Any], k: int, value: Callable[[Float], Float], alone: float
) -> Float:
    """Return the mean of `value` of the k largest cosines of each row to others."""
    count = min(k, len(unit) - 1)
    out = np.full(len(unit), alone)
    if count < 1:
        return out
    for start, cosines in _cosines(unit):
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        nearest = np.partition(cosines, -count, axis=1)[:, -count:]
        nearest.sort(axis=1)  # so that the sum does not depend on how they were found
        out[start : start + len(cosines)] = value(nearest).mean(axis=1)
    return out


def _cosines(unit: NDArray[Any]) -> Iterator[tuple[int, Float]]:
    """Yield (number of the first row, (b, n) cosines of b rows to all)."""
    every = unit.astype(np.float64)
    # In float32 lengths are 1 up to 1e-7, which would be a distance between copies.
    lengths = np.linalg.norm(every, axis=1, keepdims=True)
    every /= np.where(lengths > 0, lengths, 1.0)
    with threadpool_limits(1, user_api="blas"):
        for start in range(0, len(every), BLOCK_ROWS):
            yield start, every[start : start + BLOCK_ROWS] @ every.T

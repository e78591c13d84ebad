"""k-means in every group by itself: seeded, and the same labels whatever the threads.

Lloyd's algorithm of scikit-learn with one start (k-means++) on one thread a group, groups side by
side. A group that is large is read in blocks, several times, by its mini-batch form. Rows come in
an order that the caller fixes (by tie key, so that the order of the pool does not matter), and
clusters are numbered by their first row. On another CPU last bits may differ, and with them labels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

IntArray = NDArray[np.int64]
#: Gives the features of some rows, (n, d).
Read = Callable[[IntArray], NDArray[Any]]

#: Groups of more rows are clustered in mini-batches [ours]: Lloyd's time grows with their square
#: where clusters grow with rows, and they need not fit into memory.
MINIBATCH_ABOVE = 50_000
#: Rows of a mini-batch; at least this many a cluster, too, because the first one seeds them all.
_BATCH_ROWS, _BATCH_ROWS_PER_CLUSTER = 8192, 3
#: How often mini-batches go through all rows [ours].
_PASSES = 5


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of n rows; none is empty.

    Attributes:
        of: (n,) cluster of each row, numbered by first appearance.
        centres: (K, d) float32.
    """

    of: IntArray
    centres: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.centres)


def kmeans(features: NDArray[Any], count: int, seed: int = 0) -> Clusters:
    """Return the clusters of one group, see `kmeans_by_group`.

    Args:
        features: (n, d).
        count: of clusters.
        seed: of the first centres.
    """
    (found,) = kmeans_by_group(
        lambda rows: features[rows], [np.arange(len(features))], [count], seed
    )
    return found


def kmeans_by_group(
    read: Read,
    groups: Sequence[IntArray],
    counts: Sequence[int],
    seed: int = 0,
    *,
    minibatch_above: int = MINIBATCH_ABOVE,
    threads: int | None = None,
) -> list[Clusters]:
    """Cluster the rows of every group.

    Memory holds the features of one group a thread, twice, in float32; of groups above
    `minibatch_above`, a batch of rows and the centres.

    Args:
        read: called in several threads; gives the features of rows of a group, finite.
        groups: the rows of each, none empty, in an order that does not depend on the pool's.
        counts: clusters of each. A group with no more rows has one cluster a row; one with no
            more *distinct* rows has one for each of these.
        seed: of the first centres, the same for every group.
        minibatch_above: rows from which a group is clustered in mini-batches.
        threads: groups worked on at a time; by default one a core. No label depends on it.

    Returns:
        The clusters of each group.
    """
    from sklearn.exceptions import ConvergenceWarning

    def work(g: int) -> Clusters:
        # Limits of OpenMP hold for the thread that sets them.
        with threadpool_limits(1, user_api="openmp"):
            return _cluster(read, groups[g], counts[g], seed, minibatch_above)

    largest_first = sorted(range(len(groups)), key=lambda g: (-len(groups[g]), g))
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        # Fewer distinct rows than clusters: those without rows are dropped below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        with ThreadPoolExecutor(threads or _cores()) as pool:
            found = dict(zip(largest_first, pool.map(work, largest_first), strict=True))
    return [found[g] for g in range(len(groups))]


def _cluster(read: Read, rows: IntArray, count: int, seed: int, minibatch_above: int) -> Clusters:
    if count <= 1:
        return _one_cluster(read, rows)
    if len(rows) > minibatch_above and count < len(rows):
        return _in_batches(read, rows, count, seed)
    X = np.array(read(rows), dtype=np.float32, order="C")
    if count >= len(rows):
        return Clusters(np.arange(len(rows)), X)
    of = _distinct(X)
    if of.max() < count:
        return Clusters(of, X[np.unique(of, return_index=True)[1]])
    from sklearn.cluster import KMeans

    # X is a copy, so that it may be centred in place.
    model = KMeans(count, n_init=1, random_state=seed, algorithm="lloyd", copy_x=False).fit(X)
    return _numbered(model.labels_, model.cluster_centers_)


def _one_cluster(read: Read, rows: IntArray) -> Clusters:
    sums = [batch.sum(axis=0, dtype=np.float64) for batch in _batches(read, rows, _BATCH_ROWS)]
    mean = np.sum(sums, axis=0)[None] / len(rows)
    return Clusters(np.zeros(len(rows), np.int64), mean.astype(np.float32))


def _in_batches(read: Read, rows: IntArray, count: int, seed: int) -> Clusters:
    """Cluster a group that is read in blocks; rows in key order are as good as shuffled."""
    from sklearn.cluster import MiniBatchKMeans

    size = max(_BATCH_ROWS, _BATCH_ROWS_PER_CLUSTER * count)
    model = MiniBatchKMeans(count, n_init=1, random_state=seed, batch_size=size)
    for _ in range(_PASSES):
        for batch in _batches(read, rows, size):
            model.partial_fit(batch)
    labels = np.concatenate([model.predict(batch) for batch in _batches(read, rows, size)])
    return _numbered(labels, model.cluster_centers_)


def _batches(read: Read, rows: IntArray, size: int) -> Iterator[NDArray[np.float32]]:
    """Yield the features of rows in nearly equal batches of at most `size` rows, none small."""
    for part in np.array_split(rows, -(-len(rows) // size)):
        yield np.ascontiguousarray(read(part), dtype=np.float32)


def _distinct(X: NDArray[np.float32]) -> IntArray:
    """Return (n,) numbers that are equal where rows are, by first appearance."""
    whole = np.ascontiguousarray(X + np.float32(0)).view(np.dtype((np.void, X.strides[0])))
    _, first, inverse = np.unique(whole.ravel(), return_index=True, return_inverse=True)
    return _by_first(first)[inverse]


def _numbered(labels: NDArray[Any], centres: NDArray[np.float32]) -> Clusters:
    """Number clusters by their first row; those without rows are gone."""
    used, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    number = _by_first(first)
    return Clusters(number[inverse], centres[used[np.argsort(first)]])


def _by_first(first: NDArray[Any]) -> IntArray:
    """Return (K,) the place of each entry among all, by where it appears first."""
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

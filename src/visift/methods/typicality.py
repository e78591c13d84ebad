"""Typical images of every cluster of every task: PreSel's choice inside tasks (eqs. 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visift.engine.measured import Measured
from visift.methods.cells import Cells
from visift.methods.grouping import Labelled
from visift.numerics.cluster import Read, kmeans_by_group
from visift.numerics.neighbours import mean_nearest, unit_rows
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.signals.embeddings import EMBEDDING

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: Reads features, and gives the cluster of every row of every group.
Clustering = Callable[[Read, Sequence[IntArray], Sequence[int]], Sequence[IntArray]]


@dataclass(frozen=True, slots=True)
class Typical:
    """The clusters of every task, and how typical rows are of theirs.

    Attributes:
        cells: of each task; the rows that can be chosen, by cluster.
        nc: (N,) NC of each of these rows, NaN elsewhere.
        full: of each task, (C,) all rows of each cluster, those that cannot be chosen included.
    """

    cells: tuple[Cells, ...]
    nc: Float
    full: tuple[IntArray, ...]

    def order(self, keys: NDArray[np.uint64], digits: int) -> NDArray[np.uint64]:
        """Return (N,) the order of rows inside a cluster: highest NC first, then by tie key."""
        rank = np.empty(len(self.nc), np.uint64)
        level = -significant(np.nan_to_num(self.nc, nan=-2.0), digits)
        rank[np.lexsort((keys, level))] = np.arange(len(rank), dtype=np.uint64)
        return rank


def cluster_tasks(
    pool: Pool,
    embeddings: Measured,
    tasks: Labelled,
    rows: IntArray,
    out: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    clustering: Clustering,
    *,
    rows_per_cluster: int,
    neighbours: int,
    images_once: bool,
) -> Typical:
    """Cluster the rows of each task and measure NC inside each cluster.

    Args:
        pool: what rows refer to.
        embeddings: of the images; a row with several has their mean.
        tasks: the task of each of `rows`.
        rows: (n,) all rows that are clustered, those that cannot be chosen included.
        out: (N,) which rows cannot be chosen: the reference. They have no NC and are nobody's
            neighbour.
        keys: (N,) fixes the order in which k-means reads rows.
        clustering: gives the cluster of every row of every group.
        rows_per_cluster: a task of n rows has floor(n / this) clusters, at least one.
        neighbours: k of NC; fewer where a cluster has no more rows.
        images_once: whether rows of the same images are one neighbour.
    """
    groups = [
        (mine := rows[tasks.of == t])[np.argsort(keys[mine], kind="stable")]
        for t in range(len(tasks.labels))
    ]
    counts = [max(1, len(group) // rows_per_cluster) for group in groups]
    found = clustering(lambda some: unit_rows(embeddings.take(EMBEDDING, some)), groups, counts)
    shown = pool.groups("image").of_row
    nc, cells, full = np.full(len(pool), np.nan), [], []
    for label, group, cluster in zip(tasks.labels, groups, found, strict=True):
        count = int(cluster.max(initial=-1)) + 1
        mine, of = group[~out[group]], cluster[~out[group]]
        for members in _members(of, count):
            some = mine[members]
            units = unit_rows(embeddings.take(EMBEDDING, some))
            nc[some] = nearest(units, shown[some] if images_once else members, neighbours)
        size = np.bincount(of, minlength=count)
        names = tuple(f"{label}, cluster {c + 1} of {count}" for c in range(count))
        cells.append(Cells(mine, of, names, [Fraction(rows_) for rows_ in size.tolist()]))
        full.append(np.bincount(cluster, minlength=count))
    return Typical(tuple(cells), nc, tuple(full))


def _members(of: IntArray, clusters: int) -> Sequence[IntArray]:
    order = np.argsort(of, kind="stable")
    return np.split(order, np.cumsum(np.bincount(of, minlength=clusters))[:-1])


def nearest(unit: NDArray[np.float32], image: IntArray, k: int) -> Float:
    """Return NC of each row, eq. (7): the mean cosine to its k nearest neighbours.

    0 in a cluster of one [ours].

    Args:
        unit: (n, d) unit vectors of the rows of one cluster.
        image: (n,) rows with the same number are one neighbour.
        k: neighbours.
    """
    _, first, inverse = np.unique(image, return_index=True, return_inverse=True)
    return mean_nearest(unit[np.sort(first)], k)[np.argsort(np.argsort(first))[inverse]]


def our_clusters(seed: int) -> Clustering:
    """Return k-means as `numerics.cluster` has it: one start, the same on any number of threads."""

    def cluster(
        read: Read, groups: Sequence[IntArray], counts: Sequence[int]
    ) -> Sequence[IntArray]:
        there = [g for g, rows in enumerate(groups) if len(rows)]
        found = kmeans_by_group(read, [groups[g] for g in there], [counts[g] for g in there], seed)
        by_group = dict(zip(there, found, strict=True))
        empty = np.empty(0, np.int64)
        return [by_group[g].of if g in by_group else empty for g in range(len(groups))]

    return cluster


def official_clusters(random_state: int) -> Clustering:
    """Return k-means as PreSel's program calls it; its result depends on scikit-learn's version."""

    def cluster(
        read: Read, groups: Sequence[IntArray], counts: Sequence[int]
    ) -> Sequence[IntArray]:
        from sklearn.cluster import KMeans

        return [
            np.asarray(KMeans(count, random_state=random_state).fit_predict(read(rows)), np.int64)
            if len(rows)
            else np.empty(0, np.int64)
            for rows, count in zip(groups, counts, strict=True)
        ]

    return cluster


def embedded_groups(
    embeddings: Measured, rows: IntArray, count: int, keys: NDArray[np.uint64], seed: int
) -> Labelled:
    """Return clusters of all images that stand for tasks where there are no labels [ours].

    Args:
        embeddings: of the images.
        rows: (n,) rows to group.
        count: of clusters.
        keys: (N,) fixes the order in which k-means reads rows.
        seed: of k-means.
    """
    order = np.argsort(keys[rows], kind="stable")
    (found,) = our_clusters(seed)(
        lambda some: unit_rows(embeddings.take(EMBEDDING, some)), [rows[order]], [count]
    )
    of = np.empty(len(rows), np.int64)
    of[order] = found
    names = tuple(f"cluster {c + 1:0{len(str(count))}d}" for c in range(int(of.max(initial=0)) + 1))
    return Labelled(names, of)

"""k-means with one start, against scikit-learn's ten starts and faiss: all on one thread."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.harness import Measurement, in_fresh_process
from benchmarks.table import Line

ROWS, QUICK_ROWS = 10_000, 1_000
WIDTH, QUICK_WIDTH = 768, 32
ROWS_PER_CLUSTER = 100
#: Groups that two threads share.
GROUPS = 4
#: Power by which the spread of a direction falls with its number, as in embeddings.
FALL = 0.5
FAISS_ITERATIONS = 25


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark, on points without clusters, the hardest case."""
    n, d = (QUICK_ROWS, QUICK_WIDTH) if quick else (ROWS, WIDTH)
    size = f"n={n:,}, d={d}, k={n // ROWS_PER_CLUSTER}"
    ten = in_fresh_process(scikit_learn, n, d, 10)
    yield Line.of(f"kmeans: scikit-learn, ten starts ({size})", ten, "1")
    ours = in_fresh_process(own, n, d, 1)
    yield _line("kmeans: one start", ours, ten)
    again = in_fresh_process(own, n, d, 1)
    differ = int((ours.value[0] != again.value[0]).sum())
    yield Line.of("kmeans: the same again", again, "", f"{differ} labels differ", float(differ))
    batched = in_fresh_process(mini_batches, n, d)
    yield _line("kmeans: in mini-batches, as above 50,000 rows", batched, ten)
    if find_spec("faiss") is not None:
        yield _line(
            f"kmeans: faiss, {FAISS_ITERATIONS} iterations", in_fresh_process(faiss, n, d), ten
        )
    yield from _groups(n, d)


def _line(what: str, run: Measurement, ten: Measurement) -> Line:
    worse = run.value[1] / ten.value[1] - 1
    speed = f"{ten.seconds / run.seconds:.1f} x as fast, inertia {worse:+.1%}"
    return Line.of(what, run, speed)


def _groups(n: int, d: int) -> Iterator[Line]:
    """Yield the time of several groups, one after the other and side by side."""
    one, two = (in_fresh_process(grouped, n, d, threads) for threads in (1, 2))
    yield Line.of(f"kmeans: {GROUPS} groups of {n // GROUPS:,} on one thread", one, "1")
    differ = int((one.value != two.value).sum())
    yield Line.of(
        "kmeans: the same on two threads",
        two,
        f"{one.seconds / two.seconds:.1f} x as fast",
        f"{differ} labels differ",
        float(differ),
    )


def own(n: int, d: int, threads: int) -> Generator[None, None, Any]:
    """As a job: labels and inertia of the package's k-means."""
    from visift.numerics.cluster import kmeans_by_group

    X = points(n, d)
    _warm_up(X)
    yield
    (found,) = kmeans_by_group(
        lambda rows: X[rows], [np.arange(n)], [n // ROWS_PER_CLUSTER], threads=threads
    )
    yield
    return found.of, inertia(X, found.of)


def mini_batches(n: int, d: int) -> Generator[None, None, Any]:
    """As a job: the same, read in blocks."""
    from visift.numerics.cluster import kmeans_by_group

    X = points(n, d)
    _warm_up(X)
    yield
    (found,) = kmeans_by_group(
        lambda rows: X[rows], [np.arange(n)], [n // ROWS_PER_CLUSTER], minibatch_above=n // 2
    )
    yield
    return found.of, inertia(X, found.of)


def grouped(n: int, d: int, threads: int) -> Generator[None, None, Any]:
    """As a job: the labels of several groups, one after the other."""
    from visift.numerics.cluster import kmeans_by_group

    X = points(n, d)
    groups = np.array_split(np.arange(n), GROUPS)
    _warm_up(X)
    yield
    found = kmeans_by_group(
        lambda rows: X[rows], groups, [len(g) // ROWS_PER_CLUSTER for g in groups], threads=threads
    )
    yield
    return np.concatenate([clusters.of for clusters in found])


def scikit_learn(n: int, d: int, starts: int) -> Generator[None, None, Any]:
    """As a job: labels and inertia of scikit-learn's KMeans."""
    from sklearn.cluster import KMeans

    X = points(n, d)
    _warm_up(X)
    yield
    with threadpool_limits(1):
        model = KMeans(n // ROWS_PER_CLUSTER, n_init=starts, random_state=0).fit(X)
    yield
    return model.labels_, inertia(X, model.labels_)


def faiss(n: int, d: int) -> Generator[None, None, Any]:
    """As a job: labels and inertia of faiss."""
    import faiss as library

    library.omp_set_num_threads(1)
    X = points(n, d)
    count = n // ROWS_PER_CLUSTER
    yield
    model = library.Kmeans(d, count, niter=FAISS_ITERATIONS, seed=0, max_points_per_centroid=n)
    model.train(X)
    _, labels = model.index.search(X, 1)
    yield
    return labels[:, 0], inertia(X, labels[:, 0])


def points(n: int, d: int) -> NDArray[np.float32]:
    """Return (n, d) unit vectors, widely spread in few directions and little in most."""
    spread = np.arange(1, d + 1) ** -FALL
    X = np.random.default_rng(0).normal(size=(n, d)) * spread
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def inertia(X: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the sum of squared distances to the means of clusters."""
    total = 0.0
    for label in np.unique(labels):
        mine = X[labels == label].astype(np.float64)
        total += float(((mine - mine.mean(axis=0)) ** 2).sum())
    return total


def _warm_up(X: NDArray[Any]) -> None:
    """Import what takes time the first time."""
    from sklearn.cluster import KMeans

    KMeans(2, n_init=1, random_state=0).fit(X[:50])

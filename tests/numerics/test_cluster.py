"""k-means: the same partition whatever the threads and the order of the pool, none empty."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.numerics.cluster import Clusters, kmeans, kmeans_by_group

random = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def blobs(rng: np.random.Generator, n: int, centres: int, d: int = 6) -> np.ndarray:
    """Points around a few centres, float32."""
    middle = 5 * rng.normal(size=(centres, d))
    return (middle[rng.integers(centres, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def partition(clusters: Clusters, names: np.ndarray) -> set[frozenset[int]]:
    """The sets of names that share a cluster."""
    return {frozenset(names[clusters.of == k].tolist()) for k in range(len(clusters))}


def inertia(clusters: Clusters, X: np.ndarray) -> float:
    return float(((X - clusters.centres[clusters.of]) ** 2).sum())


def assert_sound(clusters: Clusters, n: int, count: int) -> None:
    """Clusters are numbered by first appearance, none is empty, none too many."""
    assert clusters.of.shape == (n,)
    _, first = np.unique(clusters.of, return_index=True)
    assert len(first) == len(clusters) <= count
    assert (np.diff(first) > 0).all()
    assert clusters.centres.dtype == np.float32


@given(random, st.integers(1, 12), st.integers(1, 200))
@settings(max_examples=30)
def test_clusters_are_sound(rng: np.random.Generator, count: int, n: int) -> None:
    X = blobs(rng, n, 4)
    found = kmeans(X, count)
    assert_sound(found, n, count)
    assert len(found) == min(count, n)


@given(random, st.integers(0, 5))
@settings(max_examples=10)
def test_labels_do_not_depend_on_threads_or_on_other_groups(
    rng: np.random.Generator, seed: int
) -> None:
    X = blobs(rng, 900, 9)
    groups = np.split(np.arange(900), [400, 420, 700])
    counts = [7, 3, 5, 4]
    alone = [kmeans(X[rows], count, seed) for rows, count in zip(groups, counts, strict=True)]
    for threads in (1, 3):
        found = kmeans_by_group(lambda rows: X[rows], groups, counts, seed, threads=threads)
        for one, other in zip(found, alone, strict=True):
            assert one.of.tobytes() == other.of.tobytes()
            assert one.centres.tobytes() == other.centres.tobytes()


@pytest.mark.parametrize("minibatch_above", [50_000, 50])
@given(rng=random)
@settings(max_examples=8)
def test_rows_read_in_key_order_give_one_partition(
    rng: np.random.Generator, minibatch_above: int
) -> None:
    X, keys = blobs(rng, 300, 5), rng.permutation(300)
    shuffle = rng.permutation(300)

    def of(pool: np.ndarray, its_keys: np.ndarray) -> set[frozenset[int]]:
        order = np.argsort(its_keys)
        (found,) = kmeans_by_group(
            lambda rows: pool[rows], [order], [5], minibatch_above=minibatch_above
        )
        return partition(found, its_keys[order])

    assert of(X, keys) == of(X[shuffle], keys[shuffle])


def test_no_more_rows_than_clusters_are_a_cluster_each() -> None:
    X = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    for count in (3, 7):
        found = kmeans(X, count)
        assert found.of.tolist() == [0, 1, 2]
        assert found.centres.tolist() == X.tolist()


def test_no_more_distinct_rows_than_clusters_are_a_cluster_each() -> None:
    X = np.array([[1, 0], [0, 1], [1, 0], [-0.0, 1], [2, 2], [0, 1]], np.float32)
    for count in (3, 4, 5):
        found = kmeans(X, count)
        assert found.of.tolist() == [0, 1, 0, 1, 2, 1]
        assert found.centres.tolist() == [[1, 0], [0, 1], [2, 2]]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("minibatch_above", [50_000, 10])
def test_constant_features_are_one_cluster(count: int, minibatch_above: int) -> None:
    X = np.full((40, 3), 0.25, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = kmeans_by_group(
            lambda rows: X[rows], [np.arange(40)], [count], minibatch_above=minibatch_above
        )
    assert_sound(found, 40, count)
    assert found.of.tolist() == [0] * 40
    np.testing.assert_allclose(found.centres, X[:1])


def test_one_cluster_has_the_mean_as_its_centre() -> None:
    X = blobs(np.random.default_rng(0), 50, 3)
    found = kmeans(X, 1)
    np.testing.assert_allclose(found.centres, X.mean(axis=0, keepdims=True), rtol=1e-5)


def test_nearly_equal_rows_leave_no_cluster_empty() -> None:
    X = np.ones((60, 4), np.float32)
    X[:, 0] += np.arange(60) % 5 * np.float32(1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_sound(kmeans(X, 4), 60, 4)


def test_clusters_are_found() -> None:
    rng = np.random.default_rng(3)
    which = rng.integers(4, size=400)
    X = (20 * np.eye(4)[which] + rng.normal(size=(400, 4))).astype(np.float32)
    found = kmeans(X, 4)
    assert partition(found, np.arange(400)) == {
        frozenset(np.flatnonzero(which == k).tolist()) for k in range(4)
    }


def test_mini_batches_are_nearly_as_good_and_read_in_blocks() -> None:
    X = blobs(np.random.default_rng(0), 30_000, 40)
    largest = 0

    def read(rows: np.ndarray) -> np.ndarray:
        nonlocal largest
        largest = max(largest, len(rows))
        return X[rows]

    (batched,) = kmeans_by_group(read, [np.arange(30_000)], [40], minibatch_above=20_000)
    assert_sound(batched, 30_000, 40)
    assert largest <= 8192
    assert inertia(batched, X) <= 1.15 * inertia(kmeans(X, 40), X)


def test_the_callers_features_stay_as_they_were() -> None:
    X = blobs(np.random.default_rng(0), 200, 3)
    before = X.copy()
    kmeans_by_group(lambda rows: X[rows[0] : rows[-1] + 1], [np.arange(200)], [5])
    assert X.tobytes() == before.tobytes()

"""Streamed sums: right, and the same bytes whatever the blocks and however many threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.methods.prism import redundancy
from visift.numerics import sums

ROWS, WIDTH, GROUPS = 2 * sums.CHUNK_ROWS + 77, 19, 5


def features(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    F = (rng.standard_normal((rows, WIDTH)) + 3).astype(np.float16)
    return F, rng.integers(0, GROUPS, rows)


def cut(F, edges):
    return [F[a:b] for a, b in zip([0, *edges], [*edges, len(F)], strict=True)]


edge_lists = st.lists(st.integers(0, ROWS), max_size=12).map(sorted)


@given(edge_lists, st.integers(1, 300))
def test_chunks_are_cut_in_fixed_places(edges, rows):
    F, _ = features()
    chunks = list(sums.in_chunks(cut(F, edges), rows))
    assert [len(c) for c in chunks[:-1]] == [rows] * (len(chunks) - 1)
    assert np.array_equal(np.concatenate(chunks), F)


def test_a_whole_chunk_of_one_block_is_not_copied():
    F, _ = features()
    first, second, last = sums.in_chunks([F[: sums.CHUNK_ROWS], F[sums.CHUNK_ROWS :]])
    assert all(np.shares_memory(chunk, F) for chunk in (first, second, last))


def test_slabs_hold_every_row_once_and_one_group_each():
    F, group = features()
    seen = []
    for g, rows, values in sums.slabs(F[100:900], group, 100):
        assert len(rows) <= sums.SLAB_ROWS
        assert (group[rows] == g).all()
        assert values.dtype == np.float64
        assert np.array_equal(values, F[rows])
        seen += rows.tolist()
    assert sorted(seen) == list(range(100, 900))


def test_sums_and_values_are_those_of_numpy():
    F, group = features()
    total = sums.group_sums([F], group, GROUPS + 1, lambda g, rows, F: F.sum(axis=0))
    expected = [F[group == g].astype(np.float64).sum(axis=0) for g in range(GROUPS + 1)]
    np.testing.assert_allclose(total, expected, rtol=1e-13)
    first = sums.row_values([F], group, lambda g, rows, F: F[:, 0] + 100 * g)
    assert np.array_equal(first, F[:, 0].astype(np.float64) + 100 * group)


@settings(max_examples=30, deadline=None)
@given(edge_lists, st.sampled_from(["corpus", "row", "none"]))
def test_blocks_do_not_change_a_bit(edges, center):
    F, group = features()
    whole = redundancy(lambda: [F], group, GROUPS, center)
    parts = redundancy(lambda: cut(F, edges), group, GROUPS, center)
    assert parts.R.tobytes() == whole.R.tobytes()
    assert parts.S_norm.tobytes() == whole.S_norm.tobytes()


@pytest.mark.parametrize("threads", [2, 7])
def test_threads_do_not_change_a_bit(monkeypatch, threads):
    F, group = features()
    results = []
    for count in (1, threads):
        monkeypatch.setattr(sums, "THREADS", count)
        results.append(redundancy(lambda: cut(F, [5, 1500]), group, GROUPS).R.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_where_the_values_lie_in_memory_does_not_change_a_bit(offset):
    F, group = features()
    moved = np.empty(F.size + offset, F.dtype)[offset:].reshape(F.shape)
    moved[:] = F
    here = redundancy(lambda: [F], group, GROUPS).R.tobytes()
    assert redundancy(lambda: [moved], group, GROUPS).R.tobytes() == here


def test_an_error_in_the_work_comes_out():
    def fail(start, chunk):
        raise ValueError(start)

    with pytest.raises(ValueError, match="0"):
        list(sums.over_chunks([features()[0]], fail))

"""Ranks across groups: seats filled by each group's best, extra rows in their share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visift.methods.ranking import fill_seats, interleave, new_images, rank_within

SIZES = st.lists(st.integers(1, 6), min_size=0, max_size=30)


def test_rank_within_sorts_by_group_then_keys() -> None:
    group = np.array([1, 0, 1, 0, 1])
    first = np.array([2.0, 1.0, 1.0, 1.0, 1.0])
    second = np.array([0, 9, 7, 8, 6])
    assert rank_within(group, first, second).tolist() == [3, 1, 4, 2, 0]


def test_seats_take_the_best_one_left_of_their_group() -> None:
    seats = np.array([0, 1, 0, 1, 1], np.int32)
    group = np.array([1, 0, 1, 0, 1])
    score = np.array([3.0, 5.0, 1.0, 4.0, 2.0])
    assert fill_seats(seats, group, score).tolist() == [3, 2, 1, 4, 0]


@given(SIZES, st.integers(0, 40))
def test_interleave_keeps_both_orders_and_the_share(sizes: list[int], extra: int) -> None:
    cost = np.array(sizes, np.int64)
    merged = interleave(cost, extra)
    assert merged[merged >= 0].tolist() == list(range(len(sizes)))
    assert (-1 - merged[merged < 0]).tolist() == list(range(extra))
    total = int(cost.sum())
    if not total or not extra:
        return
    items = extras = 0
    for entry in merged.tolist():
        # A whole item of c rows can be ahead of its share by no more than its own rows.
        items, extras = (items, extras + 1) if entry < 0 else (items + sizes[entry], extras)
        assert abs(extras - items * extra / total) <= max(sizes) * extra / total + 1


def test_interleave_of_single_rows_is_websters_rule() -> None:
    assert interleave(np.ones(4, np.int64), 2).tolist() == [0, -1, 1, 2, -2, 3]
    assert interleave(np.ones(2, np.int64), 2).tolist() == [0, -1, 1, -2]


def test_new_images_counts_each_image_once() -> None:
    sets = [[3, 1], [], [1], [2, 2, 3], []]
    assert new_images([np.array(s, np.int64) for s in sets]).tolist() == [2, 0, 0, 1, 0]
    assert new_images([]).tolist() == []


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=12))
def test_new_images_add_up_to_all_images(sets: list[list[int]]) -> None:
    counts = new_images([np.array(s, np.int64) for s in sets])
    seen: set[int] = set()
    for count, some in zip(counts.tolist(), sets, strict=True):
        assert count == len(set(some) - seen)
        seen |= set(some)

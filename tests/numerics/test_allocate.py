"""Webster's method with caps and floors: printed cases, laws, and a plain heap as reference."""

from __future__ import annotations

import heapq
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visift.errors import InfeasibleBudget, InputError
from visift.numerics.allocate import allocate, power
from visift.numerics.seats import seat_order

PLENTY = 10**9


def reference_order(weights, caps, floors=None):
    """Hand out every seat one by one from a heap of exact priorities."""
    floors = (
        [0] * len(caps)
        if floors is None
        else [min(f, c) for f, c in zip(floors, caps, strict=True)]
    )
    order = [g for turn in range(max(floors, default=0)) for g, f in enumerate(floors) if turn < f]
    exact = [Fraction(repr(w)) if isinstance(w, float) else Fraction(w) for w in weights]
    zero = [w == 0 for w in exact]
    for stage in (False, True):
        stage_weights = [Fraction(c) for c in caps] if stage else exact
        heap = [
            (Fraction(2 * floors[g] + 1) / (2 * stage_weights[g]), g, floors[g])
            for g in range(len(caps))
            if zero[g] == stage and floors[g] < caps[g]
        ]
        heapq.heapify(heap)
        while heap:
            _, group, taken = heapq.heappop(heap)
            order.append(group)
            if taken + 1 < caps[group]:
                key = Fraction(2 * taken + 3) / (2 * stage_weights[group])
                heapq.heappush(heap, (key, group, taken + 1))
    return order


def counts_of(order, groups):
    return np.bincount(order, minlength=groups).tolist()


# Values that tie often, values whose floats are too close to be told apart, and anything else.
weight = st.one_of(
    st.integers(0, 6),
    st.sampled_from([0.1, 0.3, 0.1 + 0.2, 0.30000000000000010, 0.9, 1e-9]),
    st.sampled_from([10**17, 10**17 + 1, 3 * 10**17, 3 * 10**17 - 1, 3 * 10**17 + 1]),
    st.sampled_from([1e-300, 1e300, Fraction(1, 3), Fraction(2, 7), Decimal("0.1")]),
    st.floats(0, 1e6, allow_nan=False),
)
group = st.tuples(weight, st.integers(0, 12), st.integers(0, 4))
pool = st.lists(group, min_size=1, max_size=7).map(
    lambda rows: [list(c) for c in zip(*rows, strict=True)]
)


class TestPrintedCases:
    @pytest.mark.parametrize(
        ("total", "weights", "caps", "expected"),
        [
            (10, [1, 1, 1], None, [4, 3, 3]),
            (7, [5, 3, 2], None, [4, 2, 1]),
            (12, [3, 1], [6, 14], [6, 6]),
            (100, [0.487353, 0.267465, 0.146788, 0.098395], None, [48, 27, 15, 10]),
            (
                100,
                [0.487353, 0.267465, 0.146788, 0.098395],
                [30, 40, 50, 60],
                [30, 37, 20, 13],
            ),
            (1, [3, 3, 1], None, [1, 0, 0]),
            (2, [3, 3, 1], None, [1, 1, 0]),
            (3, [3, 3, 1], None, [2, 1, 0]),
            (4, [3, 3, 1], None, [2, 2, 0]),
            (5, [3, 3, 1], None, [2, 2, 1]),
            (6, [3, 3, 1], None, [3, 2, 1]),
            (7, [3, 3, 1], None, [3, 3, 1]),
            (10, [6, 6, 2], None, [5, 4, 1]),
            (11, [6, 6, 2], None, [5, 5, 1]),
        ],
    )
    def test_counts(self, total, weights, caps, expected):
        assert allocate(total, weights, caps or [PLENTY] * len(weights)).tolist() == expected
        order = seat_order(weights, caps or [200] * len(weights))
        assert counts_of(order[:total], len(weights)) == expected


class TestLaws:
    @given(pool)
    def test_every_prefix_of_the_seat_order_is_the_allocation(self, rows):
        weights, caps, floors = rows
        order = seat_order(weights, caps, floors)
        assert order.dtype == np.int32
        for total in range(sum(caps) + 1):
            counts = allocate(total, weights, caps, floors)
            assert counts.dtype == np.int64
            assert counts.tolist() == counts_of(order[:total], len(caps))

    @given(pool)
    @example([[10**17, 3 * 10**17 - 1], [3, 9], [0, 0]])
    @example([[0.1, 0.3, 0.1234567890123457], [4, 12, 5], [0, 0, 1]])
    @example([[1e-300, 1e300, 0.3, 0.1 + 0.2], [3, 3, 3, 3], [0, 1, 0, 0]])
    def test_equals_a_heap_of_exact_priorities(self, rows):
        weights, caps, floors = rows
        assert seat_order(weights, caps, floors).tolist() == reference_order(weights, caps, floors)
        assert seat_order(weights, caps).tolist() == reference_order(weights, caps)

    @given(pool, st.data())
    def test_total_is_exact_and_caps_hold(self, rows, data):
        weights, caps, floors = rows
        total = data.draw(st.integers(0, sum(caps)))
        counts = allocate(total, weights, caps, floors)
        assert counts.sum() == total
        assert (counts >= 0).all()
        assert (counts <= caps).all()

    @given(st.lists(st.tuples(weight, st.integers(0, 10**6)), min_size=1, max_size=9), st.data())
    def test_one_more_row_never_takes_one_away(self, rows, data):
        weights, caps = zip(*rows, strict=True)
        total = data.draw(st.integers(0, max(0, sum(caps) - 1)))
        more = min(total + 1, sum(caps))
        step = allocate(more, weights, caps) - allocate(total, weights, caps)
        assert step.min() >= 0
        assert step.sum() == more - total

    @given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12), st.integers(0, 5000))
    def test_stays_near_the_quota_without_caps(self, weights, total):
        """|a_i - q_i| <= 1/2 + p_i (G - 2) / 2, with q_i = p_i total, p_i the share of weight.

        With a_i = t w_i + e_i and |e_i| <= 1/2: a_i - q_i = e_i - p_i sum(e). So up to three groups
        are always within one row of the quota, and so is every group with a small share.
        """
        share = np.array(weights) / np.sum(weights)
        counts = allocate(total, weights, [PLENTY] * len(weights))
        bound = 0.5 + share * max(0, len(weights) - 2) / 2
        assert (np.abs(counts - share * total) <= bound + 1e-6).all()

    @pytest.mark.parametrize("total", [17, 99_794, 332_649])
    def test_stays_within_one_row_of_the_quota_on_a_usual_mixture(self, total):
        sizes = [364_100, 86_417, 80_000, 72_140, 22_000, 40_641]
        quota = total * np.array(sizes) / sum(sizes)
        assert np.abs(allocate(total, sizes, sizes) - quota).max() < 1.1

    @given(pool, st.data())
    def test_floors_come_first_one_row_a_group_in_turn(self, rows, data):
        weights, caps, floors = rows
        low = np.minimum(floors, caps)
        total = data.draw(st.integers(0, sum(caps)))
        counts = allocate(total, weights, caps, floors)
        if total >= low.sum():
            assert (counts >= low).all()
        else:
            assert (counts <= low).all()
            waiting = counts < low
            assert counts.max() - counts[waiting].min() <= 1

    @given(
        st.lists(st.tuples(st.integers(0, 50), st.integers(0, 12)), min_size=1, max_size=7),
        st.fractions(min_value=Fraction(1, 10**6), max_value=10**6).filter(bool),
    )
    def test_the_scale_of_the_weights_does_not_matter(self, rows, scale):
        weights, caps = zip(*rows, strict=True)
        scaled = [w * scale for w in weights]
        assert seat_order(scaled, caps).tolist() == seat_order(weights, caps).tolist()
        assert (
            allocate(sum(caps) // 2, scaled, caps) == allocate(sum(caps) // 2, weights, caps)
        ).all()


class TestFloors:
    def test_seats_given_by_floors_count_as_taken(self):
        assert allocate(8, [6, 1, 1], [10, 10, 10], [0, 1, 1]).tolist() == [6, 1, 1]
        assert seat_order([6, 1, 1], [4, 2, 2], [0, 2, 1]).tolist() == [1, 2, 1, 0, 0, 0, 0, 2]

    def test_a_floor_above_the_cap_is_cut_down_to_it(self):
        assert allocate(5, [1, 1], [2, 10], [7, 1]).tolist() == [2, 3]

    def test_too_few_rows_for_all_floors(self):
        assert allocate(4, [1, 1, 9], [5, 5, 5], [3, 1, 3]).tolist() == [2, 1, 1]

    def test_floors_may_be_far_above_the_total(self):
        assert allocate(5, [1, 1], [PLENTY, PLENTY], [PLENTY, PLENTY]).tolist() == [3, 2]

    def test_a_group_of_weight_zero_gets_its_floor(self):
        assert allocate(9, [0, 1], [9, 9], [2, 0]).tolist() == [2, 7]


class TestZeroWeights:
    def test_wait_until_all_others_are_full_then_share_by_their_caps(self):
        caps = [6, 2, 2]
        assert allocate(2, [0, 5, 0], caps).tolist() == [0, 2, 0]
        assert allocate(6, [0, 5, 0], caps).tolist() == [3, 2, 1]

    def test_all_zero_means_weights_are_the_caps(self):
        assert allocate(5, [0.0, 0.0], [8, 2]).tolist() == [4, 1]

    def test_an_empty_group_gets_nothing(self):
        assert allocate(3, [0, 0, 7], [0, 3, 0]).tolist() == [0, 3, 0]

    def test_no_groups(self):
        assert allocate(0, [], []).tolist() == []
        assert seat_order([], []).tolist() == []


class TestExactness:
    """Rational priorities that differ, or are equal, where their floats say otherwise."""

    @pytest.mark.parametrize(
        ("weights", "caps"),
        [
            ([10**17, 10**17 + 1], [40, 40]),  # (j - 1/2) / w: equal floats, group 1 is first
            ([10**17, 3 * 10**17 - 1], [40, 120]),  # seat 1 of group 0 before seat 2 of group 1
            ([3 * 10**17 + 1, 10**17], [120, 40]),
            ([1, 3, 0.1234567890123457], [50, 150, 9]),  # exact ties of unequal weights
            ([3, 1, 0.1234567890123457], [150, 50, 9]),
            ([0.3, 0.1 + 0.2, 0.3], [60, 60, 60]),
            ([1e-300, 1e300, 2e-300, 0.1 + 0.2], [9, 9, 9, 9]),  # ratios below all floats
            ([1e300, 1.3e-8, 1.30000000001e-8, 3.9e-8], [9] * 4),  # subnormal ones
        ],
    )
    def test_runs_of_colliding_floats_are_settled_exactly(self, weights, caps):
        expected = reference_order(weights, caps)
        assert seat_order(weights, caps).tolist() == expected
        for total in range(0, sum(caps) + 1, 7):
            assert allocate(total, weights, caps).tolist() == counts_of(expected[:total], len(caps))

    def test_the_collision_is_real(self):
        assert 1.5 / float(3 * 10**17 - 1) == 0.5 / 1e17
        assert Fraction(1, 2 * 10**17) < Fraction(3, 2 * (3 * 10**17 - 1))
        assert seat_order([3 * 10**17 - 1, 10**17], [2, 1]).tolist() == [0, 1, 0]

    def test_floats_stand_for_their_decimal_form(self):
        assert seat_order([0.1, 0.3], [2, 2]).tolist() == seat_order([1, 3], [2, 2]).tolist()
        assert Fraction(0.1) * 3 != Fraction(0.3)

    @pytest.mark.parametrize(
        "weights",
        [
            [0.1, 0.2, 0.3],
            np.array([0.1, 0.2, 0.3]),
            np.array([0.1, 0.2, 0.3], dtype=np.float32),
            np.array([1, 2, 3], dtype=np.int8),
            [Decimal("0.1"), Fraction(2, 10), np.float64(0.3)],
        ],
    )
    def test_all_kinds_of_numbers(self, weights):
        caps = np.array([20, 20, 30])
        assert seat_order(weights, caps).tolist() == seat_order([1, 2, 3], [20, 20, 30]).tolist()
        assert allocate(np.int64(6), weights, caps).tolist() == [1, 2, 3]

    def test_large_integer_weights_do_not_overflow(self):
        weights = np.array([2**62, 2**62, 2**61])
        assert allocate(10, weights, [10, 10, 10]).tolist() == [4, 4, 2]


class TestLarge:
    def test_ten_thousand_groups_and_24_million_rows(self):
        sizes = np.random.default_rng(0).integers(1, 9000, 10_000)
        total = 24_000_000
        counts = allocate(total, sizes, sizes)
        assert counts.sum() == total
        assert np.abs(counts - total * sizes / sizes.sum()).max() < 1.1

    def test_caps_may_stand_for_no_cap(self):
        assert allocate(5, [2, 1], [2**62, 2**62]).tolist() == [3, 2]
        assert allocate(5, [2, 1, 1, 1], [2**62] * 4).sum() == 5

    @pytest.mark.parametrize("exponent", [0, 0.5, 1])
    def test_seat_order_of_a_whole_pool(self, exponent):
        sizes = np.random.default_rng(1).multinomial(665_298, np.full(500, 1 / 500))
        weights = power(sizes, exponent)
        order = seat_order(weights, sizes)
        for total in (0, 1, 1000, 99_794, 332_649, 665_298):
            assert counts_of(order[:total], 500) == allocate(total, weights, sizes).tolist()


class TestPower:
    def test_divides_by_the_maximum_first(self):
        assert power([2, 8], 2) == [Fraction(1, 16), 1]
        assert power([1e200, 1e-200], 3) == [1, Fraction(1, 10**1200)]

    def test_a_fractional_exponent(self):
        assert power([4, 1], 0.5) == [1, Fraction(1, 2)]

    def test_exponent_one_changes_no_allocation(self):
        assert (
            seat_order(power([2, 6, 6], 1), [9] * 3).tolist()
            == seat_order([2, 6, 6], [9] * 3).tolist()
        )

    def test_exponent_zero_makes_groups_equal(self):
        assert power([0, 3, 8], 0) == [1, 1, 1]
        assert power([0, 0], 2) == [0, 0]
        assert power([], 2) == []

    def test_refuses_what_has_no_value(self):
        with pytest.raises(InputError, match="group 1 has weight 0"):
            power([3, 0], -1)
        with pytest.raises(InputError, match="exponent"):
            power([3, 1], float("nan"))
        with pytest.raises(InputError, match=r"exponent -1\.5"):
            power([1e300, 1e-300], -1.5)
        with pytest.raises(InputError, match=r"group 0 .* -1"):
            power([-1], 2)


class TestErrors:
    @pytest.mark.parametrize(
        "bad", [-1, -0.5, float("nan"), float("inf"), Decimal("NaN"), np.float32("inf"), "many"]
    )
    def test_a_weight_that_is_no_weight_names_its_group(self, bad):
        for call in (lambda: allocate(1, [1, bad], [5, 5]), lambda: seat_order([1, bad], [5, 5])):
            with pytest.raises(InputError, match=r"group 1 \(counted from 0\) has weight"):
                call()

    def test_more_than_there_is_names_the_largest_feasible_total(self):
        with pytest.raises(InfeasibleBudget, match="at most 11"):
            allocate(12, [1, 0], [5, 6])

    def test_a_negative_total(self):
        with pytest.raises(InputError, match="-1"):
            allocate(-1, [1], [5])

    @pytest.mark.parametrize("bad", [-1, 1.5, None])
    def test_caps_and_floors_are_whole_numbers(self, bad):
        with pytest.raises(InputError, match=r"group 1 .* has cap"):
            allocate(1, [1, 1], [5, bad])
        with pytest.raises(InputError, match=r"group 0 .* has floor"):
            seat_order([1, 1], [5, 5], [bad, 0])

    def test_lengths_must_agree(self):
        with pytest.raises(InputError, match="2 weights but 1 values of `cap`"):
            allocate(1, [1, 1], [5])

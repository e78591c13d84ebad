"""mmSSR's rule on arrays: the specification's cases, and the plain form row by row."""

from __future__ import annotations

import contextlib
import io
import math
import random
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import mmssr as printed
from visift.methods.mmssr_sampling import (
    Bins,
    Queue,
    Sample,
    feasible,
    pick,
    ranked,
    sample,
    sample_queues,
    smallest_first,
)

NAN = math.nan
OCR = [5, 5, 4, 0, 1, NAN]
STEM = [5, 1, 0, 4, 3, 5]
STYLES = [["s"], ["s"], ["t"], ["s"], ["t"], ["t"]]


def bins_of(labels: Sequence[Sequence[str]]) -> Bins:
    """Put rows under these labels, without sources."""
    return Bins.of([tuple(one) for one in labels], np.arange(len(labels)))


def queue_of(score: Sequence[float], bins: Bins, thr: float = 0) -> Queue:
    return Queue.of(bins, *ranked(np.array(score, float), thr, np.arange(len(score))))


def picks(labels: Sequence[Sequence[str]], score: Sequence[float], q: int) -> list[int]:
    """Return what one capability picks, by uid."""
    queue = queue_of(score, bins_of(labels))
    return pick(queue, np.ones(len(score), bool), q).rows.tolist()


def select(
    scores: Sequence[Sequence[float]],
    labels: Sequence[Sequence[str]],
    n: int,
    thr: float = 0,
    place: np.ndarray | None = None,
) -> Sample:
    bins = bins_of(labels)
    place = np.arange(len(labels)) if place is None else place
    queues = [Queue.of(bins, *ranked(np.array(s, float), thr, place)) for s in scores]
    return sample_queues(n, len(labels), queues)


# --- the specification's cases -------------------------------------------------------------------


def test_u1_a_first_label_goes_before_a_second_one() -> None:
    labels = [[], ["X", "Y"], ["X"], [], ["X"]]
    labels[3] = ["Y"]
    # Rows 0 is no candidate; rows 1, 2, 4, 3 have scores 5, 4, 3, 2.
    assert picks(labels, [0, 5, 4, 2, 3], 2) == [3, 1]


def test_u2_only_the_rarest_bins_are_served_when_there_are_more_bins_than_picks() -> None:
    labels = [["R1"], ["R2"], ["R3"], *[["big"]] * 9]
    assert sorted(picks(labels, [1, 1, 1, *[5] * 9], 3)) == [0, 1, 2]


def test_u3_what_small_bins_lack_larger_ones_give() -> None:
    labels = [["a"]] * 1 + [["b"]] * 2 + [["c"]] * 10
    got = picks(labels, [1.0] * 13, 9)
    assert [len([row for row in got if labels[row] == [name]]) for name in "abc"] == [1, 2, 6]


def test_u4_floors_leave_picks_for_the_next_round() -> None:
    labels = [["a"]] * 10 + [["b"]] * 10 + [["c"]] * 10
    got = picks(labels, [1.0] * 30, 8)
    assert got == [0, 1, 10, 11, 20, 21]


def test_u5_a_row_of_two_bins_may_bring_one_too_many() -> None:
    labels = [["A", "B"], *[["C"]] * 3, *[["D"]] * 4]
    bins, score = bins_of(labels), np.ones(8)
    queue = Queue.of(bins, *ranked(score, 0, np.arange(8)))
    # A and B hold row 0 alone: after A, bin B has nothing left, and what it lacks goes to C.
    assert pick(queue, np.ones(8, bool), 2).rows.tolist() == [0, 1, 2]
    assert sample_queues(2, 8, [queue]).rows.tolist() == [0, 1]
    loose = sample(2, 8, 1, lambda c, free, q: pick(queue, free, q), exact=False)
    assert loose.rows.tolist() == [0, 1, 2]


def test_u6_two_capabilities_in_turn() -> None:
    four = select([OCR, STEM], STYLES, 4)
    assert sorted(four.rows[four.capability == 0].tolist()) == [0, 2]
    assert sorted(four.rows[four.capability == 1].tolist()) == [3, 5]
    five = select([OCR, STEM], STYLES, 5)
    assert sorted(five.rows.tolist()) == [0, 1, 2, 3, 5]


def test_u7_a_threshold_and_the_most_it_leaves() -> None:
    assert select([OCR, STEM], STYLES, 3, thr=3).rows.tolist() == [2, 5, 0]
    assert feasible([np.array(OCR, float), np.array(STEM, float)], 3) == 5
    assert sorted(select([OCR, STEM], STYLES, 6, thr=3).rows.tolist()) == [0, 1, 2, 3, 5]


def test_u8_a_row_without_a_rating_enters_through_another_capability() -> None:
    found = select([OCR, STEM], STYLES, 4)
    assert found.capability[found.rows.tolist().index(5)] == 1


def test_u10_styles_and_sources_make_bins() -> None:
    bins = Bins.of(
        [("yes/no", "word/short-phrase", "yes/no"), ()],
        np.array([0, 1]),
        ["vqav2", "unknown"],
        np.array([0, 1]),
    )
    names = [[bins.names[b] for b in row if b >= 0] for row in bins.of_kind[bins.kind]]
    assert names == [["yes/no+vqav2", "word/short-phrase+vqav2"], ["other+unknown"]]


# --- what runs out, what ties --------------------------------------------------------------------


def test_a_capability_without_rows_is_dropped_and_named() -> None:
    found = select([[0, 0, 0, 0], [1, 2, 3, 4]], [["s"]] * 4, 4)
    assert found.exhausted == (0,)
    assert found.rows.tolist() == [3, 2, 1, 0]


def test_bins_of_equal_size_are_served_by_name() -> None:
    assert smallest_first(np.array([3, 0, 1, 3, 1])).tolist() == [2, 4, 0, 3]


def test_ties_are_rows_that_only_the_key_put_in() -> None:
    found = select([[5, 5, 5, 4, 4]], [["s"]] * 5, 2)
    assert found.tied.tolist() == [True, True]
    assert select([[5, 5, 5, 4, 4]], [["s"]] * 5, 3).tied.tolist() == [False] * 3
    assert select([[5, 5, 5, 4, 4]], [["s"]] * 5, 4).tied.tolist() == [False] * 3 + [True]


def test_what_comes_before_the_tie_key_settles_ties() -> None:
    score, more = np.array([4.0, 4, 4, 5]), np.array([3.9, 4.2, 4.1, 4.6])
    order, level = ranked(score, 0, np.array([0, 1, 2, 3]), more)
    assert order.tolist() == [3, 1, 2, 0]
    assert level.tolist() == [0, 1, 2, 3]


# --- the plain form ------------------------------------------------------------------------------

ratings = st.one_of(st.integers(0, 5), st.none())


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[list[int | None]], list[list[str]], int]:
    rows = draw(st.integers(1, 24))
    count = draw(st.integers(1, 3))
    scores = [draw(st.lists(ratings, min_size=rows, max_size=rows)) for _ in range(count)]
    label = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)
    labels = draw(st.lists(label, min_size=rows, max_size=rows))
    return scores, labels, draw(st.integers(1, rows))


@given(pools())
@settings(max_examples=100, deadline=None)
def test_u11_equal_to_the_plain_form_exact_and_disjoint(
    pool: tuple[list[list[int | None]], list[list[str]], int],
) -> None:
    plain, labels, n = pool
    scores = [[NAN if s is None else s for s in one] for one in plain]
    most = feasible([np.array(one, float) for one in scores], 0)
    found = select(scores, labels, n)
    assert len(found.rows) == len(set(found.rows.tolist())) == min(n, most)
    if n > most:
        with pytest.raises(ValueError, match="infeasible"):
            printed.select(plain, labels, n)
        return
    expected = printed.select(plain, labels, n)
    names = bins_of(labels).names
    got = zip(found.rows.tolist(), found.capability.tolist(), found.bins.tolist(), strict=True)
    assert [(row, c, names[b]) for row, c, b in got] == expected[:n]
    assert found.tied.tolist() == printed.tied(plain, labels, expected)[:n]


@given(pools(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_u11_the_order_of_the_rows_does_not_count(
    pool: tuple[list[list[int | None]], list[list[str]], int], chance: random.Random
) -> None:
    plain, labels, n = pool
    scores = [[NAN if s is None else s for s in one] for one in plain]
    there = select(scores, labels, n).rows
    moved = list(range(len(labels)))
    chance.shuffle(moved)
    place = np.argsort(moved)  # where each row, in the order of its key, stands now
    found = select(
        [[one[i] for i in moved] for one in scores], [labels[i] for i in moved], n, place=place
    )
    assert [moved[row] for row in found.rows.tolist()] == there.tolist()


PROGRAM = """
import numpy as np
from visift.methods.mmssr_sampling import Bins, Queue, ranked, sample_queues
styles = [(f"{a}{i % 4}", f"{a}{i % 3}") for a in "qrst" for i in range(25)]
bins = Bins.of(styles, np.arange(100))
score = np.arange(100) % 6
queue = Queue.of(bins, *ranked(score, 0, np.arange(100)))
print(sample_queues(20, 100, [queue]).rows.tolist())
"""


def test_u11_the_hash_seed_does_not_count() -> None:
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(PROGRAM, {})
    elsewhere = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout == here.getvalue()

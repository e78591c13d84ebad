"""`longest`: answers by length, in characters or in tokens that somebody counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import open_records, talk
from methods.choosing import chosen
from visift.methods.longest import clipped
from visift.pool.pool import Pool


def pool_of(folder: Path, lengths: list[int]) -> Pool:
    """Records whose answers have these many characters, sources a and b in turn."""
    return open_records(
        folder,
        [talk(f"q{n}", "x" * size, source="ab"[n % 2]) for n, size in enumerate(lengths)],
    )


def test_longest_first_and_the_inverse(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [5, 9, 1, 7])
    choice = chosen(pool, "longest", 3, clip=100)
    assert choice.rows.tolist() == [1, 3, 0]
    assert choice.score.tolist() == [5, 9, 1, 7]
    assert choice.reasons[0] == "answers of 9 characters (median 6)"
    assert choice.facts["direction"] == "highest first"
    short = chosen(pool, "longest", 3, order="short")
    assert short.rows.tolist() == [2, 0, 3]
    assert short.facts["direction"] == "lowest first"


def test_all_turns_of_the_assistant_count_and_no_other(tmp_path: Path) -> None:
    said = {"from": "gpt", "value": "four"}
    several = {"conversations": [{"from": "human", "value": "y" * 50}, said, said]}
    pool = open_records(tmp_path, [talk("q", "seven77"), several])
    assert chosen(pool, "longest", 2).score.tolist() == [7, 8]


def test_outliers_are_equally_long_and_settled_by_tie_key(tmp_path: Path) -> None:
    lengths = [10] * 96 + [500, 600, 700, 800]
    pool = pool_of(tmp_path, lengths)
    choice = chosen(pool, "longest", 4, clip=96)
    keys = pool.tie_keys(0)
    assert choice.rows.tolist() == sorted(range(96, 100), key=lambda row: int(keys[row]))
    assert max(choice.score) == 800
    assert clipped(np.array([1.0, 2.0, 3.0]), 50).tolist() == [1, 2, 2]


def test_per_source_keeps_the_mixture(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [9, 1, 8, 2, 7, 3])
    assert chosen(pool, "longest", 2).rows.tolist() == [0, 2]
    assert chosen(pool, "longest", 2, per_source=True, clip=100).rows.tolist() == [0, 5]


def test_imported_tokens_win_over_characters(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [5, 9, 1, 7])
    file = tmp_path / "tokens.parquet"
    pq.write_table(pa.table({"row": [0, 1, 2, 3], "answer_tokens": [3, 1, 4, 2]}), file)
    choice = chosen(pool, "longest", 2, signals=file)
    assert choice.rows.tolist() == [2, 0]
    assert choice.reasons[0] == "answers of 4 tokens (median 2)"


@pytest.mark.parametrize("n", [1, 2, 5])
def test_nested(tmp_path: Path, n: int) -> None:
    pool = pool_of(tmp_path, [3, 3, 2, 2, 2, 1])
    smaller, larger = (chosen(pool, "longest", k).rows.tolist() for k in (n, n + 1))
    assert larger[:n] == smaller


def test_rows_that_rank_like_one_left_out_are_tied(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [9, 7, 7, 7, 1])
    choice = chosen(pool, "longest", 3, clip=100)
    assert choice.tied.tolist() == [False, True, True]
    assert not chosen(pool, "longest", 4, clip=100).tied.any()
    # b has 7 and 7, a has 9, 7 and 1: a tie is one inside a group.
    choice = chosen(pool, "longest", 3, clip=100, per_source=True)
    tied = dict(zip(choice.rows.tolist(), choice.tied.tolist(), strict=True))
    assert [tied.get(row) for row in (0, 2)] == [False, False]
    assert [tied[row] for row in (1, 3) if row in tied] == [True]

"""Selections held against each other: every figure is what its definition says."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import open_records, sources_pool, talk, write_json, write_lines
from visift.comparing.compare import compare, copy_numbers
from visift.comparing.comparison import Comparison, Split
from visift.comparing.sides import Side, open_sides, short_names
from visift.errors import InputError
from visift.pool.pool import Pool
from visift.run import select
from visift.selection import Choice, Selection

LOWEST, HIGHEST = "lowest first", "highest first"


def made(
    folder: Path,
    records: list[Any],
    rows: list[int],
    scores: list[float] | None = None,
    *,
    direction: str = LOWEST,
    bad: dict[int, str] | None = None,
    status: dict[int, str] | None = None,
) -> Side:
    """Return the side of a selection of some rows, as a run would have written it."""
    pool = open_records(folder, records)
    score = np.full(len(pool), np.nan) if scores is None else np.array(scores)
    said = [(status or {}).get(row) for row in range(len(pool))]
    choice = Choice(
        rows=np.array(rows),
        reasons=[f"reason {row}" for row in rows],
        score=score,
        group=[None] * len(pool),
        status=said,
        tied=np.zeros(len(rows), bool),
        facts={"direction": direction, "usable": len(pool)},
    )
    selection = Selection.of(pool, choice, bad or {})
    columns = ["content_hash", "uid", "source", "task", "score"]
    return Side(
        name=folder.name,
        path=folder,
        method="made",
        budget=None,
        chosen=selection.table.select([*columns, "reason"]),
        pool=selection.scores.select([*columns, "status"]),
        lowest_first=direction == LOWEST,
    )


def numbered(size: int, **rest: Any) -> list[dict[str, Any]]:
    return [talk(f"question {n}", **rest) for n in range(size)]


RECORDS = [talk(f"{n}", source="abc"[n % 3]) for n in range(12)]


def test_overlap_of_two_selections(tmp_path: Path) -> None:
    a = made(tmp_path / "a", RECORDS, [0, 1, 2, 3])
    b = made(tmp_path / "b", RECORDS, [2, 5, 3, 6, 7, 8])
    pair = compare([a, b]).pairs[0]
    assert (pair.first, pair.second, pair.both, pair.only_first, pair.only_second) == (
        *("a", "b"),
        *(2, 2, 4),
    )
    assert (pair.jaccard, pair.shared, pair.expected) == (2 / 8, 12, 4 * 6 / 12)


def test_the_overlap_by_chance_is_that_of_all_selections(tmp_path: Path) -> None:
    """Mean and deviation over every selection of two of five, against one of three."""
    a, b = made(tmp_path / "a", numbered(5), [0, 1, 2]), made(tmp_path / "b", numbered(5), [0, 4])
    overlaps = [len({0, 1, 2} & set(two)) for two in itertools.combinations(range(5), 2)]
    pair = compare([a, b]).pairs[0]
    assert pair.expected == pytest.approx(np.mean(overlaps))
    assert pair.spread == pytest.approx(np.std(overlaps))


def test_records_that_were_ruled_out_could_not_be_chosen(tmp_path: Path) -> None:
    a = made(tmp_path / "a", numbered(10), [0, 1], bad={9: "image missing: x"})
    ruled_out = {8: "have", 7: "duplicate: of pool.json#6"}
    b = made(tmp_path / "b", numbered(10), [0, 1], status=ruled_out)
    found = compare([a, b])
    assert (found.pairs[0].shared, found.pairs[0].spread) == (7, None)
    assert found.pairs[0].expected == pytest.approx(7 * (2 / 9) * (2 / 8))
    assert found.notices == ("a could choose from 9 records, b from 8; 7 of them are the same",)


def test_ranks_are_compared_on_common_records(tmp_path: Path) -> None:
    a = made(tmp_path / "a", RECORDS, [0, 9, 1, 2, 3])
    b = made(tmp_path / "b", RECORDS, [1, 0, 10, 2, 3])
    ranks = compare([a, b]).pairs[0].ranks
    assert (ranks.records, ranks.spearman, ranks.kendall) == (4, 1 - 6 * 2 / 60, (5 - 1) / 6)


@pytest.mark.parametrize(("direction", "sign"), [(LOWEST, 1), (HIGHEST, -1)])
def test_scores_agree_where_good_records_are_the_same(
    tmp_path: Path, direction: str, sign: int
) -> None:
    a = made(tmp_path / "a", numbered(4), [0], [1.0, 2.0, 3.0, np.nan])
    b = made(tmp_path / "b", numbered(4), [0], [5.0, 6.0, 8.0, 9.0], direction=direction)
    scores = compare([a, b]).pairs[0].scores
    assert scores is not None
    assert (scores.records, scores.spearman) == (3, sign)


def test_selections_without_scores_have_no_agreement_of_scores(tmp_path: Path) -> None:
    a, b = (made(tmp_path / name, numbered(4), [0, 1]) for name in "ab")
    assert compare([a, b]).pairs[0].scores is None


def test_reordered_and_renamed_pools_are_the_same_records(tmp_path: Path) -> None:
    again = [talk("twice"), talk("once"), talk("twice"), talk("thrice")]
    other = [again[at] for at in (3, 2, 1, 0)]
    a, b = made(tmp_path / "a", again, [2, 3]), made(tmp_path / "b", other, [0, 1, 3])
    pair = compare([a, b]).pairs[0]
    assert (pair.both, pair.only_first, pair.only_second, pair.shared) == (2, 0, 1, 4)


def test_mix_by_source(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", RECORDS, [0, 3, 1, 4]), made(tmp_path / "b", RECORDS, [0, 2])
    (mix,) = compare([a, b]).mixes
    assert [(part.name, part.pool, part.chosen, part.difference) for part in mix.parts] == [
        ("a", 4, (2, 1), 0.0),
        ("b", 4, (2, 0), -0.5),
        ("c", 4, (0, 1), 0.5),
    ]


def test_the_widest_gap_between_more_than_two(tmp_path: Path) -> None:
    sides = [made(tmp_path / name, RECORDS, rows) for name, rows in
             (("a", [0, 3]), ("b", [0, 1]), ("c", [1, 4]))]  # fmt: skip
    found = compare(sides)
    assert [pair.first + pair.second for pair in found.pairs] == ["ab", "ac", "bc"]
    assert [part.difference for part in found.mixes[0].parts] == [1.0, 1.0, 0.0]


def test_tasks_are_shown_where_they_say_something_else(tmp_path: Path) -> None:
    records = [talk(str(n), source="s", task="tu"[n % 2]) for n in range(4)]
    a, b = made(tmp_path / "a", records, [0]), made(tmp_path / "b", records, [1])
    assert [mix.kind for mix in compare([a, b]).mixes] == ["source", "task"]


def test_where_they_disagree(tmp_path: Path) -> None:
    scores = [n / 10 for n in range(12)]
    a = made(tmp_path / "a", RECORDS, [0, 1, 2, 4], scores)
    b = made(tmp_path / "b", RECORDS, [0, 5], scores, bad={1: "image missing: x"},
             status={4: "duplicate: of 1"})  # fmt: skip
    pair = compare([a, b]).pairs[0]
    assert pair.sources == (Split("b", 0, 2, 0), Split("c", 0, 1, 1), Split("a", 1, 0, 0))
    assert [(e.rank, e.uid, e.reason, e.there) for e in pair.left_out_by_second] == [
        (2, "pool.json#1", "reason 1", "set aside: image missing: x"),
        (3, "pool.json#2", "reason 2", "not selected (score 0.2)"),
        (4, "pool.json#4", "reason 4", "duplicate: of 1"),
    ]
    assert [e.uid for e in pair.left_out_by_first] == ["pool.json#5"]


def test_pools_that_are_not_the_same_are_named_first(tmp_path: Path) -> None:
    a = made(tmp_path / "a", numbered(10), [0, 1])
    b = made(tmp_path / "b", [talk(f"else {n}") for n in range(10)], [0, 1])
    c = made(tmp_path / "c", [*numbered(4), *(talk(f"more {n}") for n in range(6))], [0, 5])
    found = compare([a, b, c])
    assert found.notices[0].startswith("a and b share no record at all")
    assert "a and c come from different pools, which share 4 records" in found.notices[1]
    assert found.pairs[1].left_out_by_first[0].there == "not in its pool"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return sources_pool(tmp_path / "data", {"coco": 30, "gqa": 15}, text=10)


def opened(*paths: Path, **how: Any) -> Comparison:
    return compare(open_sides(paths, how.pop("pool", None), **how))


def test_runs_of_reordered_pools(pool: Path, tmp_path: Path) -> None:
    whole = json.loads(pool.read_text())
    random.Random(2).shuffle(whole)
    other = write_lines(pool.parent / "other.jsonl", whole)
    for name, file in (("one", pool), ("two", other)):
        select(file, method="stratified", budget="20%", output=tmp_path / name, export=())
    found = opened(tmp_path / "one", tmp_path / "two")
    assert (found.pairs[0].both, found.pairs[0].ranks.kendall) == (11, 1.0)
    assert [side.name for side in found.sides] == ["one", "two"]
    assert found.notices == (
        "one and two order records by the same seed: where nothing else decides they take the "
        "same ones, more than two random selections would",
    )


def test_a_published_list_against_a_run(pool: Path, tmp_path: Path) -> None:
    select(pool, method="random", budget="20%", output=tmp_path / "out")
    subset = tmp_path / "out/export/llava/subset.json"
    listed = write_json(tmp_path / "theirs.json", json.loads(subset.read_text())[:5])
    (pair,) = opened(tmp_path / "out", listed).pairs
    assert (pair.both, pair.only_first, pair.only_second, pair.expected) == (5, 6, 0, None)
    (pair,) = opened(tmp_path / "out", listed, pool=Pool.open(pool)).pairs
    assert pair.expected == pytest.approx(11 * 5 / 55)


def test_lists_of_ids_need_a_pool(pool: Path, tmp_path: Path) -> None:
    for name, rows in (("a", [0, 1, 99]), ("b", [1, 2])):
        write_json(tmp_path / f"{name}.json", rows)
    with pytest.raises(InputError, match="says nothing without a pool"):
        opened(tmp_path / "a.json", tmp_path / "b.json")
    found = opened(tmp_path / "a.json", tmp_path / "b.json", pool=Pool.open(pool), by="row")
    assert (found.pairs[0].both, found.pairs[0].only_first) == (1, 1)
    assert "a.json: 1 of its entries are not in the pool and not counted" in found.notices


def test_tables_of_content_hashes_compare_by_themselves(tmp_path: Path) -> None:
    hashes = [f"{n:032x}" for n in range(1, 5)]
    for name, some in (("a", hashes[:3]), ("b", hashes[1:])):
        pq.write_table(pa.table({"content_hash": some}), tmp_path / f"{name}.parquet")
    found = opened(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert (found.pairs[0].both, found.pairs[0].jaccard, found.mixes) == (2, 0.5, ())


def test_what_cannot_be_compared(pool: Path, tmp_path: Path) -> None:
    listed = write_json(tmp_path / "a.json", ["nobody"])
    with pytest.raises(InputError, match="a comparison needs two selections"):
        opened(listed)
    with pytest.raises(InputError, match="is named twice"):
        opened(listed, tmp_path / "data/../a.json")
    other = write_json(tmp_path / "b.json", ["coco/1.png"])
    with pytest.raises(InputError, match="none of its records is in the pool"):
        opened(listed, other, pool=Pool.open(pool))
    with pytest.raises(InputError, match="there is no such file or folder"):
        opened(tmp_path / "none", listed)
    unreadable = write_json(tmp_path / "c.json", [{"conversations": 1}])
    with pytest.raises(InputError, match="none of its records can be read"):
        opened(unreadable, write_json(tmp_path / "d.json", [talk()]))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/r/a", "/r/b"], ["a", "b"]),
        (["/r/a/out", "/r/b/out"], ["a", "b"]),
        (["/r/a.json", "/s/b.json"], ["a.json", "b.json"]),
        (["/r/a/out", "/r/b/out", "/r/c"], ["a/out", "b/out", "r/c"]),
        (["/a", "/a/b"], ["a", "b"]),
    ],
)
def test_names_are_as_short_as_they_can_be(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans())))
def test_copies_are_numbered_chosen_ones_first(pairs: list[tuple[int, bool]]) -> None:
    codes, later = (np.array(column, np.int64) for column in zip(*pairs, strict=True)) if pairs \
        else (np.empty(0, np.int64), np.empty(0, np.int64))  # fmt: skip
    numbers = copy_numbers(codes, later.astype(bool)).tolist()
    for code in set(codes.tolist()):
        mine = [(late, at, number) for at, ((c, late), number) in
                enumerate(zip(pairs, numbers, strict=True)) if c == code]  # fmt: skip
        assert [number for _, _, number in sorted(mine)] == list(range(len(mine)))

"""The random methods and the random arms: exact totals, nested, and shares that match."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import open_records, put_images, sources_only, talk, write_json
from methods.choosing import chosen
from visift.errors import InfeasibleBudget, InputError
from visift.methods.controls import matched_control, proportional_random
from visift.pool.pool import Pool


@cache
def mixed_pool() -> Pool:
    """60 rows: three sources of 30, 15 and 5 rows that share 20 images, 10 text-only rows."""
    folder = Path(mkdtemp())
    names = [f"{s}/{n % m}.png" for s, size, m in (("a", 30, 9), ("b", 15, 7), ("c", 5, 4))
             for n in range(size)]  # fmt: skip
    put_images(folder, sorted(set(names)))
    records = [talk(f"<image>{n}", image=name) for n, name in enumerate(names)]
    return open_records(folder, records + [talk(f"text {n}") for n in range(10)])


def counts(pool: Pool, rows: np.ndarray[Any, Any]) -> Counter[str | None]:
    sources = pool.index["source"].to_pylist()
    return Counter(sources[row] for row in rows)


def test_random_is_the_lowest_tie_keys() -> None:
    pool = mixed_pool()
    keys = pool.tie_keys(5)
    assert chosen(pool, "random", 7, seed=5).rows.tolist() == np.argsort(keys)[:7].tolist()


@pytest.mark.parametrize("method", ["random", "stratified"])
@given(n=st.integers(1, 59), seed=st.integers(0, 3))
def test_exact_totals_nested_and_no_row_twice(method: str, n: int, seed: int) -> None:
    smaller, larger = (chosen(mixed_pool(), method, k, seed).rows for k in (n, n + 1))
    assert len(larger) == n + 1 == len(set(larger.tolist()))
    assert smaller.tolist() == larger[:-1].tolist()


@pytest.mark.parametrize("method", ["random", "stratified"])
@given(n=st.integers(1, 20))
def test_image_budgets_are_kept_and_nested(method: str, n: int) -> None:
    pool = mixed_pool()
    rows = chosen(pool, method, f"{n}-images").rows
    assert len(pool.images.of_rows(rows)) == n
    if n > 1:
        fewer = chosen(pool, method, f"{n - 1}-images").rows
        assert rows[: len(fewer)].tolist() == fewer.tolist()
    if len(rows) < len(pool):
        order = chosen(pool, method, "100%").rows
        assert len(pool.images.of_rows(order[: len(rows) + 1])) == n + 1


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_budgets_that_cannot_be_met(method: str) -> None:
    with pytest.raises(InputError, match="needs a budget"):
        chosen(mixed_pool(), method, None)
    for budget in ("61", "0", "21-images"):
        with pytest.raises(InfeasibleBudget, match="Largest"):
            chosen(mixed_pool(), method, budget)
    assert len(chosen(mixed_pool(), method, "100%").rows) == 60


@pytest.mark.parametrize(
    ("sizes", "n", "weights", "wanted"),
    [
        ((50, 30, 20), 10, "proportional", (5, 3, 2)),
        ((50, 30, 20), 10, "uniform", (4, 3, 3)),
        ((50, 30, 20), 10, "sqrt", (4, 3, 3)),
        ((2, 30, 20), 12, "uniform", (2, 5, 5)),
    ],
)
def test_stratified_quotas(
    tmp_path: Path, sizes: tuple[int, ...], n: int, weights: str, wanted: tuple[int, ...]
) -> None:
    pool = sources_only(tmp_path, dict(zip("abc", sizes, strict=True)))
    choice = chosen(pool, "stratified", n, weights=weights)
    assert counts(pool, choice.rows) == dict(zip("abc", wanted, strict=True))


@pytest.mark.parametrize(
    ("given", "n", "wanted"),
    [
        ({"max": 4}, 10, (4, 4, 2)),
        ({"max": "a:3"}, 10, (3, 4, 3)),
        ({"min": 3}, 10, (4, 3, 3)),
        ({"min": "c:5"}, 10, (3, 2, 5)),
        ({"weights": "a:1,*:2"}, 10, (2, 4, 4)),
        ({"weights": {"a": 0, "b": 1, "c": 1}}, 10, (0, 5, 5)),
        ({"weights": "power:2"}, 10, (7, 2, 1)),
    ],
)
def test_tables_floors_and_caps(
    tmp_path: Path, given: dict[str, Any], n: int, wanted: tuple[int, ...]
) -> None:
    pool = sources_only(tmp_path, {"a": 50, "b": 30, "c": 20})
    choice = chosen(pool, "stratified", n, **given)
    assert counts(pool, choice.rows) == {s: k for s, k in zip("abc", wanted, strict=True) if k}
    fewer = chosen(pool, "stratified", n - 1, **given).rows
    assert choice.rows[:-1].tolist() == fewer.tolist()


def test_caps_bound_the_budget_and_shares_mean_all_rows(tmp_path: Path) -> None:
    pool = sources_only(tmp_path, {"a": 50, "b": 30, "c": 20})
    assert len(chosen(pool, "stratified", "30%", max=10).rows) == 30
    with pytest.raises(InfeasibleBudget, match="is 31, but the caps of the groups allow 30"):
        chosen(pool, "stratified", "31%", max=10)
    with pytest.raises(InputError, match="min=5 of a is more than its largest, 4"):
        chosen(pool, "stratified", "10%", max=4, min=5)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_kept_rows_come_first_and_have_rows_never(tmp_path: Path, method: str) -> None:
    records = [talk(f"q{n}", source="ab"[n % 2]) for n in range(20)]
    write_json(tmp_path / "pool.json", records)
    write_json(tmp_path / "mine.json", [*records[:2], talk("new", source="a")])
    write_json(tmp_path / "old.json", records[4:8])
    pool = Pool.open(
        tmp_path / "pool.json", keep=tmp_path / "mine.json", have=tmp_path / "old.json"
    )
    everything = chosen(pool, method, "100%")
    assert sorted(everything.rows[:3]) == [20, 21, 22]
    assert sorted(everything.rows[3:]) == [2, 3, *range(8, 20)]
    assert everything.facts["usable"] == 17
    assert chosen(pool, method, "1x keep").rows.tolist() == everything.rows[:6].tolist()


def test_stratified_takes_each_sources_lowest_keys() -> None:
    pool = mixed_pool()
    rows = chosen(pool, "stratified", "50%").rows
    keys = pool.tie_keys(0)
    sources = np.array([str(s) for s in pool.index["source"].to_pylist()])
    assert counts(pool, rows) == {"a": 15, "b": 8, "c": 2, None: 5}
    for source in set(sources):
        inside = keys[sources == source]
        mine = keys[rows[sources[rows] == source]]
        assert mine.tolist() == np.sort(inside)[: len(mine)].tolist()


def test_reasons_and_groups_can_be_checked() -> None:
    pool = mixed_pool()
    choice = chosen(pool, "stratified", 6, seed=3)
    for row, reason in zip(choice.rows.tolist(), choice.reasons, strict=True):
        group = choice.group[row]
        size = {"a": 30, "b": 15, "c": 5, "text-only": 10}[str(group)]
        assert reason == f"drawn at random from {size} {group} records (seed 3)"
    assert choice.facts["nested"] is True
    assert choice.facts["usable"] == 60


def test_a_row_that_cannot_be_used_is_never_drawn(tmp_path: Path) -> None:
    records = [talk(str(n), image="gone.png" if n % 2 else "here.png") for n in range(20)]
    put_images(tmp_path, ["here.png"])
    pool = open_records(tmp_path, records)
    for method in ("random", "stratified"):
        rows = chosen(pool, method, "100%").rows
        assert sorted(rows.tolist()) == list(range(0, 20, 2))


def strata(pool: Pool, rows: np.ndarray[Any, Any]) -> Counter[tuple[str | None, bool]]:
    sources = pool.index["source"].to_pylist()
    return Counter((sources[row], bool(pool.text_only[row])) for row in rows)


@given(st.sets(st.integers(0, 59), min_size=0), st.integers(0, 5))
def test_the_twin_has_the_same_rows_a_source_with_and_without_image(
    rows: set[int], seed: int
) -> None:
    pool = mixed_pool()
    selection = np.array(sorted(rows), np.int64)
    twin = matched_control(pool, selection, pool.rows(), seed)
    assert len(set(twin.tolist())) == len(selection)
    assert strata(pool, twin) == strata(pool, selection)


def test_the_twin_knows_text_and_images_of_one_source_apart(tmp_path: Path) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(10)])
    records = [talk(f"{n}", source="s", image=f"{n}.png") for n in range(10)]
    pool = open_records(tmp_path, records + [talk(f"t{n}", source="s") for n in range(10)])
    selection = np.array([0, 1, 2, 19])
    twin = matched_control(pool, selection, pool.rows(), 0)
    assert strata(pool, twin) == {("s", False): 3, ("s", True): 1}


def test_the_twin_is_another_draw_than_the_random_method() -> None:
    pool = mixed_pool()
    rows = chosen(pool, "stratified", "50%").rows
    twin = matched_control(pool, rows, pool.rows(), 0)
    assert set(twin.tolist()) != set(rows.tolist())
    assert twin.tolist() == matched_control(pool, rows[::-1], pool.rows(), 0).tolist()


@given(st.integers(0, 60))
def test_proportional_random_is_a_prefix_in_the_pools_mix(n: int) -> None:
    pool = mixed_pool()
    rows = proportional_random(pool, n, pool.rows(), 0)
    assert len(set(rows.tolist())) == n
    assert rows.tolist() == proportional_random(pool, 60, pool.rows(), 0)[:n].tolist()
    for (source, text), size in strata(pool, pool.rows()).items():
        assert abs(strata(pool, rows)[source, text] - n * size / 60) <= 1.1


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_a_reordered_pool_gives_the_same_records(tmp_path: Path, method: str) -> None:
    records = [talk(f"{n}", source="ab"[n % 3 == 0]) for n in range(40)]
    one = open_records(tmp_path / "1", records)
    two = open_records(tmp_path / "2", records[::-1])
    hashes = [
        [pool.content_hashes()[row] for row in chosen(pool, method, 15).rows] for pool in (one, two)
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("floor", [5, "b:5", 10**20])
def test_a_floor_is_at_most_what_a_source_has(tmp_path: Path, floor: Any) -> None:
    pool = sources_only(tmp_path, {"a": 50, "b": 3})
    assert counts(pool, chosen(pool, "stratified", 20, min=floor).rows)["b"] == 3
    assert counts(pool, chosen(pool, "stratified", 20, min="b:5", max="a:18").rows)["b"] == 3
    assert len(chosen(pool, "stratified", "100%", max=10**20).rows) == 53
    with pytest.raises(InputError, match="min=5 of b is more than its largest, 4"):
        chosen(pool, "stratified", 20, min="b:5", max=4)

"""What `perplexity`, `ifd` and `visnec` share: exact nested budgets, groups, kept records, cuts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from helpers import open_records, put_images, talk, write_json
from methods.choosing import chosen
from methods.handed_in import losses
from visift.errors import InfeasibleBudget
from visift.methods.row_scores import RowScores, centre_first, cut_facts
from visift.pool.pool import Pool
from visift.selection import Choice

VISUAL, TEXT = 14, 4
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "perplexity, mid": ("perplexity", {}),
    "perplexity, low, per source": ("perplexity", {"band": "low", "per_source": True}),
    "perplexity, mid, per source": ("perplexity", {"per_source": True}),
    "ifd": ("ifd", {"drop_above": 1.5}),
    "ifd, inverse, per source": ("ifd", {"drop_above": 1.5, "order": "low", "per_source": True}),
    "visnec": ("visnec", {}),
    "visnec, all rows together": ("visnec", {"groups": "all", "drop_negative": False}),
    "visnec, text kept": ("visnec", {"text_only": "keep"}),
}
every_method = pytest.mark.parametrize("case", METHODS)
# Few values, so that many are equal.
values = arrays.arrays(np.int64, (2, VISUAL + TEXT), elements=st.integers(1, 6))
orders = st.permutations(range(VISUAL + TEXT))


def records() -> list[dict[str, Any]]:
    shown = [
        talk(f"<image>\nquestion {n}", f"answer {n}", image=f"{n % 9}.png", source="aabbb"[n % 5])
        for n in range(VISUAL)
    ]
    return shown + [talk(f"text {n}", source="ac"[n % 2]) for n in range(TEXT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_images(tmp_path_factory.mktemp("pool"), [f"{n}.png" for n in range(9)])


def choice_of(
    folder: Path,
    case: str,
    budget: str | int,
    values: np.ndarray,
    order: list[int] | None = None,
    **roles: Path,
) -> tuple[Pool, Choice]:
    """Choose from the records in some order, each with the losses that belong to it."""
    method, parameters = METHODS[case]
    order = list(range(VISUAL + TEXT)) if order is None else order
    said = records()
    file = write_json(folder / "pool.json", [said[at] for at in order])
    pool = Pool.open(file, image_folder=folder, **roles)
    nll, other = values[:, order] / 4
    signals = losses(folder, nll=nll, nll_answer_only=other, nll_no_image=other)
    return pool, chosen(pool, method, budget, signals=signals, **parameters)


def hashes(pool: Pool, rows: np.ndarray) -> list[bytes]:
    known = pool.content_hashes()
    return [known[row] for row in rows]


@every_method
@given(values, st.integers(0, 100))
@settings(max_examples=12)
def test_every_budget_is_exact_and_a_prefix_of_the_next(
    folder: Path, case: str, values: np.ndarray, at: int
) -> None:
    values[:, :2] = [[1, 1], [2, 2]]  # two rows of each source that no rule leaves out
    _, everything = choice_of(folder, case, "100%", values)
    usable = int(everything.facts["usable"])
    assert len(everything.rows) == usable
    assert usable + sum(everything.facts["left_out"].values()) == VISUAL + TEXT
    least = TEXT if case == "visnec, text kept" else 1
    n = least + at % (usable - least + 1)
    _, some = choice_of(folder, case, n, values)
    assert some.rows.tolist() == everything.rows[:n].tolist()


@every_method
@given(values, orders)
@settings(max_examples=12)
def test_the_order_of_the_pool_changes_nothing(
    folder: Path, case: str, values: np.ndarray, order: list[int]
) -> None:
    values[:, :2] = [[1, 1], [2, 2]]
    pool, one = choice_of(folder, case, "50%", values)
    first = hashes(pool, one.rows)
    turned, other = choice_of(folder, case, "50%", values, order)
    assert hashes(turned, other.rows) == first
    assert other.tied.tolist() == one.tied.tolist()
    assert list(other.reasons) == list(one.reasons)


@every_method
def test_kept_records_stand_first_and_take_seats(tmp_path: Path, case: str) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(9)])
    said = records()
    keep = write_json(tmp_path / "keep.json", [said[2], talk("mine", source="b")])
    have = write_json(tmp_path / "have.json", [said[0]])
    values = np.tile([[2], [3]], VISUAL + TEXT)
    pool, choice = choice_of(tmp_path, case, "3x keep", values, keep=keep, have=have)
    kept = set(pool.rows("kept").tolist())
    assert set(choice.rows[:2].tolist()) == kept
    assert choice.reasons[:2] == ["kept: named with --keep"] * 2
    assert len(choice.rows) == len(set(choice.rows.tolist())) == 8
    assert not {0, 2} & set(choice.rows.tolist())
    assert np.isnan(choice.score[list(kept)]).all()
    with pytest.raises(InfeasibleBudget, match="fewer than the 2"):
        choice_of(tmp_path, case, 1, values, keep=keep)


@every_method
def test_budgets_in_images_and_tokens_are_prefixes(tmp_path: Path, case: str) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(9)])
    values = np.arange(2 * (VISUAL + TEXT)).reshape(2, -1) % 7 + 1
    values[1] += 2
    _, everything = choice_of(tmp_path, case, "100%", values)
    pool, images = choice_of(tmp_path, case, "4-images", values)
    assert images.rows.tolist() == everything.rows[: len(images.rows)].tolist()
    assert len(pool.images.of_rows(images.rows)) == 4
    _, tokens = choice_of(tmp_path, case, "40-tokens", values)
    assert tokens.rows.tolist() == everything.rows[: len(tokens.rows)].tolist()
    spent = -(-pool.index["text_bytes"].to_numpy() // 4)
    assert spent[tokens.rows].sum() <= 40
    assert spent[everything.rows[: len(tokens.rows) + 1]].sum() > 40


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_ranks_from_the_centre_are_the_windows(rows: list[tuple[int, int]], random: Any) -> None:
    """For every n, the n first of a group are its sorted rows from floor((N - n)/2) on."""
    group = np.array([g for g, _ in rows])
    level = np.array([value for _, value in rows], float)
    keys = np.array(random.sample(range(len(rows)), len(rows)), np.uint64)
    ranks = centre_first(group, level, keys)
    for g in set(group.tolist()):
        mine = np.flatnonzero(group == g)
        ascending = mine[np.lexsort((keys[mine], level[mine]))]
        by_rank = mine[np.argsort(ranks[mine])]
        assert len(set(ranks[mine].tolist())) == len(mine)
        for n in range(len(mine) + 1):
            start = (len(mine) - n) // 2
            assert set(by_rank[:n]) == set(ascending[start : start + n])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.data())
def test_the_cuts_of_a_window_are_where_it_ends(levels: list[int], data: st.DataObject) -> None:
    level, n = np.array(levels, float), data.draw(st.integers(0, len(levels)))
    group, keys = np.zeros(len(level), np.int64), np.arange(len(level), dtype=np.uint64)
    scores = RowScores(level, level, "middle first")
    ranks = scores.ranks(group, keys)
    chosen = ranks < np.sort(ranks)[n] if n < len(level) else np.ones(len(level), bool)
    (facts,) = cut_facts(("all",), group, scores, chosen, ranks)
    ascending = np.sort(level)
    start = (len(level) - n) // 2
    gaps = [ascending[start] - ascending[start - 1]] if n and start else []
    if n and start + n < len(level):
        gaps.append(ascending[start + n] - ascending[start + n - 1])
    assert facts["chosen"] == n
    assert facts["margin"] == min(gaps, default=None)
    assert facts["cut"] == (ascending[start + n - 1] if n else None)
    assert facts["median"] == np.median(level)


def test_pools_without_sources_are_one_group(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk(f"q{n}") for n in range(4)])
    file = losses(tmp_path, nll=[1, 2, 3, 4], nll_answer_only=[5, 5, 5, 5])
    for method in ("perplexity", "ifd"):
        choice = chosen(pool, method, 2, signals=file, per_source=True)
        assert set(choice.group) == {"text-only"}
    assert json.dumps(choice.facts), "facts are plain data"

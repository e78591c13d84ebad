"""`mllm_selector`: seed, necessity, groups, draw; from numbers handed in, so that no model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import open_records, put_images, talk
from methods.choosing import chosen
from visift.errors import InfeasibleBudget, InputError
from visift.methods.mllm_selector import SEED
from visift.pool.pool import Pool
from visift.selection import Choice


def pool_of(folder: Path, count: int = 40, **more: Any) -> Pool:
    """Text records of sources a and b in turn."""
    said = [talk(f"q{n}", f"a{n}", source="ab"[n % 2]) for n in range(count)]
    return open_records(folder, said, **more)


def numbers(folder: Path, **columns: Any) -> Path:
    path = folder / "numbers.parquet"
    count = len(next(iter(columns.values())))
    pq.write_table(pa.table({"row": np.arange(count), **columns}), path)
    return path


def seeds(choice: Choice) -> list[int]:
    pairs = zip(choice.rows.tolist(), choice.reasons, strict=True)
    return [row for row, reason in pairs if reason == SEED]


def drawn(choice: Choice) -> list[int]:
    return choice.rows[len(seeds(choice)) :].tolist()


def select(pool: Pool, folder: Path, budget: Any = 20, **given: Any) -> Choice:
    nll = np.arange(1, len(pool) + 1, dtype=np.float32)
    return chosen(pool, "mllm_selector", budget, signals=numbers(folder, nll=nll), **given)


def test_the_seed_comes_first_and_is_never_drawn_again(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    choice = select(pool, tmp_path, n1="6")
    keys = pool.tie_keys(0, b"seed")
    assert seeds(choice) == sorted(range(40), key=lambda row: int(keys[row]))[:6]
    assert len(set(choice.rows.tolist())) == len(choice.rows) == 20
    assert not set(seeds(choice)) & set(drawn(choice))
    assert choice.facts["seed_rows"] == 6


def test_u7_one_group_is_the_keyed_uniform_draw(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    keys = pool.tie_keys(0, b"draw")
    for alpha in (0, 1, 5):
        choice = select(pool, tmp_path, n1="4", K=1, alpha=alpha)
        rest = [row for row in range(40) if row not in seeds(choice)]
        assert drawn(choice) == sorted(rest, key=lambda row: int(keys[row]))[:16]


def test_u8_alpha_0_keeps_the_mix_of_the_groups(tmp_path: Path) -> None:
    choice = select(pool_of(tmp_path), tmp_path, n1="4", K=3, alpha=0)
    names = [choice.group[row] for row in drawn(choice)]
    counts = [names.count(f"necessity {g} of 3") for g in (1, 2, 3)]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == 16


def test_a_large_alpha_takes_the_neediest_first(tmp_path: Path) -> None:
    choice = select(pool_of(tmp_path), tmp_path, n1="4", K=4, alpha=200)
    rest = sorted(set(range(40)) - set(seeds(choice)))
    assert set(drawn(choice)[:9]) == set(rest[-9:])


def test_the_default_seed_is_5_percent_and_at_most_half_the_budget(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 200)
    assert len(seeds(select(pool, tmp_path, 100))) == 10
    assert len(seeds(select(pool, tmp_path, 8))) == 4
    assert len(seeds(select(pool, tmp_path, 100, n1="10%"))) == 20
    assert len(select(pool, tmp_path, None).rows) == 30


def test_a_seed_as_large_as_the_budget_is_refused(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    with pytest.raises(InputError, match=r"n1=20 is 20 of a budget of 20 records"):
        select(pool, tmp_path, n1="20")
    with pytest.raises(InputError, match=r"a budget of 1 records leaves none"):
        select(pool, tmp_path, 1)


def test_more_than_there_is_names_the_maximum(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleBudget, match="40"):
        select(pool_of(tmp_path), tmp_path, 41)


def test_a_seed_that_was_drawn_elsewhere_is_handed_in(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    nll, marks = np.ones(40, np.float32), np.isin(np.arange(40), [3, 30, 31])
    for given_marks in (marks, marks.astype(np.int8)):
        path = numbers(tmp_path, nll=nll, is_seed=given_marks)
        choice = chosen(pool, "mllm_selector", 10, signals=path)
        assert sorted(seeds(choice)) == [3, 30, 31]
        assert len(choice.rows) == 10


def test_stratified_seeds_hold_the_shares_of_sources(tmp_path: Path) -> None:
    said = [talk(f"q{n}", f"a{n}", source="a" if n < 30 else "b") for n in range(40)]
    pool = open_records(tmp_path, said)
    found = seeds(select(pool, tmp_path, n1="8", seed_stratify=True))
    assert sum(row < 30 for row in found) == 6


def test_per_source_shares_the_rest_by_size(tmp_path: Path) -> None:
    said = [talk(f"q{n}", f"a{n}", source="a" if n < 30 else "b") for n in range(40)]
    pool = open_records(tmp_path, said)
    choice = select(pool, tmp_path, n1="4", per_source=True, alpha=50, K=5, seed_stratify=True)
    found = drawn(choice)
    assert sum(row < 30 for row in found) == 12
    assert set(found) >= {28, 29, 38, 39} - set(seeds(choice))
    assert choice.group[found[0]].startswith(("a, necessity", "b, necessity"))


def test_a_source_smaller_than_k_has_as_many_groups_as_rows(tmp_path: Path) -> None:
    said = [talk(f"q{n}", f"a{n}", source="a" if n < 38 else "b") for n in range(40)]
    choice = select(open_records(tmp_path, said), tmp_path, 39, n1="1", per_source=True)
    assert {name for name in choice.group if name and name.startswith("b")} <= {
        "b, necessity 1 of 2",
        "b, necessity 2 of 2",
        "b, necessity 1 of 1",
    }


def test_n2_is_the_sum_and_needs_numbers_of_tokens(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 10)
    nll, tokens = np.full(10, 0.2, np.float32), np.arange(1, 11, dtype=np.int32)
    path = numbers(tmp_path, nll=nll, answer_tokens=tokens)
    choice = chosen(pool, "mllm_selector", 5, signals=path, score="N2", n1="1")
    scored = np.isfinite(choice.score)
    assert choice.score[scored] == pytest.approx((0.2 * tokens)[scored], abs=1e-6)
    with pytest.raises(InputError, match="answer_tokens"):
        chosen(pool, "mllm_selector", 5, signals=numbers(tmp_path, nll=nll), score="N2")


def test_n3_is_a_ratio_or_a_difference(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 6)
    nll = np.array([1, 2, 3, 4, 5, 6], np.float32)
    without = np.array([2, 2, 2, 2, 2, 0], np.float32)
    path = numbers(tmp_path, nll=nll, nll_no_question=without, is_seed=nll == 1)
    ratio = chosen(pool, "mllm_selector", 3, signals=path, score="N3")
    assert ratio.score[1:5].tolist() == [1, 1.5, 2, 2.5]
    assert np.isnan(ratio.score[[0, 5]]).all()
    assert ratio.status[5] == "no loss to compare with"
    less = chosen(pool, "mllm_selector", 3, signals=path, score="N3-difference")
    assert less.score[1:].tolist() == [0, 1, 2, 3, 6]


def test_n4_is_one_less_agreement(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 4)
    path = numbers(tmp_path, answer_quality=np.array([0, 0.25, 0.5, 1]), is_seed=[1, 0, 0, 0])
    choice = chosen(pool, "mllm_selector", 3, signals=path, score="N4")
    assert choice.score[1:].tolist() == [0.75, 0.5, 0.0]


def test_rows_without_a_value_are_not_chosen(tmp_path: Path) -> None:
    nll = np.arange(1, 41, dtype=np.float32)
    nll[[5, 7]] = np.nan
    path = numbers(tmp_path, nll=nll, is_seed=np.arange(40) < 2)
    choice = chosen(pool_of(tmp_path), "mllm_selector", "100%", signals=path)
    assert sorted(choice.rows.tolist()) == [row for row in range(40) if row not in (5, 7)]
    assert choice.facts["usable"] == 38


def test_short_answers_can_be_left_out(tmp_path: Path) -> None:
    nll, tokens = np.ones(10, np.float32), np.arange(10, dtype=np.int32)
    path = numbers(tmp_path, nll=nll, answer_tokens=tokens, is_seed=tokens == 9)
    choice = chosen(pool_of(tmp_path, 10), "mllm_selector", 4, signals=path, min_answer_tokens=5)
    assert {choice.status[row] for row in range(5)} == {"answer too short"}
    assert set(drawn(choice)) <= {5, 6, 7, 8}


def test_the_mix_moves_by_as_many_nats_as_asked(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 1000)
    found = [
        select(pool, tmp_path, 300, n1="1", diversity="kl", kl_budget=nats).facts["kl_to_pool"]
        for nats in (0.0, 0.05, 0.2)
    ]
    assert found == pytest.approx([0, 0.05, 0.2], abs=0.01)


def test_lambda_given_stands_for_the_divergence(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 200)
    mild, strong = (
        select(pool, tmp_path, 60, n1="1", diversity="kl", lam=lam).facts["kl_to_pool"]
        for lam in (1e6, 30.0)
    )
    assert mild == pytest.approx(0, abs=0.01)
    assert strong > 0.2


@pytest.mark.parametrize(("parts", "cells"), [("groups", 4), ("sources", 2), ("both", 8)])
def test_what_kl_mixes(tmp_path: Path, parts: str, cells: int) -> None:
    choice = select(
        pool_of(tmp_path, 100), tmp_path, 50, n1="1", diversity="kl", kl_parts=parts, K=4
    )
    names = {choice.group[row] for row in drawn(choice)}
    assert len(names) == cells
    assert len(choice.rows) == 50


def test_text_only_rows_are_scored_drawn_at_random_or_dropped(tmp_path: Path) -> None:
    names = [f"a/{n}.png" for n in range(40) if n % 4]
    put_images(tmp_path, names)
    said = [talk(f"<image>\n{name}?", "a", image=name) for name in names]
    pool = open_records(tmp_path, said + [talk(f"q{n}", "a") for n in range(10)])
    text = set(np.flatnonzero(pool.text_only).tolist())
    assert len(text) == 10
    at_random = select(pool, tmp_path, 24, n1="4", text_only="proportional")
    assert np.isnan(at_random.score[sorted(text)]).all()
    left = len(text - set(seeds(at_random)))
    assert abs(len(text & set(drawn(at_random))) - 20 * left / 36) <= 1
    none = select(pool, tmp_path, 24, n1="4", text_only="drop")
    assert not text & set(none.rows.tolist())
    assert {none.status[row] for row in text} == {"text-only: dropped"}
    assert none.facts["usable"] == 30


def test_kept_rows_stand_before_the_seed_and_count(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    kept = open_records(keep, [talk("k0", "x", source="a"), talk("k1", "x", source="a")])
    pool = pool_of(tmp_path, 20, keep=kept.opened["files"])
    nll = np.arange(1, len(pool) + 1, dtype=np.float32)
    choice = chosen(pool, "mllm_selector", 10, signals=numbers(tmp_path, nll=nll), n1="3")
    assert set(choice.rows[:2].tolist()) == set(pool.rows("kept").tolist())
    assert choice.reasons[2:5] == [SEED] * 3
    assert len(choice.rows) == 10


def test_the_order_of_the_pool_does_not_matter(tmp_path: Path) -> None:
    said = [talk(f"q{n}", f"a{n}", source="ab"[n % 2]) for n in range(30)]
    shuffled = [said[i] for i in np.random.default_rng(0).permutation(30)]
    asked = []
    for name, records in (("one", said), ("two", shuffled)):
        folder = tmp_path / name
        folder.mkdir()
        pool = open_records(folder, records)
        nll = [float(pool.record(row).turns[0].text[1:]) + 1 for row in range(30)]
        choice = chosen(pool, "mllm_selector", 15, signals=numbers(folder, nll=nll), n1="3")
        asked.append([pool.record(row).turns[0].text for row in choice.rows.tolist()])
    assert asked[0] == asked[1]


def test_what_is_no_number_of_seed_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--set n1=abc: a number, a percentage or auto"):
        select(pool_of(tmp_path), tmp_path, n1="abc")
    marks = np.zeros(40, bool)
    path = numbers(tmp_path, nll=np.ones(40, np.float32), is_seed=marks)
    with pytest.raises(InputError, match="is_seed of --signals marks 0 of a budget of 10"):
        chosen(pool_of(tmp_path), "mllm_selector", 10, signals=path)


def test_a_share_of_few_that_the_seed_alone_exceeds_is_refused(tmp_path: Path) -> None:
    tokens = np.where(np.arange(40) < 4, 9, 1).astype(np.int32)
    path = numbers(tmp_path, nll=np.ones(40, np.float32), answer_tokens=tokens)
    with pytest.raises(InfeasibleBudget, match="are always in"):
        chosen(pool_of(tmp_path), "mllm_selector", "20%", signals=path, n1="6", min_answer_tokens=5)


def test_a_least_number_of_tokens_needs_numbers_of_tokens(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    with pytest.raises(InputError, match="min_answer_tokens=3 needs numbers"):
        select(pool, tmp_path, min_answer_tokens=3)


def test_text_only_rows_without_a_source_are_scored_like_others(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk(f"q{n}", "a") for n in range(40)])
    choice = select(pool, tmp_path, n1="4", per_source=True, alpha=50, K=4)
    rest = sorted(set(range(40)) - set(seeds(choice)))
    assert set(drawn(choice)[:9]) == set(rest[-9:])


def test_scores_of_the_seed_can_be_had_for_the_report(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    plain, scored = (select(pool, tmp_path, n1="4", score_seed_rows=on) for on in (False, True))
    assert np.isnan(plain.score[seeds(plain)]).all()
    assert scored.score[seeds(scored)].tolist() == [row + 1 for row in seeds(scored)]
    assert drawn(plain) == drawn(scored)


def test_scores_below_0_are_said(tmp_path: Path) -> None:
    nll = np.linspace(0.5, 1.5, 40, dtype=np.float32)
    path = numbers(tmp_path, nll=nll, nll_no_question=np.ones(40, np.float32))
    choice = chosen(pool_of(tmp_path), "mllm_selector", 10, signals=path, score="N3-difference")
    assert any("below 0" in notice for notice in choice.facts["notices"])


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, Path]:
    """A pool of 40 records and its folder."""
    folder = tmp_path_factory.mktemp("forty")
    return pool_of(folder), folder


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_budget_is_met_exactly_whatever_the_parameters(
    forty: tuple[Pool, Path], data: st.DataObject
) -> None:
    pool, folder = forty
    budget = data.draw(st.integers(3, 40))
    given_ = {
        "K": data.draw(st.integers(1, 12)),
        "alpha": data.draw(st.sampled_from([0, 0.5, 1, 3])),
        "groups": data.draw(st.sampled_from(["quantile", "equal_width"])),
        "diversity": data.draw(st.sampled_from(["power", "kl"])),
        "kl_parts": data.draw(st.sampled_from(["groups", "sources", "both"])),
        "per_source": data.draw(st.booleans()),
        "n1": str(data.draw(st.integers(1, budget - 1))),
    }
    scores = data.draw(st.lists(st.floats(0, 9, width=32), min_size=40, max_size=40))
    path = numbers(folder, nll=np.array(scores, np.float32))
    choice = chosen(pool, "mllm_selector", budget, signals=path, **given_)
    assert len(choice.rows) == len(set(choice.rows.tolist())) == budget
    assert len(seeds(choice)) == int(given_["n1"])

"""`tive`: shares of tasks, values of rows, draws; from gradients handed in: no model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import open_records, put_images, talk, write_json
from methods.choosing import chosen
from methods.gradients_in import counts, gradients, pool_of, signals
from reference.tive import instance_values as pairwise
from visift.engine.lab import LocalLab
from visift.errors import InfeasibleBudget, InputError
from visift.methods.compat import tive_counts, tive_draw
from visift.methods.method import build
from visift.methods.tive_values import (
    Temperature,
    effective,
    instance_values,
    softmax,
    task_values,
    task_weights,
    warmup_rows,
)
from visift.pool.pool import Pool
from visift.selection import Choice, Selection
from visift.signals.imported import Imported, SignalFile

U6 = np.array([[1, 0], [0, 1], [3, 4]], np.float64)
V6 = np.array([0.533333333, 0.6, 0.8])


def select(pool: Pool, folder: Path, norm: Any, budget: Any, **given_: Any) -> Choice:
    """Choose with these norms, and random directions that lean to one side."""
    z = np.random.default_rng(1).normal(loc=(2, 0, 0, 0), size=(len(norm), 4))
    path = signals(folder, grad_norm=np.array(norm, np.float32), grad_projection=z)
    return chosen(pool, "tive", budget, signals=path, **given_)


def values(g: Any, of: Any = None, **more: Any) -> np.ndarray:
    g = np.asarray(g, np.float64)
    of = np.zeros(len(g), np.int64) if of is None else np.asarray(of)
    return instance_values(lambda: iter([g]), of, int(of.max()) + 1, **more)


# --- U1 to U5: shares ----------------------------------------------------------------------------


def u1(folder: Path) -> tuple[Pool, list[float]]:
    return pool_of(folder, {"A": 6, "B": 14}), [3.0] * 6 + [1.0] * 14


def test_u1_shares_follow_mean_norms_and_not_sizes(tmp_path: Path) -> None:
    pool, norm = u1(tmp_path)
    a = task_values(np.array(norm), np.repeat([0, 1], [6, 14]), 2)
    assert (a / a.sum()).tolist() == [0.75, 0.25]
    choice = select(pool, tmp_path, norm, "40%")
    assert counts(pool, choice.rows) == {"A": 6, "B": 2}
    assert sorted(choice.rows[choice.rows < 6].tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("allow", {"A": 9, "B": 3}), ("redistribute", {"A": 6, "B": 6}), ("cap", {"A": 6, "B": 3})],
)
def test_u1_what_a_task_cannot_give(policy: str, expected: dict[str, int], tmp_path: Path) -> None:
    pool, norm = u1(tmp_path)
    choice = select(pool, tmp_path, norm, "60%", oversample=policy)
    assert counts(pool, choice.rows) == expected
    assert (len(choice.rows) == len(set(choice.rows.tolist()))) == (policy != "allow")
    assert choice.facts["nested"] == (policy == "redistribute")
    assert choice.facts["copies"] == (3 if policy == "allow" else 0)


def test_u1_copies_say_that_they_are_and_stand_in_the_table(tmp_path: Path) -> None:
    pool, norm = u1(tmp_path)
    choice = select(pool, tmp_path, norm, "60%", oversample="allow")
    assert sum(reason.endswith("copy 2 of it") for reason in choice.reasons) == 3
    selection = Selection.of(pool, choice, {})
    assert len(selection) == 12
    assert selection.table["quota"].to_pylist().count(9) == 9


def test_allow_gives_more_rows_than_there_are(tmp_path: Path) -> None:
    pool, norm = u1(tmp_path)
    choice = select(pool, tmp_path, norm, 40, oversample="allow")
    assert counts(pool, choice.rows) == {"A": 30, "B": 10}
    with pytest.raises(InfeasibleBudget, match="20"):
        select(pool, tmp_path, norm, 40)


def test_u2_mean_square_norms_favour_a_few_large_ones() -> None:
    norm, of = np.array([1.0, 5] * 3 + [1] * 14), np.repeat([0, 1], [6, 14])
    for stat, expected in (("mean_norm", 0.75), ("mean_sq_norm", 0.928571)):
        a = task_values(norm, of, 2, stat)
        assert a[0] / a.sum() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("base", "compat", "expected"),
    [("all", "none", (10, 5)), ("kept", "none", (8, 4)), ("all", "official", (10, 5)),
     ("kept", "official", (8, 4))],
)  # fmt: skip
def test_u3_an_excluded_task_counts_in_the_budget_or_not(
    base: str, compat: str, expected: tuple[int, int], tmp_path: Path
) -> None:
    pool = pool_of(tmp_path, {"A": 40, "B": 40, "textcaps": 20})
    norm = [2.0] * 40 + [1.0] * 40 + [9.0] * 20
    choice = select(
        pool, tmp_path, norm, "15%", exclude_tasks="textcaps", budget_base=base, compat=compat
    )
    assert counts(pool, choice.rows) == {"A": expected[0], "B": expected[1], "textcaps": 0}
    assert choice.status[90] == "excluded task: textcaps"
    assert choice.group[90] is None


def test_u4_exact_totals_and_those_of_the_program(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"A": 40, "B": 40, "C": 20})
    ours = select(pool, tmp_path, [1.0] * 100, "10%")
    assert counts(pool, ours.rows) == {"A": 4, "B": 3, "C": 3}
    theirs = select(pool, tmp_path, [1.0] * 100, "10%", compat="official")
    assert counts(pool, theirs.rows) == {"A": 3, "B": 3, "C": 3}


def test_u5_whole_copies_and_a_rest() -> None:
    (rows,) = tive_draw([np.arange(5)], [np.full(5, 0.2)], np.array([12.7]), 0)
    assert np.bincount(rows).sum() == 12
    assert sorted(np.bincount(rows).tolist()) == [2, 2, 2, 3, 3]
    assert rows[:10].tolist() == [0, 1, 2, 3, 4] * 2


def test_without_a_budget_15_percent_are_chosen(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"A": 40, "B": 40})
    assert len(select(pool, tmp_path, np.ones(80), None).rows) == 12
    assert len(select(pool, tmp_path, np.ones(80), None, p=0.3).rows) == 24


# --- U6 to U10: values and weights ---------------------------------------------------------------


def test_u6_the_mean_cosine_to_all_rows_of_the_task() -> None:
    v = values(U6)
    assert v == pytest.approx([0.533333, 0.6, 0.8], abs=1e-6)
    assert v == pytest.approx(pairwise(U6, np.zeros(3)), abs=1e-12)
    without = pairwise(U6, np.zeros(3), self_included=False)
    assert without == pytest.approx([0.3, 0.4, 0.7], abs=1e-6)
    assert (3 * v - 1) / 2 == pytest.approx(without, abs=1e-12)


def test_u7_weights_at_two_temperatures_and_at_half_the_rows() -> None:
    w = softmax(V6, 0.001)
    assert w == pytest.approx([0.333296, 0.333319, 0.333385], abs=1e-6)
    assert w.max() / w.min() == pytest.approx(1.000267, abs=1e-6)
    w = softmax(V6, 10)
    assert w == pytest.approx([0.057671, 0.112328, 0.830000], abs=1e-6)
    assert effective(w) / 3 == pytest.approx(0.472918, abs=1e-6)
    found = Temperature.solved(V6, 0.5)
    assert found.q == pytest.approx(9.205704, abs=1e-6)
    assert found.share == pytest.approx(0.5, abs=1e-6)
    assert softmax(V6, found.q) == pytest.approx([0.069004, 0.127469, 0.803528], abs=1e-6)


def test_u8_dot_products_prefer_long_gradients() -> None:
    g = np.array([[10, 0], [0.8, 0.6], [0.6, 0.8]])
    assert values(g) == pytest.approx([0.8, 0.92, 0.853333], abs=1e-6)
    dot = values(g, norm=np.linalg.norm(g, axis=1))
    assert dot == pytest.approx([38, 3.32, 2.653333], abs=1e-6)
    assert dot == pytest.approx(pairwise(g, np.zeros(3), "dot"), abs=1e-12)


def test_u9_a_zero_gradient_has_the_value_0_and_can_be_drawn(tmp_path: Path) -> None:
    g = [(1, 0), (0, 1), (0, 0)]
    assert values(g) == pytest.approx([1 / 3, 1 / 3, 0], abs=1e-6)
    pool = pool_of(tmp_path, "aaa")
    choice = chosen(pool, "tive", 3, signals=gradients(tmp_path, g))
    assert sorted(choice.rows.tolist()) == [0, 1, 2]


def test_u10_copies_raise_the_value() -> None:
    g = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    assert values(g).tolist() == [0, 0, 0, 0]
    assert values([*g, (1, 0)]) == pytest.approx([0.2, 0, -0.2, 0, 0.2], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_the_linear_form_is_the_mean_over_all_pairs_however_rows_arrive(
    data: st.DataObject,
) -> None:
    n, d = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    g, of = rng.normal(size=(n, d)).astype(np.float16), rng.integers(0, 3, n)
    g[rng.random(n) < 0.1] = 0
    norm = rng.random(n) * data.draw(st.sampled_from([1e-3, 1, 1e3]))
    length = np.linalg.norm(g.astype(float), axis=1, keepdims=True)
    unit = np.divide(g, length, out=np.zeros((n, d)), where=length > 0)
    step = data.draw(st.integers(1, n))
    for stat, lengths in (("cosine", None), ("dot", norm)):
        whole = instance_values(lambda: iter([g]), of, 3, lengths)
        parts = instance_values(
            lambda: (g[i : i + step] for i in range(0, n, step)), of, 3, lengths
        )
        assert whole.tobytes() == parts.tobytes()
        printed = pairwise(unit if lengths is None else unit * norm[:, None], of, stat)
        assert whole == pytest.approx(printed, abs=1e-6 * max(norm.max() ** 2, 1))


# --- temperature ---------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=30, unique=True),
    st.floats(0.05, 1),
)
def test_bisection_reaches_what_can_be_reached(v: list[float], target: float) -> None:
    found = Temperature.solved(np.array(v), target)
    assert found.q >= 0
    if found.reached:
        assert found.share == pytest.approx(target, abs=1e-4)
    else:
        assert found.share == pytest.approx(1 / len(v), rel=1e-3)


def test_equal_values_have_no_temperature(tmp_path: Path) -> None:
    assert Temperature.solved(np.full(9, 0.3), 0.5) == Temperature(0.0, 1.0, reached=False)
    choice = chosen(pool_of(tmp_path, "aaaa"), "tive", 2, signals=gradients(tmp_path, [(1, 0)] * 4))
    assert len(choice.rows) == 2
    assert any("equal" in said for said in choice.facts["notices"])


def test_values_that_share_the_top_stop_at_their_number() -> None:
    found = Temperature.solved(np.array([1.0, 1, 1, 0]), 0.5)
    assert not found.reached
    assert found.share == pytest.approx(0.75, abs=1e-3)


def test_the_published_temperature_is_said_to_be_uniform(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 30)
    mild = select(pool, tmp_path, np.ones(30), 5, q=0.001)
    assert any("all but uniform" in said for said in mild.facts["notices"])
    assert not select(pool, tmp_path, np.ones(30), 5).facts["notices"]
    sharp = select(pool, tmp_path, np.ones(30), 5, q=1e5)
    assert any("all but a ranking" in said for said in sharp.facts["notices"])
    assert sharp.rows.tolist() == np.argsort(-sharp.score, kind="stable")[:5].tolist()


def test_the_mixture_alone_is_a_preset(tmp_path: Path) -> None:
    pool, norm = u1(tmp_path)
    choice = select(pool, tmp_path, norm, 12, preset="mixture")
    keys = pool.tie_keys(0, b"gumbel")
    assert counts(pool, choice.rows) == {"A": 6, "B": 6}
    own = [row for row in choice.rows.tolist() if row >= 6]
    assert own == sorted(range(6, 20), key=lambda row: -int(keys[row]))[:6]


def test_q_and_ess_target_are_two_ways_to_say_one_thing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both"):
        select(pool_of(tmp_path, "aaaa"), tmp_path, np.ones(4), 2, q=1, ess_target=0.5)


# --- warm-up -------------------------------------------------------------------------------------


def test_u11_the_same_number_of_every_task() -> None:
    assert warmup_rows([400, 400, 200], 0.08).tolist() == [26, 26, 26]
    assert warmup_rows([66_530] * 9 + [66_528], 0.08).tolist() == [5322] * 10


def test_small_tasks_give_what_they_have_and_others_the_rest() -> None:
    assert warmup_rows([900, 95, 5], 0.08).tolist() == [37, 36, 5]
    assert warmup_rows([3, 3], 0.08).tolist() == [1, 1]


def test_a_warm_up_is_drawn_by_its_own_keys_and_needs_no_labels_beyond(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"a": 60, "b": 40})
    path = SignalFile.open(signals(tmp_path, grad_norm=np.ones(100), grad_projection=np.eye(100)))
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"], imported=Imported((path,)))
    warmup = build("tive", {}, seed=3).measure(pool, lab, None).reference.warmup
    keys = pool.tie_keys(3, b"warmup")
    assert counts(pool, warmup) == {"a": 4, "b": 4}
    assert warmup.tolist() == sorted(warmup.tolist(), key=lambda row: int(keys[row]))
    first = sorted(range(60), key=lambda row: int(keys[row]))[:4]
    assert set(warmup.tolist()) >= set(first)
    none = build("tive", {"warmup_ratio": 0}, seed=3).measure(pool, lab, None)
    assert len(none.reference.warmup) == 0


# --- the official program ------------------------------------------------------------------------


def test_official_is_the_program_s_arithmetic_and_draw(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "b" * 20 + "a" * 30 + "b" * 10)
    norm = np.where(np.array(list("b" * 20 + "a" * 30 + "b" * 10)) == "b", 2.0, 1.0)
    choice = select(pool, tmp_path, norm, "25%", seed=7, compat="official")
    state, expected = np.random.RandomState(7), []
    for mine, n in (([*range(20), *range(50, 60)], 10), (list(range(20, 50)), 5)):
        w = np.exp(0.001 * choice.score[mine])
        expected += state.choice(mine, size=n, replace=False, p=w / w.sum()).tolist()
    assert choice.rows.tolist() == expected
    assert choice.facts["nested"] is False


def test_official_multiplies_the_share_by_the_budget_and_truncates() -> None:
    assert tive_counts(np.array([1.0]), 0.15, 1210).tolist() == [181.5]
    assert np.floor(tive_counts(np.array([2.0, 1.0]), 0.15, 80)).tolist() == [8, 4]


def test_what_is_said_wins_over_compat(tmp_path: Path) -> None:
    pool, norm = u1(tmp_path)
    assert len(select(pool, tmp_path, norm, "60%", compat="official").rows) == 12
    capped = select(pool, tmp_path, norm, "60%", compat="official", oversample="cap")
    assert counts(pool, capped.rows) == {"A": 6, "B": 3}
    more = select(pool, tmp_path, norm, "60%", compat="official", oversample="redistribute")
    assert counts(pool, more.rows) == {"A": 6, "B": 6}
    with pytest.raises(InputError, match="images"):
        select(pool, tmp_path, norm, "5-images", compat="official")


def test_weights_too_uneven_to_draw_from_are_refused() -> None:
    with pytest.raises(InputError, match="only 1 of 3"):
        tive_draw([np.arange(3)], [np.array([1.0, 0, 0])], np.array([2.0]), 0)


# --- rows ----------------------------------------------------------------------------------------


def test_rows_without_a_gradient_count_nowhere(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaabbbb")
    norm = np.array([1, 1, 1, np.nan, 3, 3, 3, 3], np.float32)
    choice = select(pool, tmp_path, norm, "100%")
    assert sorted(choice.rows.tolist()) == [0, 1, 2, 4, 5, 6, 7]
    assert choice.facts["usable"] == 7
    table = choice.facts["tables"][0]
    assert [row[:2] for row in table["rows"]] == [["a", "3"], ["b", "4"]]
    assert [row[table["columns"].index("share")] for row in table["rows"]] == ["25.0%", "75.0%"]


def test_no_gradient_at_all_is_an_error(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aab")
    with pytest.raises(InputError, match="all of them are zero"):
        select(pool, tmp_path, np.zeros(3), 2)
    with pytest.raises(InputError, match="no record has a gradient"):
        select(pool, tmp_path, np.full(3, np.nan), 2)


def test_a_task_of_one_row_is_capped_there(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "abbbb")
    choice = select(pool, tmp_path, [100.0, 1, 1, 1, 1], 3)
    assert counts(pool, choice.rows) == {"a": 1, "b": 2}
    assert choice.score[0] == 1.0


def test_text_only_rows_are_a_task_like_others_or_dropped(tmp_path: Path) -> None:
    names = [f"a/{n}.png" for n in range(6)]
    put_images(tmp_path, names)
    said = [talk(f"<image>\n{n}?", image=n, task="a") for n in names]
    pool = open_records(tmp_path, said + [talk(f"text {n}?") for n in range(6)])
    both = select(pool, tmp_path, np.ones(12), 6)
    assert int(pool.text_only[both.rows].sum()) == 3
    assert both.group[11] == "text-only"
    none = select(pool, tmp_path, np.ones(12), 6, text_only="drop")
    assert sorted(none.rows.tolist()) == list(range(6))
    assert none.status[11] == "text-only: dropped"


def test_size_power_brings_sizes_back(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"a": 30, "b": 10})
    assert counts(pool, select(pool, tmp_path, np.ones(40), 8).rows) == {"a": 4, "b": 4}
    by_size = select(pool, tmp_path, np.ones(40), 8, size_power=1)
    assert counts(pool, by_size.rows) == {"a": 6, "b": 2}
    assert task_weights(np.array([2.0, np.nan]), np.array([3, 0]))[1] == 0


def test_a_task_that_is_not_there_cannot_be_excluded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'no task "aa".*"a"'):
        select(pool_of(tmp_path, "abab"), tmp_path, np.ones(4), 2, exclude_tasks="aa")
    with pytest.raises(InputError, match="no record is left"):
        select(pool_of(tmp_path, "aaaa"), tmp_path, np.ones(4), 2, exclude_tasks="a")


@pytest.mark.parametrize("policy", ["redistribute", "cap", "allow"])
def test_kept_rows_stand_first_and_fill_seats_of_their_task(policy: str, tmp_path: Path) -> None:
    said = [talk(f"kept {n}", task="a") for n in range(3)]
    pool = pool_of(tmp_path, {"a": 10, "b": 10}, keep=[write_json(tmp_path / "keep.json", said)])
    choice = select(pool, tmp_path, np.ones(20), 10, oversample=policy)
    assert set(choice.rows[:3].tolist()) == set(pool.rows("kept").tolist())
    assert counts(pool, choice.rows) == {"a": 5, "b": 5}


# --- promises ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, Path]:
    """A pool of 40 records of three tasks, and its folder."""
    folder = tmp_path_factory.mktemp("forty")
    return pool_of(folder, {"a": 25, "b": 10, "c": 5}), folder


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_every_budget_is_met_and_holds_the_smaller_ones(
    forty: tuple[Pool, Path], data: st.DataObject
) -> None:
    pool, folder = forty
    norm = data.draw(st.lists(st.floats(0.125, 8, width=32), min_size=40, max_size=40))
    more: dict[str, Any] = {
        "task_stat": data.draw(st.sampled_from(["mean_norm", "mean_sq_norm"])),
        "instance_stat": data.draw(st.sampled_from(["cosine", "dot"])),
        "size_power": data.draw(st.sampled_from([0, 0.5, 1])),
    }
    small, large = sorted(data.draw(st.lists(st.integers(1, 40), min_size=2, max_size=2)))
    few, many = (select(pool, folder, norm, n, **more) for n in (small, large))
    assert len(set(many.rows.tolist())) == large
    assert few.rows.tolist() == many.rows[:small].tolist()


def test_the_order_of_the_pool_does_not_matter(tmp_path: Path) -> None:
    said = [talk(f"question {n}", task="ab"[n % 2]) for n in range(30)]
    rng = np.random.default_rng(5)
    g, asked = rng.normal(size=(30, 6)), []
    for name, order in (("one", np.arange(30)), ("two", rng.permutation(30))):
        folder = tmp_path / name
        folder.mkdir()
        pool = open_records(folder, [said[i] for i in order])
        choice = chosen(pool, "tive", 12, signals=gradients(folder, g[order]))
        asked.append([pool.record(row).turns[0].text for row in choice.rows.tolist()])
    assert asked[0] == asked[1]


# --- behaviour on planted gradients --------------------------------------------------------------


def auc(low: np.ndarray, high: np.ndarray) -> float:
    """Share of pairs in which the second is larger."""
    return float((high[:, None] > low[None, :]).mean())


def test_a_rows_of_another_direction_have_lower_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(80, 32)) + np.eye(32)[0] * 4
    wrong = rng.normal(size=(20, 32)) * 1.5
    pool = pool_of(tmp_path, "a" * 100)
    path = gradients(tmp_path, np.concatenate([clean, wrong]))
    choice = chosen(pool, "tive", 50, signals=path)
    assert auc(choice.score[80:], choice.score[:80]) > 0.95
    assert (choice.rows >= 80).mean() < 0.12


def test_b_a_task_that_was_not_learnt_gets_more(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"learnt": 50, "new": 50})
    rng = np.random.default_rng(0)
    scale = np.repeat([1.0, 4.0], 50)[:, None]
    path = gradients(tmp_path, rng.normal(size=(100, 8)) * scale)
    found = counts(pool, chosen(pool, "tive", 40, signals=path).rows)
    assert found["new"] > 3 * found["learnt"]


def test_c_near_duplicates_rise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    g = rng.normal(size=(60, 16))
    copies = g[:1] + rng.normal(size=(10, 16)) * 0.05
    alone = values(g)[0]
    assert values(np.concatenate([g, copies]))[0] > alone + 0.1

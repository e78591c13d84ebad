"""`presel`: reference, shares and typical images, from numbers handed in: no model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import open_records, put_images, talk
from methods.choosing import chosen
from visift.errors import AnnotationNeeded, InfeasibleBudget, InputError
from visift.methods.method import build, settings
from visift.methods.presel import REFERENCE
from visift.pool.pool import Pool
from visift.selection import Choice

TASKS = {"a": 60, "b": 30, "c": 10}


def pool_of(folder: Path, sizes: dict[str, int] = TASKS, text: int = 0, **more: Any) -> Pool:
    """One-image records of tasks, then text-only ones."""
    names = [f"{task}/{n:03d}.png" for task, size in sizes.items() for n in range(size)]
    put_images(folder, names)
    said = [talk(f"<image>\n{n}?", "yes", image=n, task=n[0]) for n in names]
    said += [talk(f"text {n}?", "yes") for n in range(text)]
    return open_records(folder, said, **more)


def numbers(pool: Pool, folder: Path, ratio: dict[str, float], **more: Any) -> Path:
    """Losses with these ratios by task, and an embedding a row: task, then place in it."""
    tasks = [task or "" for task in pool.index["task"].to_pylist()]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(pool), 4)) + np.array(
        [[ord((t or "z")[0]) - 96, 0, 0, 0] for t in tasks]
    )
    columns = {
        "row": np.arange(len(pool)),
        "nll": np.array([ratio.get(task, 1.0) for task in tasks], np.float32),
        "nll_no_question": np.ones(len(pool), np.float32),
        "image_embedding": pa.FixedSizeListArray.from_arrays(x.astype(np.float32).ravel(), 4),
        **more,
    }
    pq.write_table(pa.table(columns), folder / "numbers.parquet")
    return folder / "numbers.parquet"


RATIO = {"a": 0.9, "b": 0.5, "c": 0.7}


def select(pool: Pool, folder: Path, budget: Any = 40, **given: Any) -> Choice:
    return chosen(pool, "presel", budget, signals=numbers(pool, folder, RATIO), **given)


def reference(choice: Choice) -> list[int]:
    pairs = zip(choice.rows.tolist(), choice.reasons, strict=True)
    return [row for row, reason in pairs if reason == REFERENCE]


def counts(pool: Pool, rows: Any) -> dict[str, int]:
    tasks = [pool.index["task"][int(row)].as_py() for row in rows]
    return {task: tasks.count(task) for task in TASKS}


def test_the_reference_stands_first_and_has_the_tasks_shares(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    choice = select(pool, tmp_path, ref_ratio="10%")
    assert choice.rows[:10].tolist() == reference(choice)
    # No task without rows of its own, as far as there are any: one a task in turn comes first.
    assert counts(pool, reference(choice)) == {"a": 4, "b": 3, "c": 3}
    assert len(choice.rows) == len(set(choice.rows.tolist())) == 40


def test_auto_takes_20_rows_a_task_where_a_third_of_the_budget_allows_it(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"a": 300, "b": 100, "c": 5})
    assert counts(pool, reference(select(pool, tmp_path, 300))) == {"a": 20, "b": 20, "c": 5}
    assert len(reference(select(pool, tmp_path, 60))) == 20
    assert len(reference(select(pool, tmp_path, 6))) == 2


def test_tasks_whose_questions_matter_get_more(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"a": 100, "b": 100, "c": 100})
    choice = select(pool, tmp_path, 90, kappa=0)
    new = counts(pool, choice.rows[len(reference(choice)) :])
    assert new["b"] > new["c"] > new["a"]
    table = choice.facts["tables"][0]
    assert [row[0] for row in table["rows"]] == ["a", "b", "c"]
    assert table["rows"][1][3] == "0.5"


def test_typical_images_come_first_in_their_cluster(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"a": 50})
    choice = select(pool, tmp_path, 20, rows_per_cluster=100)
    new = choice.rows[len(reference(choice)) :]
    assert (np.diff(choice.score[new]) <= 0).all()
    rest = np.setdiff1d(np.arange(50), choice.rows)
    assert choice.score[rest].max() <= choice.score[new].min()
    assert np.isnan(choice.score[reference(choice)]).all()


def test_rows_of_one_image_are_one_neighbour(tmp_path: Path) -> None:
    put_images(tmp_path, ["a/0.png", "a/1.png", "a/2.png"])
    names = ["a/0.png"] * 5 + ["a/1.png", "a/2.png"]
    pool = open_records(
        tmp_path, [talk(f"<image>\n{i}?", "y", image=n, task="a") for i, n in enumerate(names)]
    )
    angle = np.radians([0, 0, 0, 0, 0, 60, 90])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    path = tmp_path / "n.parquet"
    marks = np.array([0, 0, 0, 0, 1, 0, 0], bool)
    pq.write_table(
        pa.table(
            {
                "row": np.arange(7),
                "nll": np.ones(7),
                "nll_no_question": np.ones(7),
                "is_reference": marks,
                "image_embedding": pa.FixedSizeListArray.from_arrays(x.ravel(), 2),
            }
        ),
        path,
    )
    once = chosen(pool, "presel", 3, signals=path, k=1)
    assert once.score[:4] == pytest.approx([0.5] * 4, abs=1e-6)
    each = chosen(pool, "presel", 3, signals=path, k=1, dedupe_images=False)
    assert each.score[:4] == pytest.approx([1.0] * 4, abs=1e-6)


def test_a_reference_drawn_elsewhere_is_handed_in(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    marks = np.isin(np.arange(100), [3, 70, 95])
    path = numbers(pool, tmp_path, RATIO, is_reference=marks)
    assert sorted(reference(chosen(pool, "presel", 30, signals=path))) == [3, 70, 95]


def test_a_reference_as_large_as_the_budget_is_refused(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    for marks in (np.arange(100) < 50, np.zeros(100, bool)):
        path = numbers(pool, tmp_path, RATIO, is_reference=marks)
        with pytest.raises(InputError, match=r"is_reference of --signals marks (50|0) of a budget"):
            chosen(pool, "presel", 40, signals=path)


def test_text_only_rows_keep_their_turns_where_shares_are_fixed(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, text=20)
    given_: dict[str, Any] = {"text_only": "proportional", "ref_ratio": "10"}
    by_weight = select(pool, tmp_path, 60, **given_)
    fixed = select(pool, tmp_path, 60, fill="random", **given_)
    text = [int(pool.text_only[choice.rows].sum()) for choice in (by_weight, fixed)]
    assert abs(text[0] - text[1]) <= 1


def test_text_only_rows_are_dropped_kept_or_take_turns(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, text=20)
    dropped = select(pool, tmp_path, "40%")
    assert dropped.facts["usable"] == 100
    assert {dropped.status[row] for row in range(100, 120)} == {"text-only: dropped"}
    turns = select(pool, tmp_path, 60, text_only="proportional")
    assert abs(int(pool.text_only[turns.rows].sum()) - 10) <= 2
    kept = select(pool, tmp_path, 60, text_only="keep")
    assert int(pool.text_only[kept.rows].sum()) == 20


def test_what_a_task_cannot_give_goes_to_others_or_nobody(tmp_path: Path) -> None:
    sizes = {"a": 100, "b": 100, "c": 12}
    pool = pool_of(tmp_path, sizes)
    wanting = {"a": 0.9, "b": 0.9, "c": 0.01}
    path = numbers(pool, tmp_path, wanting)
    given_: dict[str, Any] = {"signals": path, "kappa": 0, "ref_ratio": "12"}
    by_weight = chosen(pool, "presel", 90, **given_)
    assert counts(pool, by_weight.rows)["c"] == 12
    assert len(by_weight.rows) == 90
    at_random = chosen(pool, "presel", 90, fill="random", **given_)
    assert len(at_random.rows) == 90
    nobody = chosen(pool, "presel", 90, fill="none", **given_)
    assert len(nobody.rows) < 90
    assert set(nobody.rows.tolist()) <= set(at_random.rows.tolist())


def test_clusters_can_stand_for_tasks(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    choice = select(pool, tmp_path, task_from="cluster:4")
    names = {row[0] for row in choice.facts["tables"][0]["rows"]}
    assert names == {f"cluster {n}" for n in (1, 2, 3, 4)}
    with pytest.raises(InputError, match="cluster:12 was expected"):
        select(pool, tmp_path, task_from="clusters")


def test_the_official_arithmetic_adds_whole_rounds(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, {"a": 200, "b": 150, "c": 50})
    for variant in ("llava", "vision_flan"):
        choice = select(pool, tmp_path, "15%", compat="official", variant=variant, ref_ratio="5%")
        assert len(choice.rows) == 20 + 2 * 20
    with pytest.raises(InputError, match="multiples of 5 %"):
        select(pool, tmp_path, "12%", compat="official")


def test_what_is_set_wins_over_the_official_value() -> None:
    official = {"compat": "official"}
    built = build("presel", official)
    assert (built.kappa, built.irs_form, built.fill) == (0.0, "joined", "random")  # type: ignore[attr-defined]
    origins = {one.name: one.origin for one in settings(built, official)}
    assert (origins["kappa"], origins["k"]) == ("compat official", "code")
    mine = build("presel", {**official, "kappa": "4"})
    assert (mine.kappa, mine.irs_form) == (4.0, "joined")  # type: ignore[attr-defined]


def test_budgets_that_cannot_be(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    with pytest.raises(InfeasibleBudget, match="100"):
        select(pool, tmp_path, 101)
    with pytest.raises(InputError, match=r"ref_ratio=40 is 40 of a budget of 40 records"):
        select(pool, tmp_path, 40, ref_ratio="40")
    assert len(select(pool, tmp_path, None).rows) == 15
    assert len(select(pool, tmp_path, "100%").rows) == 100


def test_the_order_of_the_pool_does_not_matter(tmp_path: Path) -> None:
    names = [f"{'ab'[n % 2]}/{n:03d}.png" for n in range(60)]
    put_images(tmp_path, names)
    asked = []
    for seed in (None, 1):
        order = np.arange(60) if seed is None else np.random.default_rng(seed).permutation(60)
        folder = tmp_path / f"pool-{seed}"
        folder.mkdir()
        said = [talk("<image>\n?", "y", image=names[i], task=names[i][0]) for i in order]
        pool = open_records(folder, said, image_folder=tmp_path)
        x = np.random.default_rng(7).normal(size=(60, 4))[order].astype(np.float32)
        path = folder / "n.parquet"
        columns = {
            "row": np.arange(60),
            "nll": np.linspace(0.2, 0.9, 60)[order],
            "nll_no_question": np.ones(60),
            "image_embedding": pa.FixedSizeListArray.from_arrays(x.ravel(), 4),
        }
        pq.write_table(pa.table(columns), path)
        choice = chosen(pool, "presel", 20, signals=path, rows_per_cluster=10)
        asked.append([pool.record(row).images[0].path for row in choice.rows.tolist()])
    assert asked[0] == asked[1]


def test_images_without_conversations_are_asked_for_first(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    put_images(folder, [f"{task}/{n}.png" for task in "ab" for n in range(30)])
    pool = Pool.open(folder)
    with pytest.raises(AnnotationNeeded, match="10 records of the reference") as need:
        chosen(pool, "presel", 30)
    assert len(need.value.rows) == 10
    assert counts(pool, need.value.rows)["a"] == 5
    assert need.value.purpose == "reference"

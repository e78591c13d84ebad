"""PRISM against the unit and behavioural cases of its specification, by their ids."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reference.prism import redundancy as pairwise_redundancy
from visift.budget import Budget
from visift.engine.lab import LocalLab
from visift.errors import InfeasibleBudget, InputError
from visift.methods.method import build
from visift.methods.prism import redundancy
from visift.methods.ranking import tau_counts
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.imported import Imported, SignalFile

U6 = np.array([(1, 0), (2, 0), (1, 0.5), (2, -0.5), (0, 3)])
U7 = np.array([(10, 1), (10, 0), (10, -1), (9, 0), (-10, 0), (0, 10)], float)
U7_ROWS = (1, 1, 1, 1, 3, 2)


def score(features: Any, center: str = "corpus", group: Any = None) -> np.ndarray:
    """R of all items, from one block."""
    F = np.asarray(features, float)
    of = np.zeros(len(F), np.int64) if group is None else np.asarray(group)
    return redundancy(lambda: iter([F]), of, int(of.max()) + 1, center).R


# --- the statistic ----------------------------------------------------------------------------


def test_u1_raw_cosine() -> None:
    assert score([(1, 0), (0, 1), (3, 4)], "none") == pytest.approx([0.3, 0.4, 0.7], abs=1e-6)


def test_u2_one_dimension() -> None:
    R = score([[0], [0], [0], [4]])
    assert R == pytest.approx([1 / 3, 1 / 3, 1 / 3, -1], abs=1e-6)
    assert R.argmin() == 3


def test_u3_row_centring_is_the_mean_off_diagonal_correlation() -> None:
    F = np.array([(1, 2, 3), (2, 4, 6), (3, 2, 1)], float)
    correlation = np.corrcoef(F)
    expected = (correlation.sum(axis=1) - 1) / 2
    assert score(F, "row") == pytest.approx([0, 0, -1], abs=1e-6)
    assert score(F, "row") == pytest.approx(expected, abs=1e-12)


def test_u4_symmetric_cloud_cancels_out() -> None:
    F = np.array([(3, 0), (0, 3), (-3, 0), (0, -3)]) + 100
    found = redundancy(lambda: iter([F]), np.zeros(4, np.int64), 1)
    assert found.R == pytest.approx([-1 / 3] * 4, abs=1e-6)
    assert found.S_norm[0] == pytest.approx(0, abs=1e-9)
    assert score(F, "none") == pytest.approx([0.999704, 0.999704, 0.999695, 0.999695], abs=1e-6)


def test_u5_identical_features() -> None:
    F = np.full((3, 2), 2.0)
    found = redundancy(lambda: iter([F]), np.zeros(3, np.int64), 1)
    assert found.R.tolist() == [0, 0, 0]
    assert found.zero.all()
    assert score(F, "none") == pytest.approx([1, 1, 1], abs=1e-6)


def test_three_copies_whose_mean_is_rounded_are_zero_vectors() -> None:
    assert score(np.full((3, 2), (0.1, 0.7))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("shift", [0, 1, 100, -3.7])
def test_u6_corpus_centring_ignores_a_shift(shift: float) -> None:
    R = score(U6 + shift)
    expected = [0.224366, -0.017409, 0.023874, 0.096556, -0.646982]
    assert R == pytest.approx(expected, abs=1e-6)
    assert np.argsort(R).tolist() == [4, 1, 2, 3, 0]


def test_u6_raw_cosine_does_not() -> None:
    near = [0.716142, 0.716142, 0.748831, 0.614251, 0.051169]
    far = [0.999941, 0.999913, 0.999943, 0.999888, 0.999746]
    assert score(U6, "none") == pytest.approx(near, abs=1e-6)
    assert score(U6 + 100, "none") == pytest.approx(far, abs=1e-6)
    assert np.argsort(score(U6 + 100, "none")).tolist() == [4, 3, 1, 0, 2]


def test_u7_images_and_rows() -> None:
    found = redundancy(lambda: iter([U7]), np.zeros(6, np.int64), 1)
    expected = [0.262394, 0.262561, 0.249498, 0.258625, -0.638765, -0.515806]
    assert found.R == pytest.approx(expected, abs=1e-6)
    assert found.S_norm[0] == pytest.approx(2.322183, abs=1e-6)
    assert found.R.mean() == pytest.approx(-0.020249, abs=1e-6)
    assert found.R.mean() == pytest.approx((2.322183**2 - 6) / (6 * 5), abs=1e-6)
    rows = score(np.repeat(U7, U7_ROWS, axis=0))
    expected = [-0.048782, -0.055861, -0.063322, -0.057909, *[-0.217391] * 3, *[-0.084790] * 2]
    assert rows == pytest.approx(expected, abs=1e-6)


def test_u9_rounding_gives_the_published_counts() -> None:
    sizes = np.array([86_417, 82_783, 80_000])
    assert tau_counts(0.333, sizes).tolist() == [28_777, 27_567, 26_640]


features = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed))


@given(features, st.sampled_from(["corpus", "row", "none"]), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_u10_linear_form_is_the_pairwise_form(
    random: np.random.Generator, center: str, groups: int
) -> None:
    F = random.normal(size=(60, 7)) * 3 + random.normal(size=7) * 20
    group = random.integers(groups, size=60)
    found = redundancy(lambda: iter([F]), group, groups, center)  # type: ignore[arg-type]
    assert np.abs(found.R - pairwise_redundancy(F, group, center)).max() <= 1e-12


@given(features)
@settings(max_examples=20, deadline=None)
def test_u10_unnormalised_corpus_sums_vanish(random: np.random.Generator) -> None:
    F = random.normal(size=(50, 5)) + 10
    D = F - F.mean(axis=0)
    assert np.abs(D @ D.sum(axis=0)).max() <= 1e-9


@given(features, st.lists(st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_block_sizes_change_no_bit(random: np.random.Generator, cuts: list[int]) -> None:
    F = random.normal(size=(900, 6)).astype(np.float16)
    group = random.integers(3, size=900)
    edges = [e for e in np.cumsum(cuts).tolist() if e < 900]
    whole = redundancy(lambda: iter([F]), group, 3)
    pieces = redundancy(lambda: iter(np.split(F, edges)), group, 3)
    assert whole.R.tobytes() == pieces.R.tobytes()


@given(features)
@settings(max_examples=10, deadline=None)
def test_half_precision_leaves_the_lowest_third_alone(random: np.random.Generator) -> None:
    F = random.normal(size=(300, 64)) + random.normal(size=64)
    lowest = set(np.argsort(score(F))[:100])
    assert len(lowest & set(np.argsort(score(F.astype(np.float16)))[:100])) >= 98


# --- behavioural cases ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six_clusters() -> tuple[np.ndarray, np.ndarray]:
    """3000/600/200/100/50/50 points around six directions, d = 512, on a shared offset."""
    random = np.random.default_rng(0)
    sizes = [3000, 600, 200, 100, 50, 50]
    cluster = np.repeat(np.arange(6), sizes)
    centres = random.normal(size=(6, 512))
    offset = random.normal(size=512) * 2
    return offset + centres[cluster] + 0.5 * random.normal(size=(4000, 512)), cluster


@pytest.mark.parametrize("center", ["corpus", "row", "none"])
def test_b1_small_clusters_are_kept_whole(
    six_clusters: tuple[np.ndarray, np.ndarray], center: str
) -> None:
    F, cluster = six_clusters
    kept = np.zeros(4000, bool)
    kept[np.argsort(score(F, center))[:1200]] = True
    assert kept[cluster > 0].all()
    assert kept[cluster == 0].mean() == pytest.approx(200 / 3000, abs=1e-9)


def test_b2_mean_redundancy(six_clusters: tuple[np.ndarray, np.ndarray]) -> None:
    """The offset dominates raw cosine (the mean is large); centring removes it (near zero)."""
    F, _ = six_clusters
    assert score(F, "none").mean() > 0.7
    assert score(F, "row").mean() > 0.7
    assert abs(score(F, "corpus").mean()) < 0.05


def share_of_copies_kept(copies: int, width: int) -> float:
    """Mean over 100 draws: share of planted copies inside the lowest 30 % of 1,000 Gaussians."""
    shares = []
    for seed in range(100):
        F = np.random.default_rng(seed).normal(size=(1000, width))
        F[:copies] = F[0]
        lowest = np.argsort(score(F), kind="stable")[:300]
        shares.append((lowest < copies).sum() / copies)
    return float(np.mean(shares))


@pytest.mark.parametrize(("width", "measured"), [(256, 0.00), (16, 0.03)])
def test_b3_two_hundred_copies_are_suppressed(width: int, measured: float) -> None:
    """Copies pull the mean towards themselves, so that only many of them are suppressed."""
    assert share_of_copies_kept(200, width) == pytest.approx(measured, abs=0.04)


@pytest.mark.parametrize(("copies", "measured"), [(2, 0.37), (10, 0.28), (50, 0.22)])
def test_b3_few_copies_are_not(copies: int, measured: float) -> None:
    """A share is all or nothing in a draw: the mean of 100 has a standard error near 0.05."""
    assert share_of_copies_kept(copies, 16) == pytest.approx(measured, abs=0.15)


# --- the method on a pool ---------------------------------------------------------------------


def make_pool(
    folder: Path,
    rows: Sequence[tuple[str | list[str] | None, str | None]],
    features: dict[str, Sequence[float]],
) -> tuple[Pool, Imported]:
    """A pool of (image, source) rows on disk, and the features of its images as a signal file."""
    records = []
    for number, (image, source) in enumerate(rows):
        record: dict[str, Any] = {"id": number}
        if image is not None:
            record["image"] = image
        if source is not None:
            record["source"] = source
        text = [{"from": "human", "value": f"q{number}"}, {"from": "gpt", "value": "a"}]
        records.append({**record, "conversations": text})
    (folder / "pool.json").write_text(json.dumps(records))
    for path in features:
        Image.new("RGB", (2, 2)).save(folder / path)
    values = np.array(list(features.values()), np.float64)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    table = pa.table({"image": list(features), "visual_feature": column})
    pq.write_table(table, folder / "features.parquet")
    pool = Pool.open(folder / "pool.json")
    return pool, Imported((SignalFile.open(folder / "features.parquet"),))


def choose(pool: Pool, imported: Imported, budget: str | None = None, **params: Any) -> Choice:
    lab = LocalLab(pool, Path("unused"), lambda: ("cpu",), imported=imported)
    method = build("prism", {"tie": "uid", **params}, seed=0, model=None)
    said = None if budget is None else Budget.parse(budget)
    return method.choose(pool, method.measure(pool, lab, said), said)  # type: ignore[no-any-return]


def u7_pool(folder: Path, sources: Sequence[str] = ("A",) * 6) -> tuple[Pool, Imported]:
    rows = [(f"{m}.png", sources[m]) for m in range(6) for _ in range(U7_ROWS[m])]
    return make_pool(folder, rows, {f"{m}.png": U7[m].tolist() for m in range(6)})


def test_u7_rows_follow_their_image(tmp_path: Path) -> None:
    choice = choose(*u7_pool(tmp_path), tau=0.333)
    assert sorted(choice.rows.tolist()) == [4, 5, 6, 7, 8]


def test_u7_row_unit_takes_three_copies(tmp_path: Path) -> None:
    choice = choose(*u7_pool(tmp_path), unit="row", tau=0.333)
    assert sorted(choice.rows.tolist()) == [4, 5, 6]


def test_u8_scope_all(tmp_path: Path) -> None:
    pool, imported = u7_pool(tmp_path, ("A", "A", "A", "A", "B", "B"))
    choice = choose(pool, imported, scope="all", budget="2-images")
    assert {int(pool.images.of_row(int(r))[0]) for r in choice.rows} == {4, 5}


def test_u8_scope_source(tmp_path: Path) -> None:
    pool, imported = u7_pool(tmp_path, ("A", "A", "A", "A", "B", "B"))
    choice = choose(pool, imported, tau=0.5)
    assert choice.score[[0, 1, 2, 3]] == pytest.approx(
        [-0.294118, -0.171643, -0.294118, -0.495024], abs=1e-6
    )
    assert choice.score[[4, 7]] == pytest.approx([-1, -1], abs=1e-6)
    assert {int(pool.images.of_row(int(r))[0]) for r in choice.rows} == {3, 0, 4}


def test_u4_noise_is_said(tmp_path: Path) -> None:
    corners = [(3, 0), (0, 3), (-3, 0), (0, -3)]
    rows = [(f"{m}.png", "A") for m in range(4)]
    features = {f"{m}.png": (100.0 + x, 100.0 + y) for m, (x, y) in enumerate(corners)}
    choice = choose(*make_pool(tmp_path, rows, features), budget="2")
    assert any("ranking is noise" in notice for notice in choice.facts["notices"])


def test_u5_no_signal_is_an_error(tmp_path: Path) -> None:
    rows = [(f"{m}.png", "A") for m in range(3)]
    pool, imported = make_pool(tmp_path, rows, {f"{m}.png": (2.0, 2.0) for m in range(3)})
    with pytest.raises(InputError, match="no signal"):
        choose(pool, imported, budget="1")


def mixed_pool(folder: Path, images: int = 60, text: int = 20) -> tuple[Pool, Imported]:
    """Three sources of one to three rows an image, and text-only rows."""
    random = np.random.default_rng(1)
    rows: list[tuple[str | list[str] | None, str | None]] = []
    for m in range(images):
        rows += [(f"{m}.png", "abc"[m % 3])] * int(random.integers(1, 4))
    rows += [(None, None)] * text
    order = random.permutation(len(rows))
    features = {f"{m}.png": random.normal(size=5).tolist() for m in range(images)}
    return make_pool(folder, [rows[i] for i in order], features)


def test_every_budget_is_a_prefix_of_one_order(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    longest = choose(pool, imported, budget="100%").rows.tolist()
    assert sorted(longest) == list(range(len(pool)))
    for n in range(1, len(pool)):
        rows = choose(pool, imported, budget=str(n)).rows.tolist()
        assert rows == longest[: len(rows)]
        assert n - 3 < len(rows) <= n, "whole image groups, none that still fits is left out"


def test_text_only_share_is_kept_in_every_prefix(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    text = pool.text_only[choose(pool, imported, budget="100%").rows]
    expected = np.arange(1, len(text) + 1) * text.mean()
    assert np.abs(np.cumsum(text) - expected).max() <= 2


def test_tau_keeps_all_text_and_a_third_of_each_sources_images(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    choice = choose(pool, imported)
    assert pool.text_only[choice.rows].sum() == pool.text_only.sum()
    records = [pool.record(int(r)) for r in choice.rows]
    images = {(r.source, r.images[0].path) for r in records if r.images}
    assert sorted(str(source) for source, _ in images) == ["a"] * 7 + ["b"] * 7 + ["c"] * 7, (
        "floor(.333 * 20 + .5) = 7"
    )


def with_roles(folder: Path) -> tuple[Pool, Imported, list[int]]:
    """The mixed pool beside kept rows: three of source a (two images), one of b, one text-only."""
    pool, imported = mixed_pool(folder)
    records = [pool.record(row) for row in range(len(pool))]
    a = [n for n, r in enumerate(records) if r.source == "a"]
    several = next(n for n in a if sum(r.images == records[n].images for r in records) > 1)
    twins = [n for n in a if records[n].images == records[several].images][:2]
    other = next(n for n in a if n not in twins and records[n].images != records[twins[0]].images)
    b = next(n for n, r in enumerate(records) if r.source == "b")
    text = next(n for n, r in enumerate(records) if not r.images)
    kept = [*twins, other, b, text]
    (folder / "mine.json").write_bytes(b"[" + b",".join(pool.raw(n) for n in kept) + b"]")
    return Pool.open(folder / "pool.json", keep=folder / "mine.json"), imported, kept


def test_kept_rows_rank_first_and_fill_the_seats_of_their_source(tmp_path: Path) -> None:
    pool, imported, kept = with_roles(tmp_path)
    everything = choose(pool, imported, budget="100%")
    assert everything.facts["usable"] == len(everything.rows) == len(pool) - len(kept)
    assert sorted(everything.rows[:5]) == list(pool.rows("kept"))
    assert not set(kept) & set(everything.rows.tolist()), "the same record is not chosen twice"
    assert everything.reasons[:5] == ["kept: named with --keep"] * 5
    for n in (5, 9, 20, 60):
        rows = choose(pool, imported, budget=str(n)).rows.tolist()
        assert rows == everything.rows[: len(rows)].tolist()
    some = choose(pool, imported, budget="36")
    sources = [pool.index["source"][int(row)].as_py() for row in some.rows]
    images = {(s, pool.images.of_row(int(r))[0]) for s, r in zip(sources, some.rows, strict=True)
              if s is not None}  # fmt: skip
    per_source = Counter(source for source, _ in images)
    assert max(per_source.values()) - min(per_source.values()) <= 1, "kept images count in quotas"


def test_kept_rows_count_in_the_text_only_share(tmp_path: Path) -> None:
    pool, imported, _ = with_roles(tmp_path)
    text = pool.text_only[choose(pool, imported, budget="100%").rows]
    expected = np.arange(1, len(text) + 1) * text.mean()
    assert np.abs(np.cumsum(text) - expected)[5:].max() <= 2


def test_kept_rows_need_room(tmp_path: Path) -> None:
    pool, imported, _ = with_roles(tmp_path)
    with pytest.raises(InfeasibleBudget, match="is 4 records, fewer than the 5 of --keep"):
        choose(pool, imported, budget="4")
    assert len(choose(pool, imported, budget="5").rows) == 5
    assert len(choose(pool, imported, budget="2x keep").rows) <= 15


def test_tau_counts_kept_images(tmp_path: Path) -> None:
    pool, imported, _ = with_roles(tmp_path)
    rows = choose(pool, imported, text_only="drop").rows
    shown = {pool.images.refs[i].path for i in pool.images.of_rows(rows[~pool.text_only[rows]])}
    sources = Counter("abc"[int(path.removesuffix(".png")) % 3] for path in shown)
    assert sources == {"a": 7, "b": 7, "c": 7}


def test_text_keeps_its_share_where_kept_images_are_all_that_tau_wants(tmp_path: Path) -> None:
    pool, imported, _ = with_roles(tmp_path)
    rows = choose(pool, imported, tau=0.04, text_only="proportional").rows
    images = len(pool.images.of_rows(rows[~pool.text_only[rows]]))
    assert images == 4  # three kept, and one of the source that nothing kept is of
    alone = choose(pool, imported, tau=0.001, text_only="proportional").rows
    assert set(alone[:5]) == set(pool.rows("kept"))
    assert not pool.images.of_rows(alone[5:]).size
    assert len(alone) <= 7, "not all text-only rows"


def test_a_share_of_nothing_is_an_error(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    with pytest.raises(InfeasibleBudget, match="own share of 60 items selects nothing"):
        choose(pool, imported, tau=0.001, text_only="proportional")
    everything = choose(pool, imported, tau=1.0, text_only="proportional")
    assert len(everything.rows) == len(pool), "text-only rows that rank last are in, too"


def test_budgets_in_tokens(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    tokens = -(-pool.index["text_bytes"].to_numpy() // 4) + 10 * np.diff(pool.images.offsets)
    rows = choose(pool, imported, budget="300-tokens+10/image").rows
    longest = choose(pool, imported, budget="100%").rows
    assert rows.tolist() == longest[: len(rows)].tolist()
    assert 300 - 3 * 11 < tokens[rows].sum() <= 300


def test_kept_text_needs_room(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    with pytest.raises(InfeasibleBudget, match="20 text-only rows"):
        choose(pool, imported, budget="10", text_only="keep")


def test_dropped_text_is_not_usable(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    choice = choose(pool, imported, budget="100%", text_only="drop")
    assert len(choice.rows) == len(pool) - 20 == choice.facts["usable"]


def test_a_reordered_pool_gives_the_same_records(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    records = json.loads((tmp_path / "pool.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "pool.json").write_text(json.dumps(records[::-1]))
    again = Pool.open(other / "pool.json", image_folder=tmp_path)
    chosen = []
    for one in (pool, again):
        rows = choose(one, imported, budget="40", tie="hash").rows
        chosen.append([one.content_hashes()[r] for r in rows])
    assert chosen[0] == chosen[1]


def test_min_per_source_lifts_small_sources(tmp_path: Path) -> None:
    rows = [(f"{m}.png", "big") for m in range(30)] + [("30.png", "small")]
    random = np.random.default_rng(0)
    features = {f"{m}.png": random.normal(size=4).tolist() for m in range(31)}
    pool, imported = make_pool(tmp_path, rows, features)
    assert 30 not in choose(pool, imported).rows
    assert 30 in choose(pool, imported, min_per_source=1).rows
    assert 30 in choose(pool, imported, min_per_source=1, budget="2").rows


def test_several_images_are_one_item_with_their_mean(tmp_path: Path) -> None:
    rows: list[tuple[str | list[str] | None, str | None]] = [
        ("0.png", "A"), ("1.png", "A"), ("2.png", "A"), (["0.png", "1.png"], "A"),
    ]  # fmt: skip
    features = {"0.png": (1.0, 0.0), "1.png": (0.0, 2.0), "2.png": (3.0, 1.0)}
    choice = choose(*make_pool(tmp_path, rows, features), budget="2")
    F = [(1, 0), (0, 2), (3, 1), (0.5, 1)]
    assert choice.score == pytest.approx(score(F), abs=1e-12)


def test_a_group_seen_in_two_sources_belongs_to_the_first(tmp_path: Path) -> None:
    rows = [("0.png", "B"), ("0.png", "A"), ("1.png", "A"), ("2.png", "A")]
    features = {"0.png": (1.0, 0.0), "1.png": (0.0, 2.0), "2.png": (3.0, 1.0)}
    choice = choose(*make_pool(tmp_path, rows, features), budget="100%")
    assert choice.group == ["B", "B", "A", "A"]


def test_rows_without_a_value_are_never_chosen(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    table = pq.read_table(tmp_path / "features.parquet")
    values = table["visual_feature"].to_pylist()
    values[5] = [float("nan")] * 5
    values[6] = None
    column = pa.array(values, pa.list_(pa.float64(), 5))
    pq.write_table(table.set_column(1, "visual_feature", column), tmp_path / "features.parquet")
    rows = choose(pool, imported, budget="100%").rows
    bad = [r for r in range(len(pool)) if pool.record(r).images and
           pool.record(r).images[0].path in ("5.png", "6.png")]  # fmt: skip
    assert bad
    assert not set(bad) & set(rows.tolist())
    assert len(rows) == len(pool) - len(bad)


def test_reasons_can_be_checked(tmp_path: Path) -> None:
    pool, imported = mixed_pool(tmp_path)
    choice = choose(pool, imported)
    reasons = [r for r, row in zip(choice.reasons, choice.rows, strict=True)
               if not pool.text_only[row]]  # fmt: skip
    assert all(r.startswith("among the least similar 35.0% of 20 ") for r in reasons)
    assert all("median" in r for r in reasons)


def test_presets() -> None:
    paper = build("prism", {"preset": "paper"}, seed=0, model=None)
    assert (paper.scope, paper.unit, paper.tau, paper.center) == ("all", "row", 0.30, "corpus")  # type: ignore[attr-defined]
    v1 = build("prism", {"preset": "v1", "tau": "0.2"}, seed=0, model=None)
    assert (v1.center, v1.scope, v1.tau) == ("row", "source", 0.2)  # type: ignore[attr-defined]


def test_without_images_it_says_so(tmp_path: Path) -> None:
    _, imported = make_pool(tmp_path, [(None, None)] * 3 + [("0.png", "A")], {"0.png": (1, 2)})
    (tmp_path / "text.json").write_text(
        json.dumps([{"conversations": [{"from": "gpt", "value": "a"}]}])
    )
    with pytest.raises(InputError, match="no usable record has an image"):
        choose(Pool.open(tmp_path / "text.json"), imported, budget="1")


def test_sources_without_images_are_listed(tmp_path: Path) -> None:
    rows: list[tuple[str | list[str] | None, str | None]] = [
        ("0.png", "A"), ("1.png", "A"), ("2.png", "A"), (None, "chat"), (None, None),
    ]  # fmt: skip
    features = {"0.png": (1.0, 0.0), "1.png": (0.0, 2.0), "2.png": (3.0, 1.0)}
    choice = choose(*make_pool(tmp_path, rows, features), budget="100%")
    assert choice.facts["sources_without_images"] == ["chat"]
    assert [choice.group[r] for r in (3, 4)] == ["text-only", "text-only"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("tau", "0"), ("tau", "-1"), ("tau", "1.01"), ("layer", "-1"), ("min_per_source", "-1"),
     ("score_digits", "0")],
)  # fmt: skip
def test_parameters_outside_their_bounds_are_refused(name: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"--set {name}={value}(\.0)?: (more than|at least) "):
        build("prism", {name: value}, seed=0, model=None)


def ask(pool: Pool, budget: str | None = None, **params: Any) -> None:
    """Ask for what PRISM needs, and read no value."""
    lab = LocalLab(pool, Path("unused"), lambda: ("cpu",))
    said = None if budget is None else Budget.parse(budget)
    build("prism", params, seed=0, model=None).measure(pool, lab, said)


def test_what_cannot_work_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    pool, _ = mixed_pool(tmp_path)
    with pytest.raises(InfeasibleBudget, match="20 text-only rows"):
        ask(pool, "10", text_only="keep")
    with pytest.raises(InfeasibleBudget, match="more than the"):
        ask(pool, str(len(pool)), text_only="drop")
    rows = [("0.png", "A"), ("1.png", None), ("2.png", "A")]
    bare, _ = make_pool(tmp_path, rows, {f"{m}.png": (1.0, m) for m in range(3)})
    with pytest.raises(InputError, match="have no source"):
        ask(bare)
    ask(bare, unlabelled="other")


def test_facts_say_how_much_signal_there_is(tmp_path: Path) -> None:
    choice = choose(*u7_pool(tmp_path), budget="5")
    (group,) = choice.facts["groups"]
    found = redundancy(lambda: iter([U7]), np.zeros(6, np.int64), 1)
    assert group["sd"] == pytest.approx(found.R.std())
    assert group["S_over_N"] == pytest.approx(2.322183 / 6, abs=1e-6)

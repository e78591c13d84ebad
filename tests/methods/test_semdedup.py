"""`semdedup`: images that are nearly the same as an earlier one of their cluster go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import put_images, talk, write_json
from methods.choosing import chosen
from methods.handed_in import at_degrees, embeddings, pool_of
from visift.methods import semdedup
from visift.methods.semdedup import in_order, similarity_to_earlier
from visift.numerics.neighbours import unit_rows
from visift.pool.pool import Pool

ANGLES = (0, 5, 10, 60)


def case(folder: Path, budget: Any = None, **given: Any) -> list[int]:
    """Rows kept of the specification's case: unit vectors in one cluster."""
    file = embeddings(folder, at_degrees(*ANGLES))
    return chosen(pool_of(folder, "aaaa"), "semdedup", budget, signals=file, **given).rows.tolist()


def test_the_order_of_the_specification() -> None:
    vectors = at_degrees(*ANGLES)
    centre = vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0))
    assert in_order(vectors @ centre, "hard").tolist() == [3, 0, 1, 2]
    assert in_order(vectors @ centre, "easy").tolist() == [2, 1, 0, 3]
    assert in_order(vectors @ centre, "random").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("eps", "chain", "kept"),
    [
        (0.003, "all", {0, 1, 2, 3}),
        (0.003, "kept", {0, 1, 2, 3}),
        (0.005, "all", {3, 0}),
        (0.005, "kept", {3, 0, 2}),
    ],
)
def test_the_cases_of_the_specification(
    eps: float, chain: str, kept: set[int], tmp_path: Path
) -> None:
    assert set(case(tmp_path, eps=eps, chain=chain)) == kept


def test_a_budget_takes_the_place_of_eps(tmp_path: Path) -> None:
    assert case(tmp_path, 1) == [3]
    assert set(case(tmp_path, 2)) == {3, 0}
    assert set(case(tmp_path, 3, chain="kept")) == {3, 0, 2}
    assert len(case(tmp_path, "100%", chain="kept")) == 4


def test_reasons_scores_and_facts(tmp_path: Path) -> None:
    file = embeddings(tmp_path, at_degrees(*ANGLES))
    pool = pool_of(tmp_path, "aaaa")
    choice = chosen(pool, "semdedup", 2, signals=file)
    assert choice.score.tolist() == pytest.approx([0.5, 0.996195, 0.996195, -1], abs=1e-6)
    assert choice.reasons == [
        "the first of the 4 images of its cluster",
        "at most 0.5 similar to an earlier one of the 4 images of its cluster "
        "(median of all 0.748)",
    ]
    assert choice.facts["direction"] == "lowest first"
    assert choice.facts["nested"]
    kept = chosen(pool, "semdedup", 2, signals=file, chain="kept")
    assert not kept.facts["nested"]
    assert 0 <= kept.facts["eps"] <= 2


def test_kept_and_had_images_come_first(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(6)]
    put_images(tmp_path, names)
    records = [talk(f"question {n}", image=name) for n, name in enumerate(names)]
    pool = Pool.open(
        write_json(tmp_path / "pool.json", records[:4]),
        image_folder=tmp_path,
        keep=write_json(tmp_path / "keep.json", records[4:5]),
        have=write_json(tmp_path / "have.json", records[5:]),
    )
    file = embeddings(tmp_path, at_degrees(0, 45, 90, 135, 90, 1))
    assert chosen(pool, "semdedup", None, signals=file, eps=0.01).rows.tolist() == [4, 3, 1]
    for chain in ("all", "kept"):
        found = chosen(pool, "semdedup", 3, signals=file, chain=chain).rows.tolist()
        assert found[0] == 4
        assert set(found) == {1, 3, 4}


def test_copies_go_first_however_many(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 9)
    file = embeddings(tmp_path, at_degrees(0, 0, 0, 50, 50, 50, 100, 100, 100))
    rows = chosen(pool, "semdedup", 3, signals=file).rows
    assert sorted(rows // 3) == [0, 1, 2]
    assert len(chosen(pool, "semdedup", None, signals=file, eps=0.001).rows) == 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from([None, 0.1, 0.7]))
@settings(max_examples=40)
def test_blocks_give_what_the_definition_says(seed: int, n: int, eps: float | None) -> None:
    X = unit_rows(np.random.default_rng(seed).normal(size=(n, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semdedup, "_BLOCK_ROWS", 7)
        found = similarity_to_earlier(X, eps, there=min(2, n))
    cosines, stays, expected = X.astype(float) @ X.astype(float).T, [], []
    for i in range(n):
        expected.append(max((cosines[i, j] for j in stays), default=-1.0))
        if eps is None or i < 2 or expected[-1] <= 1 - eps:
            stays.append(i)
    np.testing.assert_allclose(found, expected[2:], atol=1e-12)

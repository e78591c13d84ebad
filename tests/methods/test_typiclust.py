"""`typiclust`: from every cluster of every source the images whose neighbours are nearest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from methods.choosing import chosen
from methods.handed_in import at_degrees, embeddings, pool_of
from visift.methods.typiclust import MOST_TYPICAL, typicality
from visift.numerics.neighbours import mean_distance


def test_the_case_of_the_specification(tmp_path: Path) -> None:
    vectors = at_degrees(0, 10, 30, 90)
    expected = [2.890384, 3.834298, 2.312314, 0.875053]
    assert typicality(mean_distance(vectors, 2)) == pytest.approx(expected, abs=1e-6)
    file = embeddings(tmp_path, vectors)
    choice = chosen(pool_of(tmp_path, "aaaa"), "typiclust", 3, signals=file, k=2)
    assert choice.rows.tolist() == [1, 0, 2]
    assert choice.score.tolist() == pytest.approx(expected, abs=1e-5)
    assert choice.reasons[0] == "typicality 3.83, number 1 of the 4 a images of its cluster"
    assert choice.facts["direction"] == "highest first"


def test_clusters_take_turns_by_their_size(tmp_path: Path) -> None:
    around = np.concatenate([0 + np.arange(12), 90 + np.arange(6), 200 + np.arange(3)])
    file = embeddings(tmp_path, at_degrees(*around))
    pool = pool_of(tmp_path, "a" * 21)
    for budget, expected in ((7, {0: 4, 1: 2, 2: 1}), (14, {0: 8, 1: 4, 2: 2})):
        choice = chosen(pool, "typiclust", budget, signals=file, clusters=3, k=3)
        cluster = np.repeat([0, 1, 2], [12, 6, 3])[choice.rows]
        assert Counter(cluster.tolist()) == expected
        middle = [row for row in choice.rows.tolist() if row < 12][:2]
        assert set(middle) <= set(range(1, 11)), "those at the ends have neighbours on one side"


def test_one_cluster_for_every_hundred_images_of_a_source(tmp_path: Path) -> None:
    angles = np.concatenate([np.linspace(0, 5, 150), np.linspace(90, 95, 150)])
    file = embeddings(tmp_path, at_degrees(*angles))
    pool = pool_of(tmp_path, "a" * 300)
    whole = chosen(pool, "typiclust", 30, signals=file)
    assert {r.partition(" of the ")[2] for r in whole.reasons} != {"300 a images of its cluster"}
    one = chosen(pool, "typiclust", 30, signals=file, clusters=1)
    assert {r.partition(" of the ")[2] for r in one.reasons} == {"300 a images of its cluster"}


def test_sources_keep_their_shares_unless_all_are_one(tmp_path: Path) -> None:
    vectors = np.concatenate([at_degrees(*range(8)), at_degrees(100, 130, 160, 190)])
    pool, file = pool_of(tmp_path, "a" * 8 + "b" * 4), embeddings(tmp_path, vectors)
    by_source = chosen(pool, "typiclust", 6, signals=file, clusters=1, k=2)
    assert Counter(by_source.group[row] for row in by_source.rows) == {"a": 4, "b": 2}
    together = chosen(pool, "typiclust", 6, signals=file, clusters=1, k=2, per_source=False)
    assert all(row < 8 for row in together.rows)


def test_copies_are_the_most_typical_and_are_said(tmp_path: Path) -> None:
    file = embeddings(tmp_path, at_degrees(0, 0, 0, 40, 41, 80))
    choice = chosen(pool_of(tmp_path, "a" * 6), "typiclust", 2, signals=file, k=2)
    assert set(choice.rows) < {0, 1, 2}
    assert choice.score[:3].tolist() == [MOST_TYPICAL] * 3
    assert choice.tied.tolist() == [True, True]
    assert choice.facts["notices"] == [
        "3 images with copies as all 2 neighbours rank first: "
        "remove duplicates before (semdedup finds near ones)."
    ]


def test_an_image_alone_in_its_cluster_is_not_typical_but_can_be_chosen(tmp_path: Path) -> None:
    file = embeddings(tmp_path, at_degrees(0, 1, 2, 180))
    choice = chosen(pool_of(tmp_path, "aaaa"), "typiclust", "100%", signals=file, clusters=2)
    assert choice.score[3] == 0
    assert len(choice.rows) == 4

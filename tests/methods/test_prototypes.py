"""`prototypes`: images by their distance to the nearest cluster centre."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from methods.choosing import chosen
from methods.handed_in import at_degrees, embeddings, pool_of
from visift.methods.prototypes import cluster_count, prototype_distance


def test_the_distance_is_that_to_the_nearest_centre_of_any_length() -> None:
    centres = at_degrees(0, 90) * [[3.0], [0.5]]
    found = prototype_distance(at_degrees(0, 30, 60, 200), centres)
    expected = [0, 1 - np.cos(np.radians(30)), 1 - np.cos(np.radians(30)), 1.342020]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("items", "count"), [(50, 10), (100_000, 10), (338_377, 33), (3_000_000, 300)]
)
def test_a_hundred_prototypes_for_a_million_images_and_at_least_ten(items: int, count: int) -> None:
    assert cluster_count(items) == count


ANGLES = (0, 1, 2, 3, 24, 90, 91, 92, 93)  # two prototypes, the fifth is far from its own


def test_hard_images_are_far_and_easy_ones_near(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "a" * 9), embeddings(tmp_path, at_degrees(*ANGLES))
    hard = chosen(pool, "prototypes", 1, signals=file, clusters=2)
    assert hard.rows.tolist() == [4]
    assert hard.facts["direction"] == "highest first"
    median = np.median(hard.score)
    assert hard.reasons == [
        f"among the farthest 11.1% of 9 images from their prototype "
        f"(distance {hard.score[4]:.3g}, median {median:.3g})"
    ]
    (cut,) = hard.facts["groups"]
    assert cut["cut"] == pytest.approx(hard.score[4], rel=1e-5)
    assert cut["margin"] > 0
    easy = chosen(pool, "prototypes", "100%", signals=file, clusters=2, order="easy")
    assert easy.facts["direction"] == "lowest first"
    assert easy.rows[-1] == 4
    assert (np.diff(easy.score[easy.rows]) >= -1e-9).all()


def test_sources_keep_their_shares_where_asked(tmp_path: Path) -> None:
    vectors = np.concatenate([at_degrees(*range(0, 80, 10)), at_degrees(200, 201, 202, 203)])
    pool, file = pool_of(tmp_path, "a" * 8 + "b" * 4), embeddings(tmp_path, vectors)
    together = chosen(pool, "prototypes", 6, signals=file, clusters=2)
    assert Counter(together.group[row] for row in together.rows) == {"all": 6}
    assert all(row < 8 for row in together.rows)
    apart = chosen(pool, "prototypes", 6, signals=file, clusters=2, per_source=True)
    assert Counter(apart.group[row] for row in apart.rows) == {"a": 4, "b": 2}


def test_equal_distances_are_settled_by_tie_key_and_marked(tmp_path: Path) -> None:
    pool, file = pool_of(tmp_path, "aaaa"), embeddings(tmp_path, at_degrees(0, 0, 0, 0))
    choice = chosen(pool, "prototypes", 2, signals=file)
    assert choice.rows.tolist() == np.argsort(pool.tie_keys(0))[:2].tolist()
    assert choice.tied.tolist() == [True, True]

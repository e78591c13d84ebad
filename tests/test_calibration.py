"""The calibration of the verdict: what is held against what, and that all of it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from benchmarks.calibration import Size, summary
from benchmarks.calibration_arms import (
    DRAWS,
    INVERSE,
    NULL,
    ORACLE,
    SIDES,
    contests,
    inverse,
    opponent,
    oracle,
    pairs,
    partitioned,
)
from benchmarks.calibration_pool import Known, known_pool

from visift.training.recipe import TINY
from visift.validate.judging import Scored
from visift.validate.running import Trial

ROOT = Path(__file__).parent.parent
SIZE = 30


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return known_pool(tmp_path_factory.mktemp("known"), 600, 6)


def scored_parts(known: Known, partition: int) -> dict[tuple[str, int, int], Scored]:
    """Trainings that nobody did: every question is answered wrong."""
    parts = [make(known, partition, SIZE) for make in (oracle, inverse)]
    nothing = np.zeros(3)
    return {
        (part.name, partition, part.draw): Scored(
            part.trial(TINY), nothing, nothing == 0, None, None
        )
        for part in [*partitioned(known.rows, partition, SIZE), *parts[0], *parts[1]]
    }


def test_the_parts_of_a_partition_share_no_record(known: Known) -> None:
    parts = partitioned(known.rows, 3, SIZE)
    together = np.concatenate([part.rows for part in parts])
    assert len(parts) == 2 * DRAWS
    assert len(np.unique(together)) == len(together) == 2 * DRAWS * SIZE
    assert np.isin(together, known.rows).all()


def test_two_parts_are_trained_with_each_seed_and_no_partition_shares_a_seed(known: Known) -> None:
    seeds = [[part.seed for part in partitioned(known.rows, n, SIZE)] for n in range(2)]
    assert [[mine.count(seed) for seed in mine] for mine in seeds] == [[2] * 10] * 2
    assert not set(seeds[0]) & set(seeds[1])


def test_another_partition_is_another_draw(known: Known) -> None:
    first, second = (partitioned(known.rows, number, SIZE)[0].rows for number in range(2))
    assert set(first.tolist()) != set(second.tolist())


def test_a_partition_that_is_larger_than_the_pool_is_refused(known: Known) -> None:
    with pytest.raises(ValueError, match="10 disjoint parts of 100 need more than"):
        partitioned(known.rows, 0, 100)


def test_differences_of_two_pairs_agree_in_three_of_five_signs() -> None:
    signs = [[1 if side == SIDES[0] else -1 for side in one] for one in pairs()]
    products = [np.dot(a, b) for a, b in combinations(signs, 2)]
    assert len(signs) == 5
    assert products == [1] * 10


def test_the_opponent_takes_the_other_side_of_every_draw() -> None:
    for sides in pairs():
        assert all(a != b for a, b in zip(sides, opponent(sides), strict=True))


def test_twenty_partitions_give_a_hundred_pairs_and_twenty_replicates(known: Known) -> None:
    found = [one.what for one in contests(0, scored_parts(known, 0))]
    counts = [found.count(what) * Size().partitions for what in (NULL, ORACLE, INVERSE)]
    assert counts == [100, 20, 20]


def test_random_arms_are_compared_seed_by_seed_over_five_draws(known: Known) -> None:
    for contest in contests(2, scored_parts(known, 2)):
        arms: dict[str, list[Trial]] = {}
        for one in contest.models:
            arms.setdefault(one.trial.arm.name, []).append(one.trial)
        assert list(arms) == [contest.method, contest.control]
        seeds = [[(trial.seed, trial.arm.seed) for trial in mine] for mine in arms.values()]
        assert seeds[0] == [(seed, seed) for seed in range(10, 15)]
        rows = [np.concatenate([t.arm.rows for t in mine]) for mine in arms.values()]
        if contest.what == NULL:
            assert seeds[1] == seeds[0]
            assert not np.intersect1d(*rows).size


def test_replicates_are_held_against_all_random_parts_each_with_a_seed_of_its_own(
    known: Known,
) -> None:
    scored = scored_parts(known, 2)
    there = [scored[side, 2, draw].trial.arm.rows for side in SIDES for draw in range(5)]
    parts = {rows.tobytes() for rows in there}
    for contest in contests(2, scored):
        if contest.what != NULL:
            control = [m.trial for m in contest.models if m.trial.arm.name == contest.control]
            assert {trial.arm.rows.tobytes() for trial in control} == parts
            assert len({trial.seed for trial in control}) == 10
            assert all(trial.seed == trial.arm.seed for trial in control)


def test_the_oracle_takes_sound_records_and_tasks_alike(known: Known) -> None:
    for part in oracle(known, 0, SIZE):
        assert len(np.unique(part.rows)) == SIZE
        assert np.isin(part.rows, known.sound).all()
        _, counts = np.unique(known.tasks[part.rows].astype(str), return_counts=True)
        assert counts.max() - counts.min() <= 1


def test_the_inverse_takes_misleading_records_and_the_commonest_task(known: Known) -> None:
    for part in inverse(known, 0, SIZE):
        assert len(np.unique(part.rows)) == SIZE
        bad = np.isin(part.rows, known.misleading)
        assert bad.sum() == SIZE // 2
        assert set(known.tasks[part.rows[~bad]]) == {"attribute"}


def test_questions_are_sound_and_apart_from_what_is_trained_on(known: Known) -> None:
    assert not np.intersect1d(known.questions.rows, known.rows).size
    faults = json.loads((Path(known.pool.roots[0].path).parent / "faults.json").read_bytes())
    assert not {str(row) for row in known.questions.rows.tolist()} & set(faults)


def test_three_of_ten_answers_are_wrong(known: Known) -> None:
    assert 0.25 < len(known.misleading) / len(known.rows) < 0.4


@pytest.mark.parametrize(
    ("what", "words", "kept"),
    [
        (NULL, {"better": 5, "worse": 4, "no evidence": 91}, True),
        (NULL, {"better": 5, "worse": 5, "no evidence": 90}, False),
        (ORACLE, {"better": 16, "no evidence": 4}, True),
        (ORACLE, {"better": 15, "no evidence": 5}, False),
        (INVERSE, {"worse": 16, "no evidence": 4}, True),
        (INVERSE, {"better": 20}, False),
    ],
)
def test_what_is_required(what: str, words: dict[str, int], kept: bool) -> None:
    class Said:
        def __init__(self, word: str) -> None:
            self.word = word

    judged = [(what, Said(word)) for word, count in words.items() for _ in range(count)]
    assert summary(what, judged)["kept"] is kept


@pytest.mark.slow
def test_the_small_one_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    command = [sys.executable, "-m", "benchmarks.calibration", "--quick", "--json"]

    def run() -> subprocess.CompletedProcess[str]:
        data = ["--data", str(tmp_path)]
        return subprocess.run(
            [*command, *data], cwd=ROOT, capture_output=True, text=True, check=True
        )

    first, second = run(), run()
    found, again = json.loads(first.stdout), json.loads(second.stdout)
    assert {one["contest"]: one["count"] for one in found["summary"]} == {
        NULL: 5,
        ORACLE: 1,
        INVERSE: 1,
    }
    assert "22 models to train and ask, 0 of them done before" in first.stderr
    assert "22 models to train and ask, 22 of them done before" in second.stderr
    assert again["verdicts"] == found["verdicts"]
    assert json.loads((tmp_path / "calibration-600" / "calibration.json").read_bytes()) == again

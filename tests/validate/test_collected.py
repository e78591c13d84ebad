"""`--collect`: the verdict on what was trained and evaluated elsewhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from helpers import sources_pool
from visift.errors import InputError
from visift.run import select
from visift.validate.collected import judge_collected


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    pool = sources_pool(tmp_path / "pool", {"a": 10})
    return select(pool, budget="4", output=tmp_path / "run", cache=tmp_path / "cache").folder


def answers(path: Path, arms: dict[str, float]) -> Path:
    """Write scores of five training seeds on 200 questions: arms differ by what is said."""
    rng = np.random.default_rng(0)
    difficulty = rng.random(200)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["arm", "training_seed", "task", "question", "group", "score"])
        for arm, gain in arms.items():
            for seed in range(5):
                right = rng.random(200) < 0.4 + 0.2 * difficulty + gain
                for number, score in enumerate(right.astype(int).tolist()):
                    row = [arm, seed, "ab"[number % 2], f"q{number}", f"g{number // 2}", score]
                    table.writerow(row)
    return path


def test_a_clear_gain_is_better(run_dir: Path, tmp_path: Path) -> None:
    file = answers(tmp_path / "all.csv", {"subset": 0.3, "control": 0.0, "random": 0.0})
    done = judge_collected(run_dir, [str(file)])
    assert done.verdict.word == "better"
    assert done.verdict.comparison.control == "random"
    assert [one.method for one in done.beside] == ["control"]
    assert done.folder == run_dir / "verdict"
    facts = json.loads((done.folder / "verdict.json").read_text())
    assert facts["verdict"]["sentence"] == done.verdict.sentence
    page = (done.folder / "VERDICT.md").read_text()
    assert page.startswith("# Verdict\n\n200 questions in 100 image groups")
    assert "\n**subset is better than random: " in page


def test_the_twin_stands_in_for_random(run_dir: Path, tmp_path: Path) -> None:
    file = answers(tmp_path / "all.csv", {"subset": 0.0, "control": 0.0})
    done = judge_collected(run_dir, [str(file)], tmp_path / "elsewhere")
    assert done.verdict.word == "no evidence"
    assert done.verdict.comparison.control == "control"
    assert done.folder == tmp_path / "elsewhere"


def test_a_verdict_needs_something_to_judge_by(run_dir: Path, tmp_path: Path) -> None:
    file = answers(tmp_path / "all.csv", {"subset": 0.0, "full": 0.0})
    with pytest.raises(InputError, match="a verdict needs subset, and random or control"):
        judge_collected(run_dir, [str(file)])

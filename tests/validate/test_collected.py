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


def answers(path: Path, arms: dict[str, float], *, draws: int = 5, images: int = 100) -> Path:
    """Write scores of five training seeds on 200 questions: arms differ by what is said.

    Random arms are drawn anew for as many seeds as there are draws, 1 or 5.
    """
    rng = np.random.default_rng(0)
    difficulty = rng.random(200)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        head = ("arm", "selection_seed", "training_seed", "task", "question", "group", "score")
        table.writerow(head)
        for arm, gain in arms.items():
            for seed in range(5):
                right = rng.random(200) < 0.4 + 0.2 * difficulty + gain
                drawn = 0 if arm == "subset" else seed % draws
                for number, score in enumerate(right.astype(int).tolist()):
                    about = ("ab"[number % 2], f"q{number}", f"g{number // 2 % images}")
                    table.writerow([arm, drawn, seed, *about, score])
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
    assert "\nWorst task: " in page


def test_one_draw_of_random_is_not_enough(run_dir: Path, tmp_path: Path) -> None:
    file = answers(tmp_path / "all.csv", {"subset": 0.3, "random": 0.0}, draws=1)
    done = judge_collected(run_dir, [str(file)])
    assert done.verdict.word == "no evidence"
    assert done.verdict.reasons == ("random was drawn once; a verdict needs 3",)
    assert any(note.startswith("To draw random anew: visift select") for note in done.notes)


def test_what_is_not_known_is_null(run_dir: Path, tmp_path: Path) -> None:
    file = answers(tmp_path / "all.csv", {"subset": 0.3, "control": 0.0, "random": 0.0}, images=1)
    done = judge_collected(run_dir, [str(file)])
    assert done.verdict.word == "no evidence"
    text = (done.folder / "verdict.json").read_text()
    facts = json.loads(text, parse_constant=pytest.fail)
    assert facts["verdict"]["micro"]["standard_error"] is None
    assert facts["others"][0]["interval"] is None


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

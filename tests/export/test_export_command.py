"""`visift export`: options, what is printed, and what cannot be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import sources_pool
from visift import select
from visift.cli import run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    pool = sources_pool(tmp_path, {"a": 4, "b": 4}, text=2)
    select(pool, method="random", budget=5, output=tmp_path / "out")
    return tmp_path / "out"


def test_several_trainers_at_once(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainers = ["--export", "llama-factory", "--export", "trl"]
    assert run(["export", str(run_dir), *trainers, "--output", str(run_dir / "x")]) == 0
    said = capsys.readouterr().out
    for name in ("llama-factory", "trl"):
        folder = run_dir / "x" / name
        assert (folder / "RUN.md").is_file()
        assert f"Wrote     {folder}: 5 records an arm" in said


def test_options_reach_the_export(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = run_dir / "y"
    options = ["--copy-images", "--order", "shuffle", "--on-mismatch", "drop"]
    where = ["--export", "llama-factory", "-o", str(target)]
    assert run(["export", str(run_dir), *where, *options]) == 0
    assert "a random order, the same for one seed" in (target / "RUN.md").read_text("utf-8")
    lines = [json.loads(line) for line in (target / "subset.jsonl").open("rb")]
    assert all((target / "images" / name).is_file() for line in lines for name in line["images"])
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--export", "tlr"], 'o exporter "tlr". Did you mean "trl"?'),
        (["--copy-images", "--absolute"], "--copy-images and --absolute exclude each other."),
        (["--embed"], "--embed is nothing that LLaVA can be given."),
        (["--on-mismatch", "fix"], "ecords for llava are written byte for byte"),
        (["--order", "random"], '--order "random": one of original, rank, shuffle was expected.'),
    ],
)
def test_what_cannot_be_asked(
    run_dir: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert run(["export", str(run_dir), *options]) == 1
    assert said in " ".join(capsys.readouterr().err.split())

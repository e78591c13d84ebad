"""`visift compose`: a model from its parts, and a selection by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import sources_pool
from visift.cli import run

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.llava_parts import save_parts


def test_a_composed_model_selects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts, model = save_parts(tmp_path), tmp_path / "llava"
    assert run(["compose", *parts.options, "-o", str(model)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Language  {parts.llm} · llama, 3 blocks of width 48 · 259 rows of tokens → 320",
        f"Vision    {parts.vision} · 3 blocks of width 32 · 56 × 56 pixels → 16 image tokens",
        "Projector mm_projector.bin · 32 → 48",
        f"Wrote     {model}: 347 kB in 1 file",
        f"Next      visift select --method prism --model {model} --pool ...",
    ]
    pool = sources_pool(tmp_path / "data", {"coco": 8, "gqa": 4}, text=3)
    chosen = ["select", "--pool", str(pool), "--method", "prism", "--budget", "40%"]
    where = ["--cache", str(tmp_path / "cache"), "--workers", "1", "-o", str(tmp_path / "out")]
    assert run([*chosen, "--model", str(model), *where]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["selected"] == 6


def test_what_does_not_fit_is_one_sentence_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, model = save_parts(tmp_path), tmp_path / "llava"
    parts.projector.write_bytes(b"")
    assert run(["compose", *parts.options, "-o", str(model)]) == 1
    (said, fix) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error  {parts.projector}: ")
    assert fix.strip()
    assert not model.exists()


def test_an_output_that_is_taken_is_said_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    options = ["--llm", "no", "--vision", "no", "--projector", "no"]
    assert run(["compose", *options, "-o", str(tmp_path)]) == 1
    assert "holds other files." in capsys.readouterr().err

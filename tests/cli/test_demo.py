"""`visift demo`: a pool, a selection by the bundled model, and what became of planted rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visift.cli import run
from visift.demo.detection import detection_table

pytest.importorskip("torch")


def test_the_demo_keeps_planted_rare_clusters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 15 % PRISM keeps nearly all of the rare clusters, its random twin about 15 %."""
    where = ["--output", str(tmp_path), "--records", "1500", "--workers", "1"]
    assert run(["demo", *where]) == 0
    said = capsys.readouterr().out
    assert "toy model: the ranking means nothing outside a demo" in said
    (line,) = [line.split() for line in said.splitlines() if "rare-cluster" in line]
    kept, twin = (int(cell.removesuffix("%")) for cell in line[-2:])
    assert kept >= 80
    assert twin <= 50
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["counts"]["selected"] == 225
    assert manifest["warning"].startswith("toy model")


def test_detection_counts_shares(tmp_path: Path) -> None:
    planted = pa.table({"row": [0, 1, 2, 3], "kind": ["a", "a", "b", "b"]})
    pq.write_table(planted, tmp_path / "planted.parquet")
    found = detection_table(tmp_path / "planted.parquet", np.array([0, 1, 2]), np.array([3]))
    assert [(k.kind, k.rows, k.selected, k.control) for k in found] == [
        ("a", 2, 1.0, 0.0),
        ("b", 2, 0.5, 0.5),
    ]

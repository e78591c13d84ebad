"""The benchmarks run and their results equal those of the references; times are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    data = str(tmp_path_factory.mktemp("data"))
    command = [sys.executable, "-m", "benchmarks", "index", "balanced", "prism"]
    options = ["--quick", "--json", "--data", data]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("what", "count", "most"),
    [
        ("index: offsets and index", 1, 0),
        ("visift select --budget 15%", 1, 0),
        ("visift inspect", 1, 0),
        ("prism: three passes, from the page cache", 1, 0),
        ("prism: linear form", 2, 1e-12),
    ],
)
def test_results_equal_the_reference(lines, what, count, most):
    differences = [line["difference"] for line in lines if line["what"].startswith(what)]
    assert len(differences) == count
    assert max(differences) <= most

"""The benchmarks run and their results equal those of the references; times are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.growth import Growth, exponent
from benchmarks.harness import Measurement

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    data = str(tmp_path_factory.mktemp("data"))
    names = ["index", "balanced", "prism", "end_to_end", "scaling"]
    command = [sys.executable, "-m", "benchmarks", *names]
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
        ("end to end: prism", 2, 0),
        ("scaling: inspect (", 2, 0),
        ("scaling: balanced --budget 15% (", 2, 0),
    ],
)
def test_results_equal_the_reference(lines, what, count, most):
    differences = [line["difference"] for line in lines if line["what"].startswith(what)]
    assert len(differences) == count
    assert max(differences) <= most


@pytest.mark.parametrize("command", ["inspect", "balanced", "prism"])
def test_exponents_are_fitted_for_every_command(lines, command):
    (line,) = (
        line
        for line in lines
        if line["what"].startswith(f"scaling: {command}") and "exponent" in line["what"]
    )
    assert {"seconds_exponent", "cpu_exponent", "memory_exponent"} <= line.keys()


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_of_a_power_law_is_its_power(power):
    sizes = [10_000, 100_000, 665_298]
    assert exponent(sizes, [3 * n**power for n in sizes]) == pytest.approx(power)


def test_the_line_of_exponents_shows_them_under_the_columns_they_belong_to():
    runs = {n: Measurement(n / 1e4, n**2 / 1e8, n * 100, None, None) for n in (1_000, 10_000)}
    assert Growth.of("sorting", runs).cells() == (
        "sorting",
        "N^1.00",
        "N^2.00",
        "N^1.00",
        "from 1,000 to 10,000 alone: N^1.00, N^2.00, N^1.00",
        "",
    )


def test_no_exponent_of_memory_where_it_was_not_measured():
    runs = {n: Measurement(n / 1e4, n / 1e4, None, None, None) for n in (1_000, 10_000)}
    assert Growth.of("sorting", runs).memory_exponent is None

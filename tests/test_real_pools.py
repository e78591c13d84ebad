"""PRISM from the command line on real pools, killed and resumed, with one worker and with two.

The pools lie beside the repository (`../shared`, or where VISIFT_SHARED says) and are no part of
it; without them these tests are skipped.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

SHARED = Path(os.environ.get("VISIFT_SHARED", Path(__file__).parents[2] / "shared")) / "pools"
IMAGES = SHARED / "real" / "images"
RESULTS = (
    "selection.parquet",
    "scores.parquet",
    "control.parquet",
    "quarantine.parquet",
    "export/llava/subset.json",
    "export/llava/control.json",
    "export/llava/random.json",
)

pytestmark = pytest.mark.skipif(not IMAGES.exists(), reason=f"no pools at {SHARED}")


def command(pool: Path, output: Path, cache: Path, *more: str) -> list[str]:
    fixed = ["--method", "prism", "--model", "builtin:tiny", "--image-folder", str(IMAGES)]
    where = ["--pool", str(pool), "--output", str(output), "--cache", str(cache)]
    return [sys.executable, "-m", "visift", "select", *fixed, *where, *more]


def select(pool: Path, output: Path, cache: Path, *more: str) -> Path:
    done = subprocess.run(command(pool, output, cache, *more), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def select_killed(pool: Path, output: Path, cache: Path, times: int, *more: str) -> Path:
    """Kill the run as soon as it has committed something new, then let it finish."""
    for _ in range(times):
        before = parts(cache)
        process = subprocess.Popen(
            command(pool, output, cache, *more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and parts(cache) <= before:
            time.sleep(random.uniform(0.05, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    return select(pool, output, cache, *more)


def parts(cache: Path) -> int:
    return len(list(cache.rglob("*.arrow")))


def assert_same(one: Path, other: Path) -> None:
    different = [
        name for name in RESULTS if (one / name).read_bytes() != (other / name).read_bytes()
    ]
    assert not different


def chosen(output: Path) -> list[str]:
    return list(pq.read_table(output / "selection.parquet")["uid"].to_pylist())


def first_records(pool: str, count: int | None, folder: Path) -> Path:
    """A pool of the first records of a real one; the real one itself where count is None."""
    path = SHARED / pool / "pool.json"
    if count is None:
        return path
    records = json.loads(path.read_text(encoding="utf-8"))[:count]
    folder.mkdir(parents=True, exist_ok=True)
    smaller = folder / "pool.json"
    smaller.write_text(json.dumps(records, indent=2), encoding="utf-8")
    return smaller


SIZES = [pytest.param(5000, id="first-5000"), pytest.param(None, id="all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("pool", ["real", pytest.param("mixed", marks=pytest.mark.slow)])
@pytest.mark.parametrize("count", SIZES)
def test_killed_three_times_and_resumed_gives_the_same_bytes(
    pool: str, count: int | None, tmp_path: Path
) -> None:
    records = first_records(pool, count, tmp_path / "pool")
    calm = select(records, tmp_path / "calm", tmp_path / "c1", "--workers", "1")
    shaken = select_killed(records, tmp_path / "shaken", tmp_path / "c2", 3, "--workers", "2")
    assert_same(calm, shaken)
    small = select(records, tmp_path / "b5", tmp_path / "c2", "--budget", "5%")
    large = select(records, tmp_path / "b15", tmp_path / "c2", "--budget", "15%")
    again = select(records, tmp_path / "b15again", tmp_path / "c1", "--budget", "15%")
    assert_same(large, again)
    assert chosen(small) == chosen(large)[: len(chosen(small))]


@pytest.mark.parametrize("count", SIZES)
def test_mixed_pool_loses_nothing(count: int | None, tmp_path: Path) -> None:
    """Nothing set aside, the text-only share kept, 100 % equals the input record by record."""
    records = first_records("mixed", count, tmp_path / "pool")
    total = len(json.loads(records.read_text(encoding="utf-8")))
    part = select(records, tmp_path / "part", tmp_path / "cache", "--budget", "15%")
    assert pq.read_table(part / "quarantine.parquet").num_rows == 0
    said = json.loads((part / "manifest.json").read_text())["counts"]
    scores = pq.read_table(part / "scores.parquet")
    share = np.mean([group == "text-only" for group in scores["group"].to_pylist()])
    assert abs(said["selected text-only"] - share * said["selected"]) <= 1
    whole = select(records, tmp_path / "whole", tmp_path / "cache", "--budget", "100%")
    exported = (whole / "export/llava/subset.json").read_text(encoding="utf-8")
    assert len(json.loads(exported)) == total
    assert record_texts(exported) == record_texts(records.read_text(encoding="utf-8"))


def record_texts(text: str) -> list[str]:
    """Return the exact text of every record of a JSON list."""
    decoder, gap = json.JSONDecoder(), re.compile(r"[\s,]*")
    at, records = text.index("[") + 1, []
    while text[at := gap.match(text, at).end()] != "]":  # type: ignore[union-attr]
        _, end = decoder.raw_decode(text, at)
        records.append(text[at:end])
        at = end
    return records

"""Methods that tune a model first, from the command line: killed while tuning and while measuring.

A small demo pool in the default suite; the real pools, where they are, under `slow`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from test_real_pools import IMAGES, RESULTS, first_records
from visift.demo.generator import write_demo_pool

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

Pool = tuple[Path, Path]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A pool file and its image folder."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo_pool(folder, records=240)
    return folder / "pool.json", folder / "images"


def command(pool: Pool, method: str, output: Path, cache: Path, *more: str) -> list[str]:
    file, images = pool
    said = ["--pool", str(file), "--image-folder", str(images), "--method", method]
    said += ["--model", "builtin:tiny", "--output", str(output), "--cache", str(cache), *more]
    return [sys.executable, "-m", "visift", "select", *said]


def finish(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_when(arguments: list[str], ready: Callable[[], bool]) -> bool:
    """Kill a command and all it started once something is so; return whether it came to that."""
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not ready():
        time.sleep(0.02)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def same_after_kills(
    pool: Pool, method: str, folder: Path, *more: str, stored: bool = False
) -> None:
    """Run a method undisturbed, and killed while it tunes and while it measures.

    Args:
        pool: file and images.
        method: its name.
        folder: to work in.
        *more: arguments.
        stored: kill it once more, when the first of several blocks is in the store.
    """
    calm, shaken, cache = folder / "calm", folder / "shaken", folder / "c2"
    finish(command(pool, method, calm, folder / "c1", *more, "--workers", "1"))
    arguments = command(pool, method, shaken, cache, *more, "--workers", "2")
    begun = lambda: any(cache.glob("checkpoints/*.training/*"))  # noqa: E731
    assert kill_when(arguments, begun)
    assert not any(cache.glob("checkpoints/*/training.json"))
    tuned = lambda: any(cache.glob("checkpoints/*/training.json"))  # noqa: E731
    assert kill_when(arguments, tuned)
    if stored:
        assert kill_when(arguments, lambda: any(cache.rglob("*.arrow")))
    finish(arguments)
    different = [
        name for name in RESULTS if (calm / name).read_bytes() != (shaken / name).read_bytes()
    ]
    assert not different


QUICK = "recipe=tiny-lora,epochs:1,batch_size:4,micro_batch:4"


@pytest.mark.parametrize(
    "method", ["mllm_selector", pytest.param("presel", marks=pytest.mark.slow)]
)
def test_killed_while_tuning_and_measuring_gives_the_same_bytes(
    method: str, demo: Pool, tmp_path: Path
) -> None:
    same_after_kills(demo, method, tmp_path, "--set", QUICK, "--budget", "40%")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tive", "less", "icons"])
def test_methods_by_gradients_killed_on_the_demo_pool(
    method: str, demo: Pool, tmp_path: Path
) -> None:
    records = json.loads(demo[0].read_text(encoding="utf-8"))[::40]
    for record in records:  # else they would be taken out of the pool as equal to a target
        record["conversations"][0]["value"] += " Say it in short."
    path = tmp_path / "examples.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    same_after_kills(demo, method, tmp_path, "--set", QUICK, "--budget", "40%", *for_(method, path))


@pytest.mark.slow
def test_less_as_published_killed_between_checkpoints(demo: Pool, tmp_path: Path) -> None:
    records = json.loads(demo[0].read_text(encoding="utf-8"))[::40]
    path = tmp_path / "examples.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    published = ("--set", "preset=published", "--set", "proj_dim=512")
    more = (*published, "--budget", "15%", *for_("less", path))
    same_after_kills(demo, "less", tmp_path, *more, stored=True)
    whole(tmp_path / "calm", ["FineTuning", *["LoraGradient"] * 8])


def for_(method: str, examples: Path) -> tuple[str, ...]:
    """Arguments that name the targets of methods that have some."""
    return () if method == "tive" else ("--target", str(examples))


#: Few records a forward pass: pools of short and long ones are padding otherwise.
GRADIENTS = (
    *("--set", "recipe=tiny-lora,epochs:1,batch_size:16,micro_batch:4"),
    *("--set", "proj_dim=1024"),
)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Some records of the evaluation file, of all its tasks, as targets."""
    records = json.loads((IMAGES.parent / "eval.json").read_text(encoding="utf-8"))
    path = tmp_path / "examples.json"
    path.write_text(json.dumps(records[::40]), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.skipif(not IMAGES.exists(), reason="the shared pools are not here")
@pytest.mark.parametrize("method", ["tive", "less", "icons"])
def test_gradients_on_a_real_pool(method: str, examples: Path, tmp_path: Path) -> None:
    """Killed while tuning, before the first block of gradients, and after it."""
    records = first_records("real", 5000, tmp_path / "pool")
    more = (*GRADIENTS, *for_(method, examples), "--budget", "15%")
    same_after_kills((records, IMAGES), method, tmp_path, *more, stored=True)
    asked = ["LoraGradient"] if method == "tive" else ["LoraGradient"] * 2
    whole(tmp_path / "calm", ["FineTuning", *asked])


@pytest.mark.slow
@pytest.mark.skipif(not IMAGES.exists(), reason="the shared pools are not here")
@pytest.mark.parametrize(("method", "pool"), [("mllm_selector", "mixed"), ("presel", "real")])
def test_on_real_pools(method: str, pool: str, tmp_path: Path) -> None:
    records = first_records(pool, 5000, tmp_path / "pool")
    same_after_kills((records, IMAGES), method, tmp_path, "--budget", "15%")
    whole(tmp_path / "calm", ["FineTuning", "AnswerLoss"])


def whole(out: Path, asked: list[str]) -> None:
    """See that a run did what was asked, chose what it should, and lost no record."""
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["selected"] == int(0.15 * counts["usable"])
    ledger = [entry["signal"] for entry in manifest["cost"]["ledger"]]
    assert ledger[: len(asked)] == asked
    assert (out / "report" / "index.html").is_file()
    scores = pq.read_table(out / "scores.parquet")
    status = np.array([one.partition(":")[0] for one in scores["status"].to_pylist()])
    rows = {name: int((status == name).sum()) for name in set(status.tolist())}
    assert sum(rows.values()) == counts["records"]

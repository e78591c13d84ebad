"""Images nobody has annotated, from a folder to a trainer's file: every phase killed and resumed.

The images are those of the shared pools where they are, else those of a demo pool; the endpoint is
a server on loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.chat_server import chat
from test_real_pools import IMAGES
from visift.demo.generator import write_demo_pool

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

COUNT = 160


def photos(folder: Path) -> Path:
    """Lay out some images in folders that name their tasks."""
    target = folder / "photos"
    if not IMAGES.exists():
        write_demo_pool(folder / "demo", records=240)
        shutil.copytree(folder / "demo" / "images", target)
        return target
    for archive in sorted(IMAGES.glob("*.zip"))[:4]:
        with zipfile.ZipFile(archive) as file:
            names = [n for n in sorted(file.namelist()) if n.lower().endswith((".png", ".jpg"))]
            for number, name in enumerate(names[: COUNT // 4]):
                place = target / archive.stem / f"{number:04d}{Path(name).suffix.lower()}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read(name))
    return target


def visift(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "visift", *map(str, arguments)]


def finish(arguments: list[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_when(arguments: list[str], ready: Callable[[], bool]) -> None:
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not ready():
        time.sleep(0.01)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def annotate(url: str, todo: Path, images: Path, *more: str) -> list[str]:
    where = [todo, "--image-folder", images, "-o", todo.parent / "annotated.jsonl"]
    prices = ["--price-in", "0.15", "--price-out", "0.60", "--tokens-per-image", "100"]
    return visift("annotate", *where, "--endpoint", url, "--model", "m", *prices, *more, "--json")


def annotated(url: str, todo: Path, images: Path) -> None:
    """Annotate a list, killed after some replies; what it cost is what was said before."""
    before = json.loads(finish(annotate(url, todo, images, "--dry-run")))
    replies = todo.parent / "annotated.replies.jsonl"
    some = lambda: replies.exists() and replies.read_bytes().count(b'"answered"') > 3  # noqa: E731
    kill_when(annotate(url, todo, images, "--concurrency", "1"), some)
    after = json.loads(finish(annotate(url, todo, images)))
    total = after["cost"] + after["cost_before"]
    # A kill may leave one request in flight that somebody answered and nobody read.
    one = before["estimated_cost"] / before["requests"]
    assert total <= before["estimated_cost"] + 2 * one
    assert after["annotated"] == before["lines"]


@pytest.mark.slow
def test_every_phase_killed_and_resumed(tmp_path: Path) -> None:
    images, out, cache = photos(tmp_path), tmp_path / "out", tmp_path / "cache"
    asked = ["--pool", images, "--method", "presel", "--model", "builtin:tiny", "-o", out]
    asked += ["--budget", "30%", "--cache", cache, "--workers", "2", "--near-duplicates", "2"]
    select = visift("select", *asked)

    def slow(handler: Any, request: Any, number: int) -> None:
        from annotate.chat_server import reply

        time.sleep(0.05)
        handler.send_json(reply(request))

    with chat(slow) as server:
        kill_when(select, lambda: any(cache.rglob("*.arrow")))
        assert "want instructions first" in finish(select)
        annotated(server.url, out / "reference" / "to_annotate.jsonl", images)
        kill_when(select, lambda: any(cache.glob("checkpoints/*.training/*")))
        kill_when(select, lambda: any(cache.glob("checkpoints/*/training.json")))
        assert "without a conversation" in finish(select)
        wanted = (out / "to_annotate.jsonl").read_text().splitlines()
        annotated(server.url, out / "to_annotate.jsonl", images)
    said = finish(select)
    assert "Train on subset" in said
    subset = json.loads((out / "export/llava/subset.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(subset) == manifest["counts"]["selected"]
    assert {json.loads(line)["image"] for line in wanted} <= {one["image"] for one in subset}
    assert all(one["conversations"][0]["value"].count("<image>") == 1 for one in subset)
    # Another cache and no kill give the same selection.
    calm = tmp_path / "calm"
    (calm / "reference").mkdir(parents=True)
    (calm / "run.yaml").write_bytes((out / "run.yaml").read_bytes())
    shutil.copy(out / "reference" / "annotated.jsonl", calm / "reference")
    swapped = {str(out): str(calm), str(cache): str(tmp_path / "c2")}
    finish([swapped.get(word, word) for word in select])
    for name in ("selection.parquet", "scores.parquet"):
        assert (calm / name).read_bytes() == (out / name).read_bytes()

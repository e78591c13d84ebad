"""`visift select` without method or model on a pool of LLaVA-665K's size, against a plain script.

Both read the pool file, choose 15 % and write them; visift also looks up every image, drops
duplicates, writes two random twins, reads all three back and gives every record a reason.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from benchmarks import llava_like
from benchmarks.harness import in_fresh_process
from benchmarks.table import Line

#: Names a folder's images are drawn from; COCO has as many training images.
IMAGES = 118_000
SHARE = 0.15


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; pool and image files are made where they are not there."""
    records = 20_000 if quick else llava_like.RECORDS
    home = folder / f"llava-shared-{records}"
    path = home / "pool.json"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        beside = home / "pool.part"
        llava_like.write(beside, records, images=max(1, IMAGES * records // llava_like.RECORDS))
        _touch_images(beside, home)
        beside.replace(path)
    reference = in_fresh_process(script, path, folder / "script.json")
    ours = in_fresh_process(select, path, folder / "balanced-out")
    size = f"{records:,} records"
    torch = "torch imported" if ours.value["torch"] else "torch not imported"
    yield Line.of(
        f"random subset by a script: json.load, sample, json.dump ({size})", reference, "1"
    )
    yield Line.of(
        f"visift select --budget 15% ({size}, {ours.value['images']:,} images)",
        ours,
        f"{ours.seconds / reference.seconds:.1f} x the time",
        f"{ours.value['wrong']} rows off 15 %, {torch}",
        float(ours.value["wrong"]),
    )
    seen = in_fresh_process(inspect, path)
    yield Line.of(
        f"visift inspect ({size})",
        seen,
        f"{seen.seconds / reference.seconds:.1f} x the time",
        f"{abs(seen.value - records)} of {records:,} records not counted",
        float(abs(seen.value - records)),
    )


def _touch_images(path: Path, home: Path) -> None:
    """Make a file of one byte for every image that the pool names."""
    names = set()
    for record in json.loads(path.read_text(encoding="utf-8")):
        image = record.get("image", [])
        names.update([image] if isinstance(image, str) else image)
    for folder in {(home / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (home / name).write_bytes(b"x")


def script(path: Path, out: Path) -> Generator[None, None, None]:
    """As a job: what people write by hand, a random subset with the pool's mixture."""
    path.read_bytes()
    yield
    with path.open(encoding="utf-8") as file:
        records = json.load(file)
    groups: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        image = record.get("image", "")
        groups[(image if isinstance(image, str) else image[0]).split("/")[0]].append(record)
    chosen = [r for group in groups.values() for r in random.sample(group, int(SHARE * len(group)))]
    out.write_text(json.dumps(chosen), encoding="utf-8")
    yield


def select(path: Path, out: Path) -> Generator[None, None, dict[str, Any]]:
    """As a job: the command a user types."""
    path.read_bytes()
    shutil.rmtree(out, ignore_errors=True)
    yield
    before = "torch" in sys.modules
    from visift import select as choose

    run = choose(path, budget="15%", output=out)
    torch = "torch" in sys.modules and not before
    yield
    usable = int(run.selection.facts["usable"])
    return {
        "wrong": abs(len(run.selection) - usable * 15 // 100),
        "images": len(run.pool.images),
        "torch": torch,
    }


def inspect(path: Path) -> Generator[None, None, int]:
    """As a job: count, look up and compare everything in the pool; returns the records counted."""
    path.read_bytes()
    yield
    from visift.pool.inspect import inspect_pool
    from visift.pool.pool import Pool

    found = inspect_pool(Pool.open(path))
    yield
    return int(found.records)

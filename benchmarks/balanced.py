"""`visift select` without method or model on a pool of LLaVA-665K's size, against a plain script.

Both read the pool file, choose 15 % and write them; visift also looks up every image, drops
duplicates, writes two random twins, reads all three back and gives every record a reason.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from benchmarks import llava_like
from benchmarks.commands import SHARE, inspect, select
from benchmarks.harness import in_fresh_process
from benchmarks.made import pool_with_images
from benchmarks.table import Line

QUICK_RECORDS = 20_000


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; pool and image files are made where they are not there."""
    records = QUICK_RECORDS if quick else llava_like.RECORDS
    path = pool_with_images(folder, records)
    reference = in_fresh_process(script, path, folder / "script.json")
    ours = in_fresh_process(select, path, folder / "balanced-out", {})
    size = f"{records:,} records"
    yield Line.of(
        f"random subset by a script: json.load, sample, json.dump ({size})", reference, "1"
    )
    yield Line.of(
        f"visift select --budget {SHARE}% ({size}, {ours.value.images:,} images)",
        ours,
        f"{ours.seconds / reference.seconds:.1f} x the time",
        f"{ours.value.said}, {ours.value.said_of_torch}",
        float(ours.value.wrong),
    )
    seen = in_fresh_process(inspect, path, records)
    yield Line.of(
        f"visift inspect ({size})",
        seen,
        f"{seen.seconds / reference.seconds:.1f} x the time",
        seen.value.said,
        float(seen.value.wrong),
    )


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
    chosen = [r for g in groups.values() for r in random.sample(g, SHARE * len(g) // 100)]
    out.write_text(json.dumps(chosen), encoding="utf-8")
    yield

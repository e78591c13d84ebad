"""Indexing a pool file of LLaVA-665K's size, against `json.load` of the same file."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmarks import llava_like
from benchmarks.harness import best_of
from benchmarks.table import Line

#: Every how many records the slice found in the file is parsed and compared as a whole.
SLICE_EVERY = 25
RUNS = 2

Said = tuple[bytes, tuple[str, ...], str | None, str | None]


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; the pool file is made where it is not there yet."""
    records = 20_000 if quick else llava_like.RECORDS
    path = folder / f"llava-like-{records}.json"
    if not path.exists():
        llava_like.write(path, records)
    ours = best_of(RUNS, build, path)
    reference = best_of(RUNS, load, path)
    differ = _differences(ours.value, reference.value)
    size = f"{records:,} records, {path.stat().st_size / 1e6:,.0f} MB"
    yield Line.of(f"index: json.load ({size})", reference, "1")
    yield Line.of(
        f"index: offsets and index ({size})",
        ours,
        _ratio(reference.seconds / ours.seconds, reference.memory, ours.memory),
        f"{differ} of {records:,} records differ",
        float(differ),
    )


def _ratio(faster: float, reference: int | None, ours: int | None) -> str:
    memory = f", {ours / reference:.2f} x the memory" if ours and reference else ""
    return f"{faster:.1f} x as fast{memory}"


def _differences(ours: Sequence[bytes], reference: Sequence[bytes]) -> int:
    lost = abs(len(ours) - len(reference))
    return lost + sum(a != b for a, b in zip(ours, reference, strict=False))


def build(path: Path) -> Generator[None, None, list[bytes]]:
    """As a job: find and index all records; returns a digest of each."""
    from visift.pool.index import build_index
    from visift.pool.readers import open_reader

    path.read_bytes()  # both find the file in the page cache
    yield
    reader = open_reader(path, None, None)
    index = build_index([reader])
    yield
    digests = []
    for row, entry in enumerate(index.to_pylist()):
        said = entry["content_hash"], tuple(entry["images"]), entry["source"], entry["task"]
        whole = json.loads(reader.raw(row)) if row % SLICE_EVERY == 0 else None
        digests.append(_digest(said, whole))
    return digests


def load(path: Path) -> Generator[None, None, list[bytes]]:
    """As a job: `json.load`; returns the digests that an index of the same records has."""
    path.read_bytes()
    yield
    with path.open(encoding="utf-8") as file:
        records = json.load(file)
    yield
    return [
        _digest(_what_it_says(record), record if row % SLICE_EVERY == 0 else None)
        for row, record in enumerate(records)
    ]


def _digest(said: Said, whole: Any) -> bytes:
    text = json.dumps(whole, sort_keys=True)
    return blake2b(f"{said!r}{text}".encode(), digest_size=16).digest()


def _what_it_says(record: dict[str, Any]) -> Said:
    """Return content hash, images, source and task, written down again from their definition."""
    image = record.get("image", [])
    images = tuple([image] if isinstance(image, str) else image)
    roles = {"human": "user", "gpt": "assistant"}
    turns = [f"{roles[t['from']]}\x1f{t['value']}\x1e" for t in record["conversations"]]
    content = "".join([*turns, "\x1d", *(f"{path}\x1e" for path in images)])
    label = record.get("source", _label(images, record["conversations"][0]["value"]))
    return blake2b(content.encode(), digest_size=16).digest(), images, label, label


def _label(images: tuple[str, ...], prompt: str) -> str | None:
    """Return the label by folder, and under `coco` by how the prompt ends, written down again."""
    folder = images[0].split("/")[0] if images else None
    if folder != "coco":
        return folder
    ends = {"phrase.": "vqav2+okvqa", "directly.": "a_okvqa", "0.9].": "refcoco"}
    return ends.get(prompt.split(" ")[-1], "llava")

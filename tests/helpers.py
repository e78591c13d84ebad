"""Small real pools: LLaVA files and real PNGs in a temporary folder."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visift.pool.pool import Pool

SHARED = Path(os.environ.get("VISIFT_SHARED", Path(__file__).parents[1] / ".." / "shared"))
MIXED = SHARED / "pools" / "mixed" / "pool.json"
REAL_IMAGES = SHARED / "pools" / "real" / "images"

needs_shared = pytest.mark.skipif(
    not MIXED.is_file(), reason=f"needs the shared pools at {SHARED} (or VISIFT_SHARED)"
)


def png(shade: int = 0, size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, shade // 256 % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def put_images(folder: Path, names: Sequence[str]) -> Path:
    """Write one small PNG a name, each with a colour of its own."""
    for shade, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(shade))
    return folder


def talk(question: str = "what?", answer: str = "that.", **rest: Any) -> dict[str, Any]:
    """Return one record; `rest` are its other fields, before the conversation."""
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {**rest, "conversations": turns}


def write_json(path: Path, records: Sequence[Any], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(records), **how), encoding="utf-8")
    return path


def write_lines(path: Path, records: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def open_records(folder: Path, records: Sequence[Any], **options: Any) -> Pool:
    """Write records as a JSON list and open them as a pool."""
    return Pool.open(write_json(folder / "pool.json", records), **options)


def sources_pool(folder: Path, sizes: dict[str, int], text: int = 0) -> Path:
    """Write a pool of one-image records a source and some text-only ones; return the file."""
    names = [f"{source}/{n}.png" for source, size in sizes.items() for n in range(size)]
    put_images(folder, names)
    records = [talk(f"<image>\nname {name}?", image=name, id=name) for name in names]
    records += [talk(f"text {n}?", id=n) for n in range(text)]
    return write_json(folder / "pool.json", records, indent=1)


def sources_only(folder: Path, sizes: dict[str, int]) -> Pool:
    """Open a pool of text-only records with source labels."""
    return open_records(
        folder, [talk(f"{s} {n}", source=s) for s, size in sizes.items() for n in range(size)]
    )

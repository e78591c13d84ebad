"""Pools with losses or embeddings handed in, for the methods that rank by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import open_records, put_images, talk
from visift.pool.pool import Pool


def losses(folder: Path, rows: Sequence[int] | None = None, **columns: Sequence[float]) -> Path:
    """Write columns of a `--signals` file, for the first rows of a pool or for those named."""
    file = folder / "losses.parquet"
    count = len(next(iter(columns.values())))
    pq.write_table(pa.table({"row": list(rows or range(count)), **columns}), file)
    return file


def pool_of(folder: Path, visual: str, text: str = "") -> Pool:
    """Open a pool: one record with an image of its own a letter, then text-only ones.

    A letter is the record's source, a dot is no source.
    """
    names = [f"{n}.png" for n in range(len(visual))]
    put_images(folder, names)
    records = [
        talk(f"<image>\nquestion {n}", f"answer {n}", image=names[n], **_source(letter))
        for n, letter in enumerate(visual)
    ]
    records += [talk(f"text {n}", **_source(letter)) for n, letter in enumerate(text)]
    return open_records(folder, records)


def _source(letter: str) -> dict[str, str]:
    return {} if letter == "." else {"source": letter}


def embeddings(folder: Path, vectors: Any, rows: Sequence[int] | None = None) -> Path:
    """Write `image_embedding` of a `--signals` file, for the first rows of a pool or those named.

    A vector of None is none.
    """
    file = folder / "embeddings.parquet"
    lists = [None if one is None else np.asarray(one, np.float32).tolist() for one in vectors]
    column = pa.array(lists, pa.list_(pa.float32()))
    pq.write_table(
        pa.table({"row": list(rows or range(len(lists))), "image_embedding": column}), file
    )
    return file


def at_degrees(*angles: float) -> np.ndarray:
    """Return unit vectors in the plane, (n, 2)."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)

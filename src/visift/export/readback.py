"""Proof of what was written: every export is read back and compared with the pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.errors import VisiftError
from visift.pool.pool import Pool
from visift.pool.readers.llava import LlavaFile


class ReadbackError(VisiftError):
    """A written file does not say what the pool says: our fault, never the user's."""

    exit_code = 2


def check_llava(pool: Pool, rows: NDArray[np.int64], path: Path) -> None:
    """Read a LLaVA export and compare it record by record, under the trainer's own rules.

    Checked: the number of records, their order, turns and images, and that the key `image` is
    there exactly where there is an image (LLaVA tests for the key).

    Raises:
        ReadbackError: the first record that differs.
    """
    if not len(rows):
        return
    file = LlavaFile.open(path, None, None)
    if len(file.offsets) != len(rows):
        raise ReadbackError(f"{len(file.offsets)} records of {len(rows)}.", where=str(path))
    for number, row in enumerate(rows):
        wanted, found = pool.record(int(row)), file.parse(number)
        said = [(turn.role, turn.text) for turn in wanted.turns]
        same = found.turns == said and found.images == [ref.path for ref in wanted.images]
        key = _has_image_key(file.raw(number))
        if not same or key != bool(wanted.images):
            raise ReadbackError("differs from the pool.", where=f"{path}, record {number}")


def _has_image_key(raw: bytes) -> bool:
    import orjson

    return "image" in orjson.loads(raw)

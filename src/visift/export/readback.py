"""Proof of what was written: every export is read back and compared with the pool."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from visift.errors import VisiftError
from visift.pool.pool import Pool
from visift.pool.readers.llava import LlavaFile
from visift.pool.readers.parsed import Parsed, ParseFault


class ReadbackError(VisiftError):
    """A written file does not say what the pool says: our fault, never the user's."""

    exit_code = 2


def check_llava(pool: Pool, rows: NDArray[np.int64], path: Path) -> None:
    """Read a LLaVA export and compare it record by record, under the trainer's own rules.

    Checked: the number of records, their order, turns and images; the bytes of records with an
    image; and that others have no key `image` (LLaVA tests for the key).

    Raises:
        ReadbackError: the first record that differs.
    """
    if not len(rows):
        return
    file = LlavaFile.open(path, None, None)
    if len(file.offsets) != len(rows):
        raise ReadbackError(f"{len(file.offsets)} records of {len(rows)}.", where=str(path))
    for number, row in enumerate(rows):
        wanted, found = pool.record(int(row)), _parsed(file, number)
        said = [(turn.role, turn.text) for turn in wanted.turns]
        same = found.turns == said and found.images == [ref.path for ref in wanted.images]
        raw = file.raw(number)
        kept = raw == wanted.raw if wanted.images else not _has_image_key(raw)
        if not same or not kept:
            raise ReadbackError("differs from the pool.", where=f"{path}, record {number}")


def _parsed(file: LlavaFile, number: int) -> Parsed:
    try:
        return file.parse(number)
    except ParseFault as fault:
        raise ReadbackError(f"{fault}.", where=f"{file.path}, record {number}") from None


def _has_image_key(raw: bytes) -> bool:
    return bool(msgspec.json.decode(raw, type=_Keys).image is not msgspec.UNSET)


class _Keys(msgspec.Struct):
    image: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

"""What the rows of a pool file are there for: to choose from, always in, or there already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.pool.files import pool_names
from visift.pool.readers import Reader

RowRole = Literal["candidate", "kept", "have", "target"]

#: Status of a record that is never chosen because it is there already.
HAVE = "have"
#: Status of an example of what is to be learnt.
TARGET = "target"
#: Status of a candidate that says what a record of such a file says.
EQUAL_TO: Mapping[RowRole, str] = {
    "have": f"{HAVE}: the same record",
    "kept": "duplicate: of a kept record",
    "target": f"{TARGET}: the same record",
}
#: Status of an image without a conversation that a record of such a file shows.
SHOWN_BY: Mapping[RowRole, str] = {
    "have": f"{HAVE}: the same image",
    "kept": "duplicate: the image of a kept record",
    "target": f"{TARGET}: the same image",
}
#: How uids begin; `pool_names` gives no joined pool such a name.
PREFIX: Mapping[RowRole, str] = {
    "candidate": "",
    "kept": "keep:",
    "have": "have:",
    "target": "target:",
}


@dataclass(frozen=True, slots=True)
class PoolFile:
    """One file of a pool.

    Attributes:
        reader: finds and parses its records.
        name: the file as uids name it: relative to the pool root, `<name>:` before it when joined.
        root: number of the image root its images lie under.
        role: what its rows are there for: to choose from (`candidate`), always in (`kept`), or
            there already and never chosen (`have`).
    """

    reader: Reader
    name: str
    root: int
    role: RowRole = "candidate"


def named_paths(
    by_role: Mapping[RowRole, Sequence[Path]],
) -> Iterator[tuple[RowRole, Path, str]]:
    """Yield role, path and uid prefix of every file or folder given."""
    for role, paths in by_role.items():
        for path, name in zip(paths, pool_names(paths), strict=True):
            yield role, path, PREFIX[role] + name


def there_already(
    hashes: Sequence[bytes], masks: Mapping[RowRole, NDArray[np.bool_]]
) -> dict[int, str]:
    """Return, by row, why it is never chosen.

    These are `have` and `target` rows, and candidates with the content hash of one of them or of a
    kept row. What differs in image path or white space is left to methods that look for duplicates.

    Args:
        hashes: (N,) content hashes.
        masks: by role, (N,) the rows that have it: readable candidates, usable kept rows, all
            `have` and `target` rows.
    """
    statuses = dict.fromkeys(np.flatnonzero(masks["have"]).tolist(), HAVE)
    statuses |= dict.fromkeys(np.flatnonzero(masks["target"]).tolist(), TARGET)
    candidates = np.flatnonzero(masks["candidate"]).tolist()
    for role, status in EQUAL_TO.items():
        others = {hashes[row] for row in np.flatnonzero(masks[role]).tolist()}
        if others:
            for row in candidates:
                if hashes[row] in others:
                    statuses.setdefault(row, status)
    return statuses


def shown_already(
    shown: NDArray[np.int64], masks: Mapping[RowRole, NDArray[np.bool_]]
) -> dict[int, str]:
    """Return, by row, why an image without a conversation is never chosen: a record shows it.

    Args:
        shown: (N,) which images a row shows, see `ImageTable.sequence_of_row`.
        masks: as for `there_already`; candidates are those without a conversation, all usable.
    """
    statuses: dict[int, str] = {}
    for role, status in SHOWN_BY.items():
        others = np.unique(shown[masks[role] & (shown >= 0)])
        same = np.flatnonzero(masks["candidate"] & np.isin(shown, others))
        for row in same.tolist():
            statuses.setdefault(row, status)
    return statuses

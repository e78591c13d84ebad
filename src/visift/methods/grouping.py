"""The groups a method shares its budget over, from labels that may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError
from visift.pool.pool import Pool

Rows = NDArray[np.int64]

TEXT_ONLY = "text-only"
EVERYTHING = "all"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows and the group each is in.

    Attributes:
        labels: (G,) group names in label order, `text-only` last.
        of: (n,) int64 group of each of the rows asked about.
    """

    labels: tuple[str, ...]
    of: NDArray[np.int64]


def label_groups(
    pool: Pool, rows: Rows, kind: Literal["source", "task"] | None, unlabelled: str | None = None
) -> Labelled:
    """Group rows by a label.

    Text-only rows without a label form the group `text-only`; a pool without any label is one
    group, `all`.

    Args:
        pool: what rows refer to.
        rows: (n,) rows to group.
        kind: which label; None makes one group, `all`.
        unlabelled: group for rows with images but without a label among labelled ones.

    Raises:
        InputError: there are such rows, and no group was named for them.
    """
    if kind is None:
        return Labelled((EVERYTHING,), np.zeros(len(rows), np.int64))
    groups = pool.groups(kind)
    of = groups.of_row[rows].astype(np.int64)
    names = [groups.labels[g] if g >= 0 else "" for g in of]
    text = (of < 0) & pool.text_only[rows]
    bare = (of < 0) & ~text
    fallback = unlabelled
    if fallback is None and not (of >= 0).any():
        fallback = EVERYTHING
    if bare.any() and fallback is None:
        first = ", ".join(pool.uids(rows[bare][:_SHOWN]))
        raise InputError(
            f"{int(bare.sum()):,} records have no {kind}, others have one (first: {first}).",
            fix=f"Name the field (--{kind}-field), or group them: --set unlabelled=other",
        )
    for at in np.flatnonzero(text):
        names[at] = TEXT_ONLY
    for at in np.flatnonzero(bare):
        names[at] = str(fallback)
    labels = sorted(set(names), key=lambda name: (name == TEXT_ONLY, name))
    number = {name: g for g, name in enumerate(labels)}
    return Labelled(tuple(labels), np.array([number[name] for name in names], np.int64))

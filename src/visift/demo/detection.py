"""What a selection did with planted structure: shares kept, never "better than random".

The planter knows the answer, so a table like this shows what a method reacts to, not whether its
subset trains a better model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of planted rows.

    Attributes:
        kind: what was planted.
        rows: how many.
        selected: share of them in the selection.
        control: share of them in its random twin.
    """

    kind: str
    rows: int
    selected: float
    control: float


def detection_table(
    planted: Path, selected: NDArray[np.int64], control: NDArray[np.int64]
) -> list[Kept]:
    """Return, for each kind planted, the share of its rows that a selection and its twin keep.

    Args:
        planted: `planted.parquet` of a demo pool.
        selected: chosen rows.
        control: rows of the matched control.
    """
    table = pq.read_table(planted, columns=["row", "kind"])
    rows = table["row"].to_numpy()
    kinds = np.array(table["kind"].to_pylist())
    return [
        Kept(
            str(kind),
            int((kinds == kind).sum()),
            float(np.isin(rows[kinds == kind], selected).mean()),
            float(np.isin(rows[kinds == kind], control).mean()),
        )
        for kind in np.unique(kinds)
    ]

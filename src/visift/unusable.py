"""Records that cannot be used: kept with a reason, counted, and too many of them stop a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visift.errors import InputError, TooManyUnusable
from visift.pool.pool import Pool

#: The kind of reason that most often means a wrong folder, see `pool.imagetable`.
MISSING_IMAGE = "image missing"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Rows set aside and why.

    Attributes:
        reasons: by pool row, ascending.
    """

    reasons: Mapping[int, str]

    @classmethod
    def of(cls, *found: Mapping[int, str]) -> Quarantine:
        """Merge several findings; the first reason of a row stays."""
        merged: dict[int, str] = {}
        for reasons in found:
            for row, reason in reasons.items():
                merged.setdefault(row, reason)
        return cls(dict(sorted(merged.items())))

    def kinds(self) -> Counter[str]:
        """Count rows by kind of reason: what stands before the first colon."""
        return Counter(reason.partition(":")[0] for reason in self.reasons.values())

    def summary(self) -> str:
        """Return the counts in one line: `63 records (61 image missing, 2 JSON is malformed)`."""
        kinds = self.kinds()
        shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(_SHOWN))
        more = f", {len(kinds) - _SHOWN} more kinds" if len(kinds) > _SHOWN else ""
        noun = "record" if len(self.reasons) == 1 else "records"
        return f"{len(self.reasons):,} {noun} ({shown}{more})"

    @classmethod
    def load(cls, folder: Path, pool: Pool) -> Quarantine:
        """Read what a run set aside; rows are found by uid.

        Raises:
            InputError: the folder holds no such table.
        """
        try:
            table = pq.read_table(folder / "quarantine.parquet")
        except (OSError, pa.ArrowException):
            raise InputError(
                "quarantine.parquet is missing or damaged.",
                where=str(folder),
                fix="Run the selection again: what is measured is kept.",
            ) from None
        row_of = pool.rows_by_uid()
        pairs = zip(table["uid"].to_pylist(), table["reason"].to_pylist(), strict=True)
        return cls({row_of[uid]: reason for uid, reason in pairs if uid in row_of})

    def table(self, pool: Pool) -> pa.Table:
        """Return uid, file, row (0-based in its file) and reason of every row set aside."""
        rows = np.array(list(self.reasons), np.int64)
        files, places = pool.place_columns(rows)
        return pa.table(
            {
                "uid": pa.array(pool.uids(rows), pa.string()),
                "file": pa.array(files, pa.string()),
                "row": pa.array(places, pa.int64()),
                "reason": pa.array(list(self.reasons.values()), pa.string()),
            }
        )

    def check(self, pool: Pool, allowed: Fraction, after: str) -> None:
        """Stop where more than the allowed share of all records is set aside.

        Args:
            pool: the pool.
            allowed: share of its records.
            after: last sentence of the error: what was done so far.

        Raises:
            TooManyUnusable: names the counts by source, the first record, and the flag.
        """
        count, total = len(self.reasons), int(pool.offered.sum())
        if count <= allowed * total:
            return
        first, reason = next(iter(self.reasons.items()))
        percent = math.ceil(Fraction(count * 1000, total)) / 10
        on = f", or go on without: --max-unusable {percent:g}%" if count < total else ""
        raise TooManyUnusable(
            f"{count:,} of {total:,} records cannot be used: {self._by_source(pool)} "
            f"(first: {_place(pool, first, reason)}, {reason}).",
            fix=f"{self._remedy(pool)}{on}. {after}",
        )

    def _remedy(self, pool: Pool) -> str:
        if self.kinds().most_common(1)[0][0] != MISSING_IMAGE:
            return "Mend what is named"
        roots = ", ".join(str(root.path) for root in pool.roots)
        return f"Check --image-folder (looked in {roots})"

    def _by_source(self, pool: Pool) -> str:
        sources = pool.index["source"].take(pa.array(list(self.reasons))).to_pylist()
        kinds = (reason.partition(":")[0] for reason in self.reasons.values())
        counts = Counter((s or "without source", k) for s, k in zip(sources, kinds, strict=True))
        shown = [f"{n:,} {source} ({kind})" for (source, kind), n in counts.most_common(_SHOWN)]
        more = len(counts) - len(shown)
        return ", ".join(shown) + (f" and {more} more kinds" if more > 0 else "")


def _place(pool: Pool, row: int, reason: str) -> str:
    """Return where a record is; where its text is at fault, with the byte: files are large."""
    uid = pool.uids(np.array([row]))[0]
    at_fault = pool.index["fault"][row].as_py() == reason
    start = pool.start(row)
    return f"{uid} at byte {start:,}" if at_fault and start >= 0 else uid

"""A teacher's labels of some records: capability scores and interaction styles, from parquet.

    labels.parquet   uid, content_hash, score.<capability> ..., styles, failed,
                     tokens_in, tokens_out, dollars

A line names its record by content hash, which survives renaming and reordering, or by uid. One
whose `failed` says why has no labels, and is settled all the same. The last three say what a line
cost, where somebody knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.errors import InputError
from visift.files import file_facts
from visift.pool.bill import Bill, bill_of, costs_of
from visift.pool.pool import Pool

Rows = NDArray[np.int64]

SCORE = "score."
STYLES = "styles"
_LOWEST, _HIGHEST = 0, 5
_DIGEST_BYTES = 16
#: Rows whose uids are written out at a time.
_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of some rows, as a method asked for them.

    Attributes:
        rows: (n,) of the pool, ascending.
        scores: by capability, (n,) float64; NaN where the teacher gave none.
        styles: (n,) ordered labels of each row; empty where nobody asked for styles.
        known: whether they are known: where a run is only planned, there may be rows alone.
    """

    rows: Rows
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    styles: tuple[tuple[str, ...], ...] = ()
    known: bool = True


@dataclass(frozen=True, slots=True)
class TeacherLabels:
    """All labels there are for the rows of a pool.

    Attributes:
        scores: by capability and row, 0 to 5.
        styles: by row.
        failed: rows that the teacher could not label, and why.
        named: for every line the row it is about: of equal records the one with its uid.
        files: what each file is known by: name, size, digest, lines, failures, annotators, cost.
        handed_in: whether somebody named the files: then they say which rows are labelled.
        remarks: what of the files is not used, a clause each.
    """

    scores: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    styles: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    named: frozenset[int] = frozenset()
    files: tuple[Mapping[str, Any], ...] = ()
    handed_in: bool = False
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, pool: Pool, files: Sequence[Path], *, handed_in: bool = False) -> TeacherLabels:
        """Read labels; of several files the first that labels a row in a column counts.

        Args:
            pool: what they are of.
            files: those that are not there hold nothing, unless they were handed in.
            handed_in: see `TeacherLabels.handed_in`.

        Raises:
            InputError: a file that holds no labels, or a score that is not one of 0 to 5.
        """
        there = [file for file in files if handed_in or file.is_file()]
        scores: dict[str, dict[int, float]] = {}
        styles: dict[int, tuple[str, ...]] = {}
        failed: dict[int, str] = {}
        remarks, known, named = list[str](), list[Mapping[str, Any]](), set[int]()
        for file in there:
            table = _read(file)
            known.append(_known_by(file, table))
            rows, unknown = _rows(pool, table, file)
            named.update(_named(pool, table, rows))
            if unknown:
                remarks.append(f"{unknown:,} lines of {file.name} name no record of the pool")
            for name in _score_columns(table):
                by_row = scores.setdefault(name.removeprefix(SCORE), {})
                for at, score in zip(*_scores(table[name], f"{file}, column {name}"), strict=True):
                    for row in rows[at]:
                        by_row.setdefault(row, score)
            if STYLES in table.column_names:
                for at, said in enumerate(_styles(table[STYLES], file)):
                    for row in rows[at] if said else ():
                        styles.setdefault(row, said)
            if "failed" in table.column_names:
                for at, why in enumerate(table["failed"].to_pylist()):
                    failed.update((row, str(why)) for row in rows[at] if why)
        given = handed_in and bool(there)
        return cls(scores, styles, failed, frozenset(named), tuple(known), given, tuple(remarks))

    @property
    def bill(self) -> Bill:
        """Return what all labels that were handed in cost, those of no record of the pool too."""
        return bill_of(self.files)

    def lacking(self, rows: Sequence[int], capabilities: Sequence[str], styles: bool) -> list[int]:
        """Return those of some rows that nobody has labelled in all that is asked for."""
        asked: list[Mapping[int, object]] = [self.scores.get(key, {}) for key in capabilities]
        asked += [self.styles] * styles
        return [
            row for row in rows if row not in self.failed and any(row not in one for one in asked)
        ]

    def labelled(self) -> Rows:
        """Return the rows that were labelled, ascending; those equal to one are not among them."""
        found = set(self.styles).union(*self.scores.values())
        return np.array(sorted(found & self.named), np.int64)

    def of(self, rows: Rows, capabilities: Sequence[str], styles: bool) -> Labels:
        """Return the labels of those of some rows that have any of what is asked for."""
        by_key = {key: self.scores.get(key, {}) for key in capabilities}
        asked = [*by_key.values(), *([self.styles] if styles else [])]
        mine = [row for row in np.sort(rows).tolist() if any(row in one for one in asked)]
        return Labels(
            np.array(mine, np.int64),
            {key: np.array([one.get(row, np.nan) for row in mine]) for key, one in by_key.items()},
            tuple(self.styles.get(row, ()) for row in mine) if styles else (),
        )


def _read(file: Path) -> pa.Table:
    try:
        table = pq.read_table(file)
    except FileNotFoundError:
        raise InputError("there is no such file.", where=str(file), fix="Check --labels.") from None
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"not a readable parquet file ({reason}).", where=str(file), fix="Check --labels."
        ) from None
    names = table.column_names
    labels = _score_columns(table) or STYLES in names
    if not {"uid", "content_hash"} & set(names) or not labels:
        raise InputError(
            "holds no labels: uid or content_hash, and score.<capability> or styles were expected.",
            where=str(file),
            fix=f"Its columns are: {', '.join(names)}.",
        )
    return table


def _score_columns(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name.startswith(SCORE)]


def _rows(pool: Pool, table: pa.Table, file: Path) -> tuple[list[list[int]], int]:
    """Return, for every line, the rows of the pool it labels, and how many lines label none."""
    nothing = [None] * table.num_rows
    uids = table["uid"].to_pylist() if "uid" in table.column_names else nothing
    hashes = table["content_hash"].to_pylist() if "content_hash" in table.column_names else nothing
    by_hash: dict[str, list[int]] = {digest: [] for digest in hashes if digest}
    faults = pool.faults
    wanted = {bytes.fromhex(digest) for digest in by_hash if _is_digest(digest)}
    for row in np.flatnonzero(pool.offered).tolist() if wanted else ():
        digest = pool.content_hashes()[row]
        if digest in wanted and faults[row] is None:
            by_hash[digest.hex()].append(row)
    by_uid = _rows_of(pool, {uid for uid, digest in zip(uids, hashes, strict=True) if not digest})
    rows = [
        by_hash[digest] if digest else by_uid.get(uid, [])
        for uid, digest in zip(uids, hashes, strict=True)
    ]
    if table.num_rows and not any(rows):
        raise InputError(
            "labels no record of the pool.", where=str(file), fix="See that it is of this pool."
        )
    return rows, sum(not some for some in rows)


def _named(pool: Pool, table: pa.Table, rows: Sequence[Sequence[int]]) -> list[int]:
    """Return, for every line that labels rows, the one it is about."""
    uids = table["uid"].to_pylist() if "uid" in table.column_names else [None] * table.num_rows
    several = {uid for uid, some in zip(uids, rows, strict=True) if len(some) > 1 and uid}
    own = _rows_of(pool, several)
    named: list[int] = []
    for uid, some in zip(uids, rows, strict=True):
        mine = [row for row in own.get(uid, []) if row in some]
        named += mine or some[:1]
    return named


def _is_digest(text: str) -> bool:
    return len(text) == 2 * _DIGEST_BYTES and set(text) <= set("0123456789abcdef")


def _rows_of(pool: Pool, uids: set[str | None]) -> dict[str | None, list[int]]:
    """Return the row of each of some uids that the pool has."""
    found: dict[str | None, list[int]] = {}
    for start in range(0, len(pool) if uids else 0, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(pool)))
        for row, uid in zip(rows.tolist(), pool.uids(rows), strict=True):
            if uid in uids:
                found[uid] = [row]
    return found


def _known_by(file: Path, table: pa.Table) -> dict[str, Any]:
    """Return what a file of labels is known by."""
    names = table.column_names
    failed = table["failed"] if "failed" in names else None
    annotators = table["annotator"].unique().to_pylist() if "annotator" in names else []
    return {
        **file_facts(file),
        "lines": table.num_rows,
        "failed": 0 if failed is None else table.num_rows - failed.null_count,
        "annotators": sorted(str(one) for one in annotators if one is not None),
        **costs_of(table),
    }


def _scores(column: pa.ChunkedArray, where: str) -> tuple[list[int], list[float]]:
    """Return the lines with a score, and the scores; raises `InputError` for one beyond 0 to 5."""
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise InputError(f"holds {kind}, whole numbers from 0 to 5 were expected.", where=where)
    values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    at = np.flatnonzero(~np.isnan(values))
    wrong = (values[at] < _LOWEST) | (values[at] > _HIGHEST) | (values[at] % 1 != 0)
    if wrong.any():
        first = at[wrong][0]
        raise InputError(
            f"{values[first]:g} is no score: a whole number from 0 to 5 was expected.",
            where=f"{where}, row {first:,}",
            fix="Ratings that measure something else are no capability scores.",
        )
    return at.tolist(), values[at].tolist()


def _styles(column: pa.ChunkedArray, file: Path) -> list[tuple[str, ...]]:
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [tuple(map(str, one or ())) for one in column.to_pylist()]
    if pa.types.is_string(kind):
        return [
            tuple(s.strip() for s in (one or "").split(",") if s.strip())
            for one in column.to_pylist()
        ]
    raise InputError(f"holds {kind}, lists of texts were expected.", where=f"{file}, column styles")

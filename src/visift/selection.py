"""The answer: which rows, in what order, with what score, for what reason."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.budget import Budget
from visift.errors import InfeasibleBudget, InputError, PoolError

if TYPE_CHECKING:
    import pandas as pd

    from visift.pool.pool import Pool

Rows = NDArray[np.int64]

#: Statuses of a record in `scores.parquet`; further words come from methods.
SELECTED = "selected"
NOT_SELECTED = "not selected"
SET_ASIDE = "set aside"
_SHOWN = 10


@dataclass(frozen=True)
class Choice:
    """What a method decided, in the pool's row numbers; `Selection.of` makes it readable.

    Attributes:
        rows: (n,) chosen rows in rank order.
        reasons: (n,) one sentence a row.
        score: (N,) the method's raw value of every row, NaN where it has none.
        group: (N,) the group each row competed in, or None.
        status: (N,) what became of rows that could not be chosen, None for all others.
        tied: (n,) whether the tie key decided that a row is in.
        facts: what a report needs besides: direction of the score, margin at the cut, notices.
        columns: by name, (N,) further values of every row, for `scores.parquet`; None or NaN where
            a row has none.
    """

    rows: Rows
    reasons: Sequence[str]
    score: NDArray[np.float64]
    group: Sequence[str | None]
    status: Sequence[str | None]
    tied: NDArray[np.bool_]
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Sequence[Any] | NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """A ranked subset of a pool.

    Attributes:
        table: one row a chosen record: uid, content_hash, file, row, rank (from 1), score, reason,
            source, task, group, quota, tied.
        scores: one row a record of the pool: uid, content_hash, file, row, source, task, group,
            score, status, and what else a method says of every record.
        facts: see `Choice.facts`, how many records were usable, and how many kept are in.
    """

    table: pa.Table = field(repr=False)
    scores: pa.Table = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, pool: Pool, choice: Choice, set_aside: Mapping[int, str]) -> Selection:
        """Name the rows of a choice.

        Args:
            pool: what rows refer to.
            choice: what a method decided.
            set_aside: by row, why a record could not be used.
        """
        everything = describe_rows(pool, np.arange(len(pool)))
        group = pa.array(list(choice.group), pa.string())
        chosen = pa.array(choice.rows)
        quota = _quota(group.take(chosen))
        table = everything.take(chosen).append_column("group", group.take(chosen))
        score = pa.array(choice.score, from_pandas=True)
        columns = {
            **{name: table[name] for name in ("uid", "content_hash", "file", "row")},
            "rank": pa.array(np.arange(1, len(choice.rows) + 1)),
            "score": score.take(chosen),
            "reason": pa.array(list(choice.reasons), pa.string()),
            **{name: table[name] for name in ("source", "task", "group")},
            "quota": quota,
            "tied": pa.array(choice.tied),
        }
        scores = everything.append_column("group", group).append_column("score", score)
        scores = scores.append_column("status", _status(choice, pool.left_out, set_aside))
        for name, values in choice.columns.items():
            scores = scores.append_column(name, pa.array(values, from_pandas=True))
        kept = int(pool.has_role("kept")[choice.rows].sum())
        return cls(pa.table(columns), scores, {**choice.facts, "kept": kept})

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"Selection({len(self):,} of {self.scores.num_rows:,} records)"

    def _repr_html_(self) -> str:
        head = self.table.slice(0, _SHOWN).select(["rank", "uid", "score", "reason", "source"])
        rows = [head.column_names, *(row.values() for row in head.to_pylist())]
        cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<p>{escape(repr(self))}</p><table>{body}</table>"

    def to_pandas(self) -> pd.DataFrame:
        """Return the chosen records as a pandas data frame, in rank order.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            return self.table.to_pandas()
        except ModuleNotFoundError:
            raise InputError("this needs pandas.", fix="pip install pandas") from None

    def top(self, budget: str | int) -> Selection:
        """Return the first ranks of the selection, as many as a smaller budget allows.

        `tied` and the reasons stay those of the whole selection.

        Raises:
            InputError: the method does not promise nested budgets, or the budget counts images.
            InfeasibleBudget: more than was selected, or less than what is always in.
        """
        if not self.facts.get("nested", False):
            raise InputError(
                "this method's smaller budgets are not prefixes of larger ones.",
                fix="Run it again with the smaller budget.",
            )
        wanted = Budget.parse(budget)
        if wanted.unit not in ("rows", "fraction"):
            raise InputError("top() takes rows or a share.", fix=f"Select again for {wanted.text}.")
        limit = wanted.limit(int(self.facts["usable"]))
        if limit > len(self):
            raise InputError(
                f"{wanted.text} is {limit:,} records, more than the {len(self):,} selected."
            )
        kept = int(self.facts.get("kept", 0))
        if limit < kept:
            raise InfeasibleBudget(f"{wanted.text} is fewer than the {kept:,} records of --keep.")
        table = self.table.slice(0, limit)
        place = table.schema.get_field_index("quota")
        group = table["group"].combine_chunks()
        table = table.set_column(place, "quota", _quota(group))
        return Selection(table, _only_selected(self.scores, table), self.facts)

    def rows_in(self, pool: Pool) -> Rows:
        """Return the pool rows of the selection, in rank order, checked by content hash.

        Raises:
            PoolError: the pool is not the one the selection was made from.
        """
        hashes = pool.content_hashes()
        row_of = pool.rows_by_uid()
        rows = [row_of.get(uid, -1) for uid in self.table["uid"].to_pylist()]
        wanted = self.table["content_hash"].to_pylist()
        for row, uid, digest in zip(rows, self.table["uid"].to_pylist(), wanted, strict=True):
            if row < 0 or hashes[row].hex() != digest:
                raise PoolError(
                    "is not the record that was selected: the pool has changed.",
                    where=uid,
                    fix="Name the pool the selection was made from.",
                )
        return np.array(rows, np.int64)

    def save(self, folder: Path) -> None:
        """Write `selection.parquet` and `scores.parquet` into a folder."""
        note = {b"visift": json.dumps(dict(self.facts), sort_keys=True).encode()}
        pq.write_table(self.table.replace_schema_metadata(note), folder / "selection.parquet")
        pq.write_table(self.scores, folder / "scores.parquet")

    @classmethod
    def load(cls, folder: Path) -> Selection:
        """Read what `save` wrote; raises `InputError` if the folder holds no selection."""
        try:
            table = pq.read_table(folder / "selection.parquet")
            scores = pq.read_table(folder / "scores.parquet")
            facts = json.loads((table.schema.metadata or {})[b"visift"])
        except (OSError, pa.ArrowInvalid, KeyError):
            raise InputError(
                "holds no selection: selection.parquet or scores.parquet is missing or damaged.",
                where=str(folder),
                fix="Run the selection again: what is measured is kept.",
            ) from None
        return cls(table, scores, facts)


def describe_rows(pool: Pool, rows: Rows) -> pa.Table:
    """Return uid, content_hash, file, row (0-based in it), source and task of rows."""
    files, places = pool.place_columns(rows)
    hashes = pool.content_hashes()
    labels = pool.index.select(["source", "task"]).take(pa.array(rows))
    return pa.table(
        {
            "uid": pool.uids(rows),
            "content_hash": [hashes[row].hex() for row in rows],
            "file": pa.array(files, pa.string()),
            "row": pa.array(places),
            "source": labels["source"],
            "task": labels["task"],
        }
    )


def _quota(groups: pa.Array) -> pa.Array:
    """Return, for each chosen row, how many rows its group got."""
    encoded = groups.dictionary_encode()
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    return pa.array(np.bincount(codes)[codes] if len(codes) else np.empty(0, np.int64))


def _only_selected(scores: pa.Table, table: pa.Table) -> pa.Table:
    """Return the scores with the status `selected` for the rows of a table only."""
    kept = set(table["uid"].to_pylist())
    pairs = zip(scores["uid"].to_pylist(), scores["status"].to_pylist(), strict=True)
    words = [NOT_SELECTED if s == SELECTED and uid not in kept else s for uid, s in pairs]
    place = scores.schema.get_field_index("status")
    return scores.set_column(place, "status", pa.array(words, pa.string()))


def _status(choice: Choice, left_out: Mapping[int, str], set_aside: Mapping[int, str]) -> pa.Array:
    words = [NOT_SELECTED if status is None else status for status in choice.status]
    for row, status in left_out.items():
        words[row] = status
    for row, reason in set_aside.items():
        words[row] = f"{SET_ASIDE}: {reason}"
    for row in choice.rows:
        words[row] = SELECTED
    return pa.array(words, pa.string())

"""The selections of a comparison: what each chose, and what it chose from, as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.errors import InputError
from visift.lists.matching import Ambiguous, match
from visift.lists.published import Key, Published, read_published
from visift.pool.pool import Pool
from visift.selection import NOT_SELECTED, SELECTED, SET_ASIDE, Selection, describe_rows

IntArray = NDArray[np.int64]

_COLUMNS = ("content_hash", "uid", "source", "task", "score")


@dataclass(frozen=True)
class Side:
    """One selection.

    Attributes:
        name: short, and no other's.
        path: where it was read from.
        method: what chose, or an empty text.
        budget: as written, or None.
        chosen: (n,) content_hash, uid, source, task, score, reason in rank order.
        pool: (N,) content_hash, uid, source, task, score, status of all records; None if unknown.
        lowest_first: whether low scores are the good ones.
        left_out: entries of the list that the pool does not hold.
        warning: what must be said of it.
        seed: of ties and draws, if it has no scores: then the seed alone orders the records.
    """

    name: str
    path: Path
    method: str
    budget: str | None
    chosen: pa.Table = field(repr=False)
    pool: pa.Table | None = field(default=None, repr=False)
    lowest_first: bool = False
    left_out: int = 0
    warning: str | None = None
    seed: int | None = None

    def __len__(self) -> int:
        return int(self.chosen.num_rows)

    def offered(self) -> NDArray[np.bool_]:
        """Return (N,) which records of its pool it could have chosen."""
        if self.pool is None:
            return np.ones(0, bool)
        status = self.pool["status"].combine_chunks().dictionary_encode()
        words = [word or "" for word in status.dictionary.to_pylist()]
        fine = np.array([word in ("", SELECTED, NOT_SELECTED) for word in words] + [True])
        return np.asarray(fine[status.indices.fill_null(-1).to_numpy(zero_copy_only=False)])


def open_sides(
    paths: Sequence[Path],
    pool: Pool | None,
    by: Key | None = None,
    ambiguous: Ambiguous = "error",
) -> list[Side]:
    """Read the selections to compare.

    Args:
        paths: run directories, tables of selections, or lists.
        pool: what lists of ids are looked up in.
        by: see `match`.
        ambiguous: see `match`.

    Raises:
        InputError: fewer than two, one twice, or one that cannot be read.
    """
    if len(paths) < 2:
        raise InputError(
            "a comparison needs two selections.", fix="For example: visift compare out-a out-b"
        )
    real = [path.resolve() for path in paths]
    twice = next((path for at, path in enumerate(real) if path in real[:at]), None)
    if twice is not None:
        raise InputError("is named twice.", where=str(twice), fix="Name two different selections.")
    pairs = zip(paths, short_names(real), strict=True)
    return [_open(path, name, pool, by, ambiguous) for path, name in pairs]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return for each path the parts that tell it from the others, as few as it takes.

    `runs/a/out` and `runs/b/out` are `a` and `b`; `a.json` and `b.json` keep their names.
    """
    parts = [path.parts for path in paths]
    longest = max(map(len, parts))
    for width in range(1, longest + 1):
        for last in range(longest - width + 1):
            names = [str(Path(*p[: len(p) - last][-width:])) for p in parts]
            same_end = len({p[len(p) - last :] for p in parts}) == 1
            if same_end and len(set(names)) == len(names):
                return names
    return [str(path) for path in paths]


def _open(path: Path, name: str, pool: Pool | None, by: Key | None, ambiguous: Ambiguous) -> Side:
    listed = read_published(path)
    if listed.folder is not None:
        return _of_run(path, name, listed.folder)
    if pool is not None:
        return _of_match(listed, name, pool, by, ambiguous)
    if "content" not in listed.keys:
        kinds = " or ".join(kind for kind in listed.keys)
        raise InputError(
            f"names records by {kinds} only, which says nothing without a pool.",
            where=str(path),
            fix="Name the pool: --pool FILE",
        )
    return Side(name, path, "", None, _of_list(listed))


def _of_run(path: Path, name: str, folder: Path) -> Side:
    selection = Selection.load(folder)
    facts, direction = selection.facts, selection.facts.get("direction", "none")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return Side(
        name=name,
        path=path,
        method=str(manifest["method"]),
        budget=manifest["budget"],
        chosen=selection.table.select([*_COLUMNS, "reason"]),
        pool=selection.scores.select([*_COLUMNS, "status"]),
        lowest_first=direction == "lowest first",
        warning=manifest.get("warning"),
        seed=manifest["seed"] if direction == "none" and "applied" not in facts else None,
    )


def _of_match(
    listed: Published, name: str, pool: Pool, by: Key | None, ambiguous: Ambiguous
) -> Side:
    found = match(listed, pool, by, ambiguous)
    if not len(found.rows):
        raise InputError(
            "none of its records is in the pool.",
            where=str(listed.path),
            fix="Name the pool it was chosen from: --pool FILE",
        )
    entries = found.entries.tolist()
    score = np.full(len(pool), np.nan)
    if listed.scores:
        score[found.rows] = np.array([listed.scores[e] for e in entries], np.float64)
    status: list[str | None] = [None] * len(pool)
    for row, reason in pool.set_aside().items():
        status[row] = f"{SET_ASIDE}: {reason}"
    for row in found.rows.tolist():
        status[row] = SELECTED
    everything = describe_rows(pool, np.arange(len(pool)))
    everything = everything.append_column("score", pa.array(score, from_pandas=True))
    reasons = [listed.reasons[e] if listed.reasons else None for e in entries]
    chosen = everything.take(pa.array(found.rows)).select(list(_COLUMNS))
    return Side(
        name=name,
        path=listed.path,
        method="",
        budget=None,
        chosen=chosen.append_column("reason", pa.array(reasons, pa.string())),
        pool=everything.select(list(_COLUMNS)).append_column("status", pa.array(status)),
        left_out=len(listed) - found.found,
    )


def _of_list(listed: Published) -> pa.Table:
    """Return what a list says of its records by itself."""
    there = [at for at, digest in enumerate(listed.keys["content"]) if digest is not None]
    if not there:
        raise InputError("none of its records can be read.", where=str(listed.path))
    nothing = pa.nulls(len(there), pa.string())
    names = listed.keys.get("uid") or listed.keys.get("id") or [None] * len(listed)
    scores = listed.scores or [None] * len(listed)
    reasons = listed.reasons or [None] * len(listed)
    return pa.table(
        {
            "content_hash": [listed.keys["content"][at].hex() for at in there],
            "uid": pa.array([names[at] for at in there], pa.string()),
            "source": nothing,
            "task": nothing,
            "score": pa.array([scores[at] for at in there], pa.float64()),
            "reason": pa.array([reasons[at] for at in there], pa.string()),
        }
    )

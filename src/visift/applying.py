"""Rebuilding a selection on a pool: from a run, or from a list that somebody published.

Nothing is measured and no model is opened: records are found by what they say, and the folder that
comes of it is a run directory like any other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.applied import Applied, Fit, say_fit
from visift.config import EngineConfig, PoolConfig, RunConfig, share
from visift.errors import InputError
from visift.export.trainers import check_trainer
from visift.files import disk_errors
from visift.finished import Run, random_arms
from visift.lists.matching import Ambiguous, match, rows_of
from visift.lists.published import Key, Published, read_published
from visift.methods.method import Setting
from visift.pool.pool import Pool
from visift.rundir import RunFolder, read_settings
from visift.say import Say, say_nothing, say_pool
from visift.selection import NOT_SELECTED, SELECTED, SET_ASIDE, Choice, Selection
from visift.unusable import MISSING_IMAGE, Quarantine

IntArray = NDArray[np.int64]

#: What stands for the method in the run directory of a list that no run of ours made.
PUBLISHED = "published"
#: What names the listed records that did not get in, if there are any.
LEFT_OUT = "left_out.parquet"


def apply(
    subset: str | Path,
    pool: PoolConfig,
    *,
    output: str | Path,
    by: Key | None = None,
    ambiguous: Ambiguous = "error",
    min_match: str = "99%",
    export: Sequence[str] = ("llava",),
    nested: bool = False,
    overwrite: bool = False,
    say: Say = say_nothing,
) -> Applied:
    """Rebuild a selection on a pool, and write it as a run directory.

    Args:
        subset: a run directory, its `selection.parquet`, or a list of records or ids.
        pool: what to find the records in.
        output: the folder to write.
        by: see `match`.
        ambiguous: see `match`.
        min_match: share of the listed records that must be found and usable.
        export: trainers to write for.
        nested: export in rank order.
        overwrite: replace another run in `output`.
        say: called with (label, text) for every line a person would want to read.

    Raises:
        InputError: too few records are found or usable, and what `read_published`, `match` and
            `RunFolder.begin` raise.
        PoolError: the pool cannot be read.
    """
    started = time.monotonic()
    least = share(min_match)
    for trainer in export:
        check_trainer(trainer)
    listed = read_published(Path(subset))
    config = _config(listed, pool, tuple(export), nested).checked()
    _must_be_elsewhere(listed, config, Path(output))
    opened = config.pool.open()
    say_pool(say, opened)
    there = _There.of(opened, listed)
    found = match(listed, opened, by, ambiguous)
    fit = Fit(listed, opened, found, there.quarantine(opened))
    fit.check(least)
    say_fit(say, fit)
    with RunFolder.begin(Path(output), config, overwrite) as folder:
        if fit.aside.reasons:
            say("Set aside", f"{fit.aside.summary()} → {folder.path / 'quarantine.parquet'}")
        run = _run_of(folder.path, config, fit, there)
        run = replace(run, seconds=time.monotonic() - started)
        folder.write(run, say)
        _write_left_out(fit, folder.path / LEFT_OUT)
    return Applied(run, fit)


def _write_left_out(fit: Fit, path: Path) -> None:
    with disk_errors(path.parent):
        path.unlink(missing_ok=True)
        if fit.left_out:
            pq.write_table(fit.left_out_table(), path)


# --- what was asked ----------------------------------------------------------------------------


def _config(
    listed: Published, pool: PoolConfig, export: tuple[str, ...], nested: bool
) -> RunConfig:
    """Return the configuration of the run that a list comes from, on another pool."""
    if listed.folder is None:
        said = {"list": str(listed.path.absolute()), "blake2b": _digest(listed.path)}
        return RunConfig(pool=pool, method=PUBLISHED, settings=said, export=export, nested=nested)
    before = RunConfig.from_yaml(listed.folder / "run.yaml")
    return replace(before, pool=pool, export=export, nested=nested, engine=EngineConfig())


def _digest(path: Path) -> str:
    file = path / "selection.parquet" if path.is_dir() else path
    return blake2b(file.read_bytes(), digest_size=16).hexdigest()


def _must_be_elsewhere(listed: Published, config: RunConfig, output: Path) -> None:
    """Raise `InputError` for an output that would destroy or spoil what is read."""
    inside = [Path(name) for name in config.pool.files if Path(name).is_dir()]
    if any(output.resolve().is_relative_to(folder.resolve()) for folder in inside):
        raise InputError(
            "lies inside the pool folder: its files would be read as records next time.",
            where=str(output),
            fix="Choose an --output elsewhere.",
        )
    if listed.path.resolve().is_relative_to(output.resolve()):
        raise InputError(
            "holds what is to be applied.", where=str(output), fix="Choose another --output."
        )


# --- what comes of it --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _There:
    """What a run knew of the records of this pool; empty for a list that is no run.

    Attributes:
        selection: the run's.
        row_of: (S,) pool row of each record of its `scores.parquet`, -1 for none.
        settings: of its method.
    """

    selection: Selection | None = None
    row_of: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    settings: Sequence[Setting] = ()

    @classmethod
    def of(cls, pool: Pool, listed: Published) -> _There:
        if listed.folder is None:
            return cls()
        selection = Selection.load(listed.folder)
        hashes = map(bytes.fromhex, selection.scores["content_hash"].to_pylist())
        settings = read_settings(listed.folder)
        return cls(selection, rows_of(list(hashes), pool.content_hashes()), settings)

    def column(self, name: str, size: int) -> list[Any]:
        """Return (size,) a column of the scores by pool row, None where the run knew nothing."""
        values: list[Any] = [None] * size
        if self.selection is not None:
            pairs = zip(self.row_of.tolist(), self.selection.scores[name].to_pylist(), strict=True)
            for row, value in pairs:
                if row >= 0:
                    values[row] = value
        return values

    def quarantine(self, pool: Pool) -> Quarantine:
        """Return what the pool cannot offer, and what the run could not use for other reasons."""
        mark = f"{SET_ASIDE}: "
        before = {
            row: status.removeprefix(mark)
            for row, status in enumerate(self.column("status", len(pool)))
            if status is not None and status.startswith(mark)
        }
        lasting = {r: why for r, why in before.items() if not why.startswith(MISSING_IMAGE)}
        return Quarantine.of(pool.set_aside(), lasting)

    def tied(self) -> IntArray:
        """Return the entries for which the tie key decided."""
        if self.selection is None:
            return np.empty(0, np.int64)
        return np.flatnonzero(self.selection.table["tied"].to_numpy())

    def statuses(self, pool: Pool) -> list[str | None]:
        """Return the words of the run's method on records that it ruled out."""
        passed = (None, SELECTED, NOT_SELECTED)
        said = self.column("status", len(pool))
        return [None if s in passed or s.startswith(SET_ASIDE) else s for s in said]


def _run_of(folder: Path, config: RunConfig, fit: Fit, there: _There) -> Run:
    """Put the run together; its random arms follow from pool, selection and seed."""
    pool, rows = fit.pool, fit.rows
    choice = _choice(fit, there)
    control, random = random_arms(pool, rows, fit.aside, config.seed)
    return Run(
        folder=folder,
        config=config,
        pool=pool,
        selection=Selection.of(pool, choice, fit.aside.reasons),
        rows=rows,
        quarantine=fit.aside,
        control=control,
        random=random,
        settings=there.settings,
    )


def _choice(fit: Fit, there: _There) -> Choice:
    """Return what was taken, with score, reason and group of the run, or of the list."""
    listed, size, entries = fit.listed, len(fit.pool), fit.entries.tolist()
    score = np.array(there.column("score", size), np.float64)
    if there.selection is None and listed.scores:
        score[fit.rows] = np.array([listed.scores[entry] for entry in entries], np.float64)
    reasons = listed.reasons or [None] * len(listed)
    status = there.statuses(fit.pool)
    ruled_out = [row for row, why in enumerate(status) if why is not None]
    usable = np.setdiff1d(fit.pool.rows("candidate"), [*fit.aside.reasons, *ruled_out])
    facts = {"direction": "none"} if there.selection is None else dict(there.selection.facts)
    return Choice(
        rows=fit.rows,
        reasons=[reasons[entry] or f"as in {listed.name}" for entry in entries],
        score=score,
        group=there.column("group", size),
        status=status,
        tied=np.isin(fit.entries, there.tied()),
        facts={**facts, "usable": len(usable), "applied": _facts(fit)},
    )


def _facts(fit: Fit) -> Mapping[str, Any]:
    """Return what the manifest says of where the selection is from."""
    return {
        "list": fit.listed.name,
        "by": fit.match.by,
        "listed": fit.match.listed,
        "found": fit.match.found,
        "by images and text": len(fit.match.loose),
        "repeated": len(fit.match.repeated),
        "left out": len(fit.left_out),
    }

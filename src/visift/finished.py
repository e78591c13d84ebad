"""A finished run: what was chosen, its random twins, and what can be made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.config import RunConfig
from visift.engine.ledger import Entry
from visift.errors import InputError
from visift.export.exporter import DEFAULTS, ExportOptions
from visift.export.trainers import write_export
from visift.methods.controls import matched_control, proportional_random
from visift.methods.method import Setting
from visift.pool.annotations import Annotations
from visift.pool.pool import Pool
from visift.report.gallery import Gallery, gallery
from visift.rundir import read_costs, read_settings
from visift.selection import Selection
from visift.unusable import Quarantine
from visift.wanted import open_annotations

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: the run directory.
        config: what was asked for.
        pool: what was chosen from.
        selection: what was chosen.
        rows: pool rows of the selection, in rank order.
        quarantine: what was set aside.
        control: pool rows of the twin, see `methods.controls.matched_control`; what is always in
            stands first.
        random: pool rows of a source-proportional random selection of the same size, likewise.
        settings: parameters of the method with their origins.
        ledger: what was asked of each signal, and how much of it was measured.
        identities: of the signals that were measured or read from the store.
        seconds: how long the run took.
        annotations: conversations that were written for chosen images.
        labels: what the files of a teacher's labels that it learnt from are known by.
    """

    folder: Path
    config: RunConfig
    pool: Pool = field(repr=False)
    selection: Selection
    rows: Rows = field(repr=False)
    quarantine: Quarantine = field(repr=False)
    control: Rows = field(repr=False)
    random: Rows = field(repr=False)
    settings: Sequence[Setting] = field(repr=False)
    ledger: Sequence[Entry] = field(default=(), repr=False)
    identities: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    seconds: float = field(default=0.0, repr=False)
    annotations: Annotations = field(default_factory=Annotations, repr=False)
    labels: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return f"Run({self.folder}: {self.config.method}, {self.selection!r})"

    def _repr_html_(self) -> str:
        return self.selection._repr_html_()

    def wanted(self) -> Rows:
        """Return the chosen rows that have no conversation, and nobody has written one yet."""
        bare = self.rows[self.pool.unannotated[self.rows]]
        there = np.fromiter(self.annotations.of_row, np.int64, len(self.annotations.of_row))
        return bare[~np.isin(bare, there)]

    def mix(self) -> dict[str, tuple[int, int]]:
        """Return, by source, how many records the pool has and how many are selected.

        Records without a source count as `text-only` or `no source`; the largest comes first.
        """
        text = np.where(self.pool.text_only, "text-only", "no source").tolist()
        sources = self.selection.scores["source"].to_pylist()
        names = [name or bare for name, bare in zip(sources, text, strict=True)]
        chosen = Counter(names[row] for row in self.rows.tolist())
        offered = np.flatnonzero(self.pool.offered).tolist()
        there = Counter(names[row] for row in offered)
        return {name: (count, chosen[name]) for name, count in there.most_common()}

    def show(self, kind: str = "near-cut", count: int = 12) -> Gallery:
        """Return a small gallery for a notebook.

        Args:
            kind: `kept`, `dropped`, or `near-cut` (just inside and just outside).
            count: how many records.

        Raises:
            InputError: no such kind, or too many.
        """
        return gallery(self, kind, count)

    def export(
        self,
        trainer: str,
        folder: str | Path,
        *,
        options: ExportOptions = DEFAULTS,
        note: Callable[[str], object] = lambda text: None,
    ) -> Path:
        """Write subset, control and random for a trainer; returns the folder.

        Args:
            trainer: one of `export.trainers.TRAINERS`.
            folder: written to; made if it is not there.
            options: order, images, and what becomes of records that do not fit.
            note: called with every sentence that a person should read.

        Raises:
            InputError: no such trainer, records that it cannot read, or some without a
                conversation.
            StorageError: the folder cannot be written.
        """
        pool, arms = self._arms()
        return write_export(
            trainer,
            pool,
            arms,
            Path(folder),
            ranked=self.config.nested,
            options=options,
            note=note,
        )

    def _arms(self) -> tuple[Pool, dict[str, Rows]]:
        """Return what is written: three arms, or the annotated selection alone.

        Nobody has annotated the random arms of images, and that would cost as much again.
        """
        if not self.pool.unannotated[self.rows].any():
            arms = {"subset": self.rows, "control": self.control, "random": self.random}
            return self.pool, arms
        if wanted := len(self.wanted()):
            raise InputError(
                f"{counted(wanted, 'chosen record')} without a conversation.",
                where=str(self.folder),
                fix="Annotate what to_annotate.jsonl lists, and run the same selection again.",
            )
        pool, rows = self.annotations.joined_with(self.pool, self.rows)
        return pool, {"subset": rows}


def random_arms(pool: Pool, rows: Rows, found: Quarantine, seed: int) -> tuple[Rows, Rows]:
    """Return the twin of a selection and a random one in the pool's mix, of the same size.

    What is always in stands first in both.

    Args:
        pool: what rows refer to.
        rows: of the selection.
        found: what could not be used when it was made; the pool may know otherwise by now.
        seed: of the draws.
    """
    is_kept = pool.has_role("kept")[rows]
    kept, drawn = rows[is_kept], rows[~is_kept]
    out = [*found.reasons, *pool.left_out]
    usable = np.setdiff1d(np.flatnonzero(pool.has_role("candidate")), out)
    control = matched_control(pool, drawn, usable, seed)
    random = proportional_random(pool, len(drawn), usable, seed)
    return np.concatenate([kept, control]), np.concatenate([kept, random])


def run_of(
    folder: Path,
    config: RunConfig,
    pool: Pool,
    said: Sequence[Setting],
    selection: Selection,
    rows: Rows,
    found: Quarantine,
) -> Run:
    """Put a run together; its two random arms follow from pool, selection and seed."""
    control, random = random_arms(pool, rows, found, config.seed)
    return Run(
        folder=folder,
        config=config,
        pool=pool,
        selection=selection,
        rows=rows,
        quarantine=found,
        control=control,
        random=random,
        settings=said,
    )


def reopen(
    folder: Path,
    *,
    files: tuple[str, ...] = (),
    image_folder: str | None = None,
    nested: bool = False,
) -> Run:
    """Open a finished run and its pool again, without choosing anew.

    Args:
        folder: the run directory.
        files: the pool, if it is not where the run found it.
        image_folder: its images, likewise.
        nested: export in rank order.

    Raises:
        InputError: the folder holds no finished run.
        PoolError: the pool is not there, or has changed.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such folder.",
            where=str(folder),
            fix="Name the --output of a visift select that ended.",
        )
    if not (folder / "manifest.json").is_file():
        raise InputError(
            "holds no finished run.",
            where=str(folder),
            fix="Name the --output of a visift select that ended.",
        )
    config = RunConfig.from_yaml(folder / "run.yaml")
    named = config.pool
    named = replace(
        named, files=files or named.files, image_folder=image_folder or named.image_folder
    )
    config = replace(config, pool=named, nested=nested or config.nested)
    pool = named.open()
    selection = Selection.load(folder)
    found = Quarantine.load(folder, pool)
    rows = selection.rows_in(pool)
    run = run_of(folder, config, pool, read_settings(folder), selection, rows, found)
    ledger, identities, seconds = read_costs(folder)
    run = replace(run, ledger=ledger, identities=identities, seconds=seconds)
    return replace(run, annotations=open_annotations(pool, folder))

"""One selection run: open the pool, look before measuring, measure, choose, write."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.config import EngineConfig, PoolConfig, RunConfig, share
from visift.engine.lab import Entry, LocalLab
from visift.engine.progress import Progress, Silent
from visift.errors import InputError
from visift.export.trainers import check_trainer, write_export
from visift.methods.controls import matched_control, proportional_random
from visift.methods.cutting import ask_tokens, limit_of, priced
from visift.methods.method import Method, Setting, build, settings
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.rundir import RunFolder, read_costs
from visift.say import (
    Say,
    say_budget,
    say_duplicates,
    say_method,
    say_nothing,
    say_pool,
    say_unused,
)
from visift.selection import Selection
from visift.signals.imported import Imported, SignalFile
from visift.staff import cache_folder, staffing
from visift.unusable import Quarantine

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

    def __repr__(self) -> str:
        return f"Run({self.folder}: {self.config.method}, {self.selection!r})"

    def _repr_html_(self) -> str:
        return self.selection._repr_html_()

    def mix(self) -> dict[str, tuple[int, int]]:
        """Return, by source, how many records the pool has and how many are selected.

        Records without a source count as `text-only` or `no source`; the largest comes first.
        """
        text = np.where(self.pool.text_only, "text-only", "no source").tolist()
        sources = self.selection.scores["source"].to_pylist()
        names = [name or bare for name, bare in zip(sources, text, strict=True)]
        chosen = Counter(names[row] for row in self.rows.tolist())
        offered = np.flatnonzero(~self.pool.has_role("have")).tolist()
        there = Counter(names[row] for row in offered)
        return {name: (count, chosen[name]) for name, count in there.most_common()}

    def export(self, trainer: str, folder: str | Path) -> Path:
        """Write subset, control and random for a trainer; returns the folder.

        Raises:
            InputError: no such trainer.
            StorageError: the folder cannot be written.
        """
        arms = {"subset": self.rows, "control": self.control, "random": self.random}
        return write_export(trainer, self.pool, arms, Path(folder), ranked=self.config.nested)


def select(
    pool: Pool | str | Path | Sequence[str | Path],
    *,
    method: str | None = None,
    budget: str | int | None = None,
    model: str | ModelRef | None = None,
    seed: int = 0,
    output: str | Path = "out",
    keep: str | Path | Sequence[str | Path] = (),
    have: str | Path | Sequence[str | Path] = (),
    image_folder: str | Path | None = None,
    task_field: str | None = None,
    source_field: str | None = None,
    hash_images: bool = False,
    settings: Mapping[str, Any] | None = None,
    signals: str | Path | Sequence[str | Path] = (),
    max_unusable: str | float = "1%",
    export: str | Sequence[str] = ("llava",),
    nested: bool = False,
    cache: str | Path | None = None,
    workers: int | str = "auto",
    executor: str = "processes",
    overwrite: bool = False,
) -> Run:
    """Choose the subset of a pool worth training on; the words are those of the command line.

    Args:
        pool: an open pool, or its file or files.
        method: name of a method, see `list_methods`; None is `balanced`.
        budget: `15%`, 100000, `50k-images`, `2M-tokens`, `5x keep`; None for the method's own.
        model: folder, hub id or `name@revision`, where the method needs one.
        seed: of ties and draws.
        output: the run directory.
        keep: files of records that are always in.
        have: files of records trained on or annotated already, which are never chosen.
        image_folder: see `Pool.open`; it and all others that it knows are for a pool given by name.
        task_field: see `Pool.open`.
        source_field: see `Pool.open`.
        hash_images: see `Pool.open`.
        settings: parameters of the method, by name.
        signals: parquet files of numbers measured elsewhere.
        max_unusable: share of records that may be set aside.
        export: trainers to write for.
        nested: export in rank order, so that every smaller budget is a prefix of the file.
        cache: folder of measured values.
        workers: processes that measure.
        executor: `processes` or `inline`.
        overwrite: replace a different run in `output`.

    Returns:
        The finished run.

    Raises:
        VisiftError: with one sentence: what, where, what to do.
    """
    if isinstance(pool, Pool):
        named = PoolConfig(**pool.opened)
    elif not isinstance(pool, str | Path | Sequence):
        raise InputError(f"a pool is a Pool or the path of one, not a {type(pool).__name__}.")
    else:
        folder = None if image_folder is None else str(image_folder)
        fields = (task_field, source_field, hash_images)
        named = PoolConfig(_texts(pool), folder, *fields, _texts(keep), _texts(have))
    config = RunConfig(
        pool=named,
        method=method or "",
        settings=dict(settings or {}),
        model=ModelRef.parse(model) if isinstance(model, str) else model,
        budget=None if budget is None else str(budget),
        seed=seed,
        max_unusable=str(max_unusable),
        signals=_texts(signals),
        export=(export,) if isinstance(export, str) else tuple(export),
        nested=nested,
        engine=EngineConfig(None if cache is None else str(cache), str(workers), executor),
    )
    given = pool if isinstance(pool, Pool) else None
    return execute(config, Path(output), overwrite=overwrite, pool=given)


def _texts(paths: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(map(str, [paths] if isinstance(paths, str | Path) else paths))


def execute(
    config: RunConfig,
    output: Path,
    *,
    overwrite: bool = False,
    pool: Pool | None = None,
    say: Say = say_nothing,
    progress: Progress | None = None,
) -> Run:
    """Carry out a run as configured; the same output and configuration continue where it stopped.

    Args:
        config: the run.
        output: the run directory.
        overwrite: replace a different run there.
        pool: the configured pool, if it is open already.
        say: called with (label, text) for every line a person would want to read.
        progress: told how measuring goes on.
    """
    started = time.monotonic()
    named = bool(config.method)
    config = config.checked()
    asked = _understand(config, output)
    pool = open_pool(config.pool) if pool is None else pool
    say_pool(say, pool)
    faults = pool.set_aside()
    found = Quarantine.of(faults)
    found.check(pool, asked.allowed, "Nothing was measured yet.")
    lab = _lab(config, pool, asked.imported, progress or Silent())
    budget = asked.budget
    tokens = None if budget is None else ask_tokens(pool, lab, config.model, budget)
    if budget is not None:
        say_budget(say, budget, tokens is not None)
        budget = budget if tokens is not None else priced(pool, budget, None)
        limit_of(pool, np.concatenate([pool.rows("kept"), pool.rows("candidate")]), budget)
    folder = RunFolder.begin(output, config, overwrite)
    inputs = asked.method.measure(pool, lab, budget)
    say_unused(say, asked.imported, lab)
    lab.resolve()
    found = Quarantine.of(faults, lab.failures())
    found.check(pool, asked.allowed, "What is measured is kept.")
    if found.reasons:
        say("Set aside", f"{found.summary()} → {folder.path / 'quarantine.parquet'}")
    say_method(say, pool, asked.method, named, config.model)
    if budget is not None:
        budget = priced(pool, budget, tokens)
    choice = asked.method.choose(pool, inputs, budget)
    say_duplicates(say, choice)
    selection = Selection.of(pool, choice, found.reasons)
    run = _run_of(folder.path, config, pool, asked.method, selection, choice.rows, found)
    seconds = time.monotonic() - started
    run = replace(run, ledger=lab.ledger, identities=lab.identities(), seconds=seconds)
    folder.write(run)
    return run


@dataclass(frozen=True, slots=True)
class _Asked:
    """A configuration read and checked, as far as that goes without the pool."""

    method: Method
    budget: Budget | None
    allowed: Fraction
    imported: Imported


def _understand(config: RunConfig, output: Path) -> _Asked:
    """Read a configuration before anything costs time.

    Raises:
        InputError: something in it cannot be used.
    """
    method = build(config.method, config.settings, seed=config.seed, model=config.model)
    budget = None if config.budget is None else Budget.parse(config.budget)
    if budget is None and method.needs_budget:
        raise InputError(
            f'the method "{config.method}" needs a budget.', fix="For example: --budget 15%"
        )
    for trainer in config.export:
        check_trainer(trainer)
    for name in config.pool.files:
        if Path(name).is_dir() and output.resolve().is_relative_to(Path(name).resolve()):
            raise InputError(
                "lies inside the pool folder: its files would be read as records next time.",
                where=str(output),
                fix="Choose an --output elsewhere.",
            )
    staffing(config.engine, config.model)
    allowed = share(config.max_unusable)
    imported = Imported(tuple(SignalFile.open(path) for path in config.signals))
    return _Asked(method, budget, allowed, imported)


def open_pool(config: PoolConfig) -> Pool:
    """Open the pool a run names."""
    return Pool.open(
        config.files,
        image_folder=config.image_folder,
        task_field=config.task_field,
        source_field=config.source_field,
        hash_images=config.hash_images,
        keep=config.keep,
        have=config.have,
    )


def _lab(config: RunConfig, pool: Pool, imported: Imported, progress: Progress) -> LocalLab:
    devices, executor = staffing(config.engine, config.model)
    return LocalLab(pool, cache_folder(config.engine, pool), devices, executor, imported, progress)


def _run_of(
    folder: Path,
    config: RunConfig,
    pool: Pool,
    method: Method,
    selection: Selection,
    rows: Rows,
    found: Quarantine,
) -> Run:
    """Put a run together; its two random arms follow from pool, selection and seed."""
    # Not from the pool's images: what could be used then is not what lies here now.
    out = [*found.reasons, *pool.left_out]
    kept = rows[pool.has_role("kept")[rows]]
    usable = np.setdiff1d(np.flatnonzero(pool.has_role("candidate")), out)
    drawn = rows[~pool.has_role("kept")[rows]]
    return Run(
        folder=folder,
        config=config,
        pool=pool,
        selection=selection,
        rows=rows,
        quarantine=found,
        control=np.concatenate([kept, matched_control(pool, drawn, usable, config.seed)]),
        random=np.concatenate([kept, proportional_random(pool, len(drawn), usable, config.seed)]),
        settings=settings(method, config.settings),
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
    pool = open_pool(named)
    selection = Selection.load(folder)
    found = Quarantine.load(folder, pool)
    method = build(config.method, config.settings, seed=config.seed, model=config.model)
    rows = selection.rows_in(pool)
    run = _run_of(folder, config, pool, method, selection, rows, found)
    ledger, identities, seconds = read_costs(folder)
    return replace(run, ledger=ledger, identities=identities, seconds=seconds)

"""One selection run: open the pool, look before measuring, measure, choose, write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from visift.budget import Budget
from visift.config import Paths, RunConfig, configured, share
from visift.engine.lab import LocalLab
from visift.engine.measured import Measured
from visift.engine.progress import Progress, Silent
from visift.errors import AnnotationNeeded, InputError
from visift.export.trainers import check_export, check_trainer
from visift.finished import Run, run_of
from visift.methods.cutting import ask_tokens, limit_of, priced
from visift.methods.method import Method, build
from visift.methods.method import settings as settings_of
from visift.models.ref import ModelRef
from visift.pool.annotations import Annotations
from visift.pool.disjoint import must_be_disjoint
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.rundir import RunFolder
from visift.say import (
    Say,
    say_annotations,
    say_budget,
    say_card,
    say_labels,
    say_left_out,
    say_method,
    say_nothing,
    say_plan,
    say_pool,
    say_uncounted,
    say_unused,
)
from visift.selection import Selection
from visift.signals.imported import Imported, SignalFile
from visift.staff import cache_folder, staffing
from visift.thinning import thinned
from visift.unusable import Quarantine
from visift.wanted import (
    LABELS,
    how_to_go_on,
    how_to_label,
    open_annotations,
    open_labels,
    write_unlabelled,
    write_wanted,
)


def select(
    pool: Pool | Paths,
    *,
    method: str | None = None,
    budget: str | int | None = None,
    model: str | ModelRef | None = None,
    seed: int = 0,
    output: str | Path = "out",
    keep: Paths = (),
    have: Paths = (),
    target: Paths = (),
    evaluation: Paths = (),
    image_folder: str | Path | None = None,
    task_field: str | None = None,
    source_field: str | None = None,
    hash_images: bool = False,
    near_duplicates: int | None = None,
    settings: Mapping[str, Any] | None = None,
    signals: Paths = (),
    labels: Paths = (),
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
        target: files of examples of what is to be learnt, for methods that look at them.
        evaluation: files of records that the result will be judged by; targets must not be among
            them.
        image_folder: see `Pool.open`; it and all others that it knows are for a pool given by name.
        task_field: see `Pool.open`.
        source_field: see `Pool.open`.
        hash_images: see `Pool.open`.
        near_duplicates: leave out images whose 64-bit hashes differ in at most so many bits from
            one that stays.
        settings: parameters of the method, by name.
        signals: parquet files of numbers measured elsewhere.
        labels: parquet files of a teacher's labels, for methods that learn from them (mmssr).
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
        AnnotationNeeded: somebody must annotate records first: what it says is how to go on.
        VisiftError: with one sentence: what, where, what to do.
    """
    config = configured(
        pool,
        keep=keep,
        have=have,
        target=target,
        evaluation=evaluation,
        image_folder=image_folder,
        task_field=task_field,
        source_field=source_field,
        hash_images=hash_images,
        near_duplicates=near_duplicates,
        method=method or "",
        settings=dict(settings or {}),
        model=model,
        budget=budget,
        seed=seed,
        max_unusable=str(max_unusable),
        signals=signals,
        labels=labels,
        export=(export,) if isinstance(export, str) else tuple(export),
        nested=nested,
        cache=cache,
        workers=workers,
        executor=executor,
    )
    given = pool if isinstance(pool, Pool) else None
    return execute(config, Path(output), overwrite=overwrite, pool=given)


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
    if config.engine.shard_range is not None:
        raise InputError(
            "a slice is measured, and nothing is chosen from it.",
            fix="Leave out shard_range to choose, or measure it from the command line: "
            "visift select --shard-range",
        )
    asked = understand(config, output)
    pool = config.pool.open() if pool is None else pool
    say_pool(say, pool)
    _must_not_be_judged_by(pool, config)
    faults = _looked_at(pool, config, asked.allowed)
    annotations = open_annotations(pool, output)
    say_annotations(say, annotations)
    teacher = open_labels(pool, config.labels, output)
    say_labels(say, teacher)
    lab = lab_for(config, pool, asked.imported, progress or Silent(), annotations, teacher)
    pool = thinned(pool, lab, config.near_duplicates, config.seed, say)
    budget, tokens = counted_budget(say, pool, lab, config.model, asked.budget)
    try:
        inputs = asked.method.measure(pool, lab, budget)
    except AnnotationNeeded as need:
        with RunFolder.begin(output, config, overwrite) as folder:
            raise _with_a_list(need, pool, folder.path) from None
    say_unused(say, asked.imported, lab)
    say_plan(say, lab)
    if hasattr(asked.method, "model"):
        say_card(say, config.pool.files, config.model)
    with RunFolder.begin(output, config, overwrite) as folder:
        lab.resolve()
        found = Quarantine.of(faults, _failures(lab, tokens))
        found.check(pool, asked.allowed, "What is measured is kept.")
        if found.reasons:
            say("Set aside", f"{found.summary()} → {folder.path / 'quarantine.parquet'}")
        say_uncounted(say, pool, tokens)
        unused = config.model if tokens is None or lab.given("text_tokens") else None
        say_method(say, pool, asked.method, named, unused)
        if budget is not None:
            budget = priced(pool, budget, tokens)
        choice = asked.method.choose(pool, inputs, budget)
        say_left_out(say, choice)
        selection = Selection.of(pool, choice, found.reasons)
        used = settings_of(asked.method, config.settings)
        run = run_of(folder.path, config, pool, used, selection, choice.rows, found)
        seconds = time.monotonic() - started
        run = replace(run, ledger=lab.ledger, identities=lab.identities(), seconds=seconds)
        learnt = teacher.files if getattr(asked.method, "reads_labels", False) else ()
        run = replace(run, annotations=annotations, labels=learnt)
        folder.write(run, say)
    return replace(run, seconds=time.monotonic() - started)


def _must_not_be_judged_by(pool: Pool, config: RunConfig) -> None:
    """Raise `InputError` for targets that are in the evaluation: it would say nothing then."""
    if config.pool.evaluation:
        folder, hashed = config.pool.image_folder, config.pool.hash_images
        judges = Pool.open(config.pool.evaluation, image_folder=folder, hash_images=hashed)
        must_be_disjoint(pool, np.flatnonzero(pool.has_role("target")), judges)


def _looked_at(pool: Pool, config: RunConfig, allowed: Fraction) -> dict[int, str]:
    """Return the rows that the pool cannot offer, and why, before anything costs time.

    Raises:
        TooManyUnusable: more of them than is allowed.
        InputError: a trainer would fail on records of the pool.
    """
    faults = pool.set_aside()
    Quarantine.of(faults).check(pool, allowed, "Nothing was measured yet.")
    there = np.union1d(pool.rows("candidate"), pool.rows("kept"))
    for trainer in config.export:
        check_export(trainer, pool, there[~pool.unannotated[there]])
    return faults


def _with_a_list(need: AnnotationNeeded, pool: Pool, output: Path) -> AnnotationNeeded:
    """Write the list of what must be annotated first; return the outcome that says how to go on."""
    if need.purpose == LABELS:
        todo = write_unlabelled(output / LABELS, pool, need.rows)
        fix = how_to_label(todo, pool, need)
    else:
        todo = write_wanted(output / need.purpose, pool, need.rows)
        fix = how_to_go_on(todo, pool, len(need.rows))
    return AnnotationNeeded(need.what, need.rows, need.purpose, fix)


def counted_budget(
    say: Say, pool: Pool, lab: LocalLab, model: ModelRef | None, budget: Budget | None
) -> tuple[Budget | None, Measured | None]:
    """Return a budget as far as it is known before measuring, and what will count its tokens.

    Raises:
        InfeasibleBudget: it cannot be met.
    """
    if budget is None:
        return None, None
    tokens = ask_tokens(pool, lab, model, budget)
    say_budget(say, lab, budget, tokens is not None)
    budget = budget if tokens is not None else priced(pool, budget, None)
    limit_of(pool, np.concatenate([pool.rows("kept"), pool.rows("candidate")]), budget)
    return budget, tokens


def _failures(lab: LocalLab, tokens: Measured | None) -> dict[int, str]:
    """Return the rows that can be chosen and lack a value that the method asked for.

    Tokens of a budget may lack, and values of rows that are in or there already anyway.
    """
    asked = [handle for handle in lab.handles if handle is not tokens]
    candidate = lab.pool.has_role("candidate")
    found = replace(lab, handles=asked).failures()
    return {row: why for row, why in found.items() if candidate[row]}


@dataclass(frozen=True, slots=True)
class Asked:
    """A configuration read and checked, as far as that goes without the pool."""

    method: Method
    budget: Budget | None
    allowed: Fraction
    imported: Imported


def understand(config: RunConfig, output: Path) -> Asked:
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
    must_read_targets(method, config.pool.target)
    if config.labels and not getattr(method, "reads_labels", False):
        raise InputError(
            f"{method.name} does not learn from --labels.", fix="mmssr does. Or leave it out."
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
    return Asked(method, budget, allowed, imported)


def must_read_targets(method: Method, targets: Sequence[str]) -> None:
    """Raise `InputError` for examples that a method does not look at, or for none that it needs."""
    reads = bool(getattr(method, "reads_target", False))
    if targets and not reads:
        raise InputError(
            f"{method.name} does not look at --target.",
            fix="Methods that do: less, icons, rds. Or leave it out.",
        )
    if reads and not targets:
        raise InputError(
            f"{method.name} chooses for examples of what is to be learnt.",
            fix="Name them: --target examples.json, in the pool's format.",
        )


def lab_for(
    config: RunConfig,
    pool: Pool,
    imported: Imported,
    progress: Progress,
    annotations: Annotations,
    teacher: TeacherLabels,
) -> LocalLab:
    """Return the lab that a run asks."""
    devices, executor = staffing(config.engine, config.model)
    cache = cache_folder(config.engine, pool)
    return LocalLab(pool, cache, devices, executor, imported, annotations, teacher, progress)

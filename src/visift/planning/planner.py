"""Planning: what methods would ask for, counted; no value is measured, none is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from visift.amounts import counted
from visift.budget import Budget
from visift.config import Paths, RunConfig, configured
from visift.engine.blocks import BLOCK_ITEMS
from visift.engine.counting import CountingLab
from visift.engine.executor import Executor
from visift.engine.processes import Processes
from visift.errors import InfeasibleBudget, InputError
from visift.methods.cutting import ask_tokens, limit_of, priced
from visift.methods.method import METHODS, Method, build
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.planning.accelerators import Accelerator
from visift.planning.clock import (
    PROBE_SECONDS,
    UTILISATION,
    Clock,
    FlopsClock,
    ProbeClock,
    probe_signal,
)
from visift.planning.outcome import MethodPlan, Plan
from visift.planning.saving import Saving, runs_to_pay
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.say import Say, say_nothing, say_pool
from visift.signals.imported import Imported, SignalFile
from visift.signals.signal import identity
from visift.staff import cache_folder, staffing
from visift.thinning import ask_hashes
from visift.training.tuned import FineTuning

#: Stands for every method that comes with visift.
ALL = "all"


def plan(
    pool: Pool | Paths,
    method: str | None = None,
    *,
    model: str | ModelRef | None = None,
    budget: str | int | None = None,
    seed: int = 0,
    keep: Paths = (),
    have: Paths = (),
    target: Paths = (),
    image_folder: str | Path | None = None,
    task_field: str | None = None,
    source_field: str | None = None,
    hash_images: bool = False,
    near_duplicates: int | None = None,
    settings: Mapping[str, Any] | None = None,
    signals: Paths = (),
    labels: Paths = (),
    cache: str | Path | None = None,
    workers: int | str = "auto",
    flops: str | float | None = None,
    utilisation: float = UTILISATION,
    probe: bool | float = False,
) -> Plan:
    """Count what a selection would cost, without measuring it; the words are those of `select`.

    Args:
        pool: an open pool, or its file or files.
        method: name of a method; None or `all` for every one that comes with visift.
        model: see `select`, as for all that is not named here.
        budget: see `select`.
        seed: see `select`.
        keep: see `select`.
        have: see `select`.
        target: see `select`.
        image_folder: see `select`.
        task_field: see `select`.
        source_field: see `select`.
        hash_images: see `select`.
        near_duplicates: see `select`; what would be left out is counted as if it stayed.
        settings: parameters of the method; not with `all`.
        signals: see `select`.
        labels: see `select`.
        cache: see `select`.
        workers: see `select`.
        flops: an accelerator (`h100`, or its peak in TFLOPS) to estimate times for.
        utilisation: share of its peak that it reaches.
        probe: measure a sample here for the times: for 60 seconds a signal, or so many.

    Returns:
        The plan.

    Raises:
        VisiftError: with one sentence: what, where, what to do.
    """
    config = configured(
        pool,
        keep=keep,
        have=have,
        target=target,
        image_folder=image_folder,
        task_field=task_field,
        source_field=source_field,
        hash_images=hash_images,
        near_duplicates=near_duplicates,
        method=method or ALL,
        settings=dict(settings or {}),
        model=model,
        budget=budget,
        seed=seed,
        signals=signals,
        labels=labels,
        cache=cache,
        workers=workers,
    )
    times = Times.read(flops, utilisation, PROBE_SECONDS if probe is True else probe or None)
    return make_plan(config, times, pool=pool if isinstance(pool, Pool) else None)


@dataclass(frozen=True, slots=True)
class Times:
    """Where times shall come from: from nowhere by default.

    Attributes:
        flops: by a count of operations.
        probe_seconds: by samples of so many seconds.
    """

    flops: FlopsClock | None = None
    probe_seconds: float | None = None

    @classmethod
    def read(
        cls, flops: str | float | None, utilisation: float, probe_seconds: float | None
    ) -> Times:
        """Check what was asked for.

        Raises:
            InputError: both, an unknown accelerator, or a number that makes no sense.
        """
        if flops is not None and probe_seconds is not None:
            raise InputError("--flops and --probe both give times.", fix="Ask for one of them.")
        if not 0 < utilisation <= 1:
            raise InputError(
                f"--utilisation {utilisation:g}: a share of the peak was expected.",
                fix="For example: --utilisation 40%",
            )
        if probe_seconds is not None and not 0 < probe_seconds < math.inf:
            raise InputError(
                f"a probe of {probe_seconds:g} seconds.", fix="For example: --probe-seconds 60"
            )
        clock = None if flops is None else FlopsClock(Accelerator.parse(str(flops)), utilisation)
        return cls(clock, probe_seconds)


def make_plan(
    config: RunConfig, times: Times, *, pool: Pool | None = None, say: Say = say_nothing
) -> Plan:
    """Plan a configured run; `config.method` may be `all`.

    Args:
        config: the run.
        times: where times come from.
        pool: the configured pool, if it is open already.
        say: called with (label, text) for every line a person would want to read.

    Raises:
        VisiftError: with one sentence: what, where, what to do.
    """
    config = config.checked()
    if config.method == ALL and config.settings:
        raise InputError("--set sets parameters of one method.", fix="Name it with --method.")
    if config.method == ALL and times.probe_seconds and config.model is None:
        raise InputError(
            "--probe measures a sample, and no model was named.",
            fix="Name one with --model, or estimate times: --flops h100",
        )
    facts = read_facts(config.model)
    if config.method != ALL:
        _must_have_budget(_method(config, config.method), config.budget)
    planner = _Planner.of(config, config.pool.open() if pool is None else pool)
    say_pool(say, planner.pool)
    names = list(METHODS) if config.method == ALL else [config.method]
    methods = [planner.counted(name) for name in names]
    clock = times.flops or planner.probed(methods, times.probe_seconds, say)
    saving = None
    if planner.budget is not None:
        speed = clock.speed() if clock else None
        saving = Saving.of(planner.pool, planner.budget, facts, speed)
    timed = tuple(_timed(one, clock, saving) for one in methods)
    return Plan(planner.pool, config.budget, config.model, facts, timed, saving, clock)


@dataclass(frozen=True, slots=True)
class _Planner:
    """A run, ready to be counted with one method or another."""

    config: RunConfig
    pool: Pool
    imported: Imported
    teacher: TeacherLabels
    budget: Budget | None

    @classmethod
    def of(cls, config: RunConfig, pool: Pool) -> _Planner:
        imported = Imported(tuple(SignalFile.open(path) for path in config.signals))
        files = [Path(path) for path in config.labels]
        teacher = TeacherLabels.open(pool, files, handed_in=True)
        budget = None if config.budget is None else Budget.parse(config.budget)
        if budget is not None:
            # As a run has it: an estimate stands in only where nobody will count.
            lab = CountingLab(pool, cache_folder(config.engine, pool), imported)
            exact = ask_tokens(pool, lab, config.model, budget)
            budget = budget if exact is not None else priced(pool, budget, None)
            limit_of(pool, np.concatenate([pool.rows("kept"), pool.rows("candidate")]), budget)
        return cls(config, pool, imported, teacher, budget)

    @property
    def one(self) -> bool:
        """Whether one method was named, so that what is wrong with it is an error."""
        return self.config.method != ALL

    def counted(self, name: str) -> MethodPlan:
        """Count what a method asks for.

        Raises:
            VisiftError: the one method that was named cannot run as asked.
        """
        config, budget = self.config, self.budget
        cache = cache_folder(config.engine, self.pool)
        lab = CountingLab(self.pool, cache, self.imported, teacher=self.teacher)
        try:
            method = _method(config, name)
            _must_have_budget(method, config.budget)
            if config.near_duplicates is not None:
                ask_hashes(self.pool, lab)
            if budget is not None:
                ask_tokens(self.pool, lab, config.model, budget)
            method.measure(self.pool, lab, budget)
        except (InputError, InfeasibleBudget) as error:
            if self.one:
                raise
            return MethodPlan(name, note=error.what.rstrip("."))
        counts = lab.counts()
        lacking = [count for count in counts if count.lacks_model]
        if lacking and self.one:
            identity(lacking[0].signal)  # which says what is needed
        notes = ["needs --model"] if lacking else []
        if lab.wanted:
            notes.append(f"wants instructions for {counted(lab.wanted, 'record')} first")
        if lab.unlabelled:
            notes.append(f"wants a teacher's labels for {counted(lab.unlabelled, 'record')} first")
        return MethodPlan(name, tuple(counts), note=", ".join(notes) or None)

    def probed(
        self, methods: Sequence[MethodPlan], seconds: float | None, say: Say
    ) -> ProbeClock | None:
        """Measure a sample of every signal that has something left to measure, each once."""
        if seconds is None:
            return None
        devices, staff = staffing(self.config.engine, self.config.model)
        probes = ProbeClock()
        for count in (count for one in methods for count in one.counts):
            known = any(probe.signal == count.signal for probe in probes.probes)
            if known or not len(count.left) or isinstance(count.signal, FineTuning):
                continue
            executor = staff(-(-len(count.left) // BLOCK_ITEMS))
            found = probe_signal(count, devices()[0], _workers(executor), seconds)
            say("Probe", f"{found.text()} · model opened in {found.opening:.0f} s")
            probes = ProbeClock((*probes.probes, found))
        return probes


def _workers(executor: Executor) -> int:
    return executor.workers if isinstance(executor, Processes) else 1


def _method(config: RunConfig, name: str) -> Method:
    return build(name, config.settings, seed=config.seed, model=config.model)


def _must_have_budget(method: Method, budget: str | None) -> None:
    if budget is None and method.needs_budget:
        raise InputError(
            f'the method "{method.name}" needs a budget.', fix="For example: --budget 15%"
        )


def _timed(one: MethodPlan, clock: Clock | None, saving: Saving | None) -> MethodPlan:
    """Return a plan with its times, and the trainings after which it has paid off."""
    if not one.counted:
        return one
    left = [count for count in one.counts if count.entry.measured]
    device = _sum([clock.device_seconds(count) if clock else None for count in left])
    wall = _sum([clock.wall_seconds(count) if clock else None for count in left])
    runs = None
    if saving is not None and clock is not None:
        runs = runs_to_pay(device, saving.device_seconds)
    elif saving is not None:
        runs = runs_to_pay(one.cost.flops, saving.flops)
    return replace(one, device_seconds=device, wall_seconds=wall, runs=runs)


def _sum(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None

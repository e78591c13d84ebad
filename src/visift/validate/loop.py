"""The closed loop from a pool to a verdict; `validate` in Python, `visift validate` in a shell."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from visift.amounts import counted
from visift.config import EngineConfig, RunConfig
from visift.errors import InputError
from visift.files import claimed, disk_errors, write_atomically
from visift.pool.pool import Pool
from visift.say import Say, say_pool
from visift.unusable import Quarantine
from visift.validate.arms import FULL, Arm
from visift.validate.benchmarks import FOLDER, Benchmarked, evaluate_all, judge_benchmarks
from visift.validate.decontamination import Contamination
from visift.validate.evaluation import Sheet
from visift.validate.gathering import Gathered
from visift.validate.judging import Judged, Scored, judge_budget
from visift.validate.provenance import Sources
from visift.validate.request import Request
from visift.validate.running import Bench, Trial, read_answers, run_trials
from visift.validate.setting import CONTAMINATION, SECONDS, LoopProgress, Setting
from visift.validate.splitting import Questions
from visift.validate.writing import (
    ARMS,
    BENCHMARKS,
    PAGE,
    REPORT,
    RESULTS,
    VERDICT,
    write_validation,
)

REQUEST = "validation.yaml"


@dataclass(frozen=True, slots=True)
class Validated:
    """A finished validation.

    Attributes:
        folder: where it was written.
        request: what was asked for.
        pool: what was chosen from, questions left out of it.
        questions: what models were asked, with those that stand in the pool.
        contamination: these.
        sheet: the right answers to what counts.
        judged: one a budget.
        seconds: it took.
        benchmarks: one a budget, where an evaluator was named.
        sources: what was read.
    """

    folder: Path
    request: Request
    pool: Pool = field(repr=False)
    questions: Questions = field(repr=False)
    contamination: Contamination = field(repr=False)
    sheet: Sheet = field(repr=False)
    judged: tuple[Judged, ...] = field(repr=False)
    seconds: float
    benchmarks: tuple[Benchmarked, ...] = field(default=(), repr=False)
    sources: Sources = field(default_factory=Sources, repr=False)

    @property
    def warning(self) -> str | None:
        """What must be said wherever the bundled model is used."""
        return RunConfig(model=self.request.base).warning

    @property
    def power(self) -> str:
        """What questions like these can show, as a sentence."""
        return self.sheet.power(len(self.request.methods))


def execute(
    request: Request,
    output: Path,
    engine: EngineConfig,
    *,
    say: Say,
    progress: LoopProgress,
    keep_checkpoints: bool = False,
    overwrite: bool = False,
) -> Validated:
    """Select, train, ask and judge; the same command goes on where it was stopped.

    Args:
        request: what to do.
        output: folder for what is written.
        engine: how to measure and train; nothing of it changes a value.
        say: called with (label, text) for every line a person would want to read.
        progress: told how it goes on.
        keep_checkpoints: keep the models that were trained.
        overwrite: replace another validation in `output`.

    Raises:
        VisiftError: with one sentence: what, where, what to do.
    """
    started = time.monotonic()
    request = request.checked()
    run = RunConfig(
        pool=request.pool, model=request.model, signals=request.signals, engine=engine
    ).checked()
    opened = request.pool.open()
    say_pool(say, opened)
    faults = Quarantine.of(opened.set_aside())
    faults.check(opened, request.allowed, "Nothing was measured yet.")
    with _begun(output, request, overwrite):
        setting = Setting.of(request, run, opened, output, progress)
        sources = Sources.of(request, opened, setting.questions.pool, setting.teacher)
        setting = setting.readable(say)
        asked, met = setting.asked(say)
        sheet = Sheet.of(asked, request.evaluation.turns)
        say("Power", sheet.power(len(request.methods)))
        setting.train_ahead()
        gathered = [setting.gathered(budget, say) for budget in request.budgets]
        tried = _Tried.of(request, gathered)
        bench, executor = setting.bench(asked, sheet, len(tried.trials))
        _say_trials(say, tried.trials)
        stay = keep_checkpoints or request.evaluator is not None
        keep = None if stay else setting.used_elsewhere()
        run_trials(bench, tried.trials, executor, progress, keep)
        scored = [Scored.of(sheet, one) for one in read_answers(bench, tried.trials)]
        judged = [
            judge_budget(
                one,
                request.methods,
                sheet,
                [scored[at] for at in mine],
                bench.model,
                request.seed,
                setting.shares,
            )
            for one, mine in zip(gathered, tried.of_budget, strict=True)
        ]
        benchmarks = _benchmarks(request, bench, gathered, tried, output, say)
        seconds = round(time.monotonic() - started, 3)
        found = (setting.pool, asked, met, sheet, tuple(judged))
        done = Validated(output, request, *found, seconds, benchmarks, sources)
        write_validation(done)
    return done


def _benchmarks(
    request: Request,
    bench: Bench,
    gathered: Sequence[Gathered],
    tried: _Tried,
    output: Path,
    say: Say,
) -> tuple[Benchmarked, ...]:
    """Evaluate and judge on benchmarks, where that is asked for."""
    if request.evaluator is None:
        return ()
    folders = evaluate_all(bench, tried.trials, request.evaluator, output, say)
    return tuple(
        judge_benchmarks(one, request.methods, [folders[at] for at in mine])
        for one, mine in zip(gathered, tried.of_budget, strict=True)
    )


@contextmanager
def _begun(output: Path, request: Request, overwrite: bool) -> Iterator[None]:
    """Claim a folder, and note in it what is validated.

    Raises:
        InputError: it holds another validation, other files, or somebody writes there.
    """
    if output.is_file():
        raise InputError("is a file.", where=str(output), fix="Choose another --output.")
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    with claimed(output):
        note = output / REQUEST
        if not note.exists() and any(output.iterdir()):
            raise InputError(
                "is not empty and holds no validation.",
                where=str(output),
                fix="Choose another --output.",
            )
        with disk_errors(output):
            if note.exists() and not _is_of(note, request, overwrite):
                _clear(output)
            write_atomically(note, request.to_yaml().encode())
        yield


def _is_of(note: Path, request: Request, overwrite: bool) -> bool:
    """Return whether a note is of this request, as far as it decides the outcome.

    Raises:
        InputError: it is not, and must not be replaced.
    """
    before = _read(note)
    now = yaml.safe_load(yaml.safe_dump(request.result()))
    changed = [name for name, value in now.items() if before is None or before.get(name) != value]
    if not changed or overwrite:
        return not changed
    what = f"different: {', '.join(changed)}" if before else f"its {REQUEST} cannot be read"
    raise InputError(
        f"holds another validation ({what}).",
        where=str(note.parent),
        fix="Choose another --output, or replace it: --overwrite",
    )


def _read(note: Path) -> Mapping[str, Any] | None:
    """Return what was asked for; None where that is damaged."""
    try:
        said = yaml.safe_load(note.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return said if isinstance(said, dict) and said else None


def _clear(output: Path) -> None:
    """Remove what another validation has written, and nothing else."""
    for name in (SECONDS, CONTAMINATION, VERDICT, RESULTS, ARMS, PAGE, BENCHMARKS):
        (output / name).unlink(missing_ok=True)
    for name in (REPORT, FOLDER):
        if (output / name).exists():
            shutil.rmtree(output / name)


@dataclass(frozen=True, slots=True)
class _Tried:
    """All trials, those that several budgets share once.

    Attributes:
        trials: all of them.
        of_budget: for every budget, which of them are its own.
    """

    trials: tuple[Trial, ...]
    of_budget: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, request: Request, gathered: Sequence[Gathered]) -> _Tried:
        trials: list[Trial] = []
        of_budget: list[tuple[int, ...]] = []
        full: list[int] = []
        for one in gathered:
            mine: list[int] = []
            for arm in one.arms:
                if arm.name == FULL and full:
                    mine += full
                    continue
                first = len(trials)
                trials += _trials(request, arm)
                new = list(range(first, len(trials)))
                full = new if arm.name == FULL else full
                mine += new
            of_budget.append(tuple(mine))
        return cls(tuple(trials), tuple(of_budget))


def _trials(request: Request, arm: Arm) -> list[Trial]:
    """Return the models that are trained on an arm."""
    seeds = request.seeds
    # There is one way to take everything.
    draws = range(seeds.training) if arm.name == FULL else seeds.of(arm.seed - request.seed)
    recipes = ((seed, request.training(seed)) for seed in draws)
    return [Trial(arm, base.seed, arm.recipe(base, base.seed)) for _, base in recipes]


def _say_trials(say: Say, trials: Sequence[Trial]) -> None:
    steps = sum(one.recipe.steps(len(one.arm.rows)) for one in trials)
    say("Plan", f"{counted(len(trials), 'training')}, {steps:,} steps in all")

"""Training and evaluating many arms side by side, each of them once.

A trial is one model: an arm and a training seed. Workers take trials one after the other, train,
ask, and commit to the shared cache; then whoever wants the answers reads them from there, so that
results depend neither on the number of workers nor on who was first. Killed at any moment, the
trials that are answered stay answered.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visift.engine.counting import left_to_measure
from visift.engine.executor import Alive, Executor, ShardDone, ShardFailed, Work, nobody_listens
from visift.engine.lab import Examples, LocalLab
from visift.engine.measured import Measured
from visift.engine.progress import Silent
from visift.errors import MeasuringError, VisiftError
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.training.finetune import Outcome, outcome_of
from visift.training.recipe import Recipe
from visift.training.tuned import OUTCOME, TunedRef
from visift.validate.arms import Arm
from visift.validate.evaluation import Evaluation
from visift.validate.splitting import Questions
from visift.validate.training import train_here

TRIES = 3


class TrialProgress(Protocol):
    """Told how the trials go on."""

    def begin_trials(self, total: int, done: int) -> None:
        """Trials start: `total` of them, of which `done` are answered already."""
        ...

    def trial_done(self) -> None:
        """One more is answered."""
        ...

    def end_trials(self) -> None:
        """All are answered, or given up."""
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """One model to train and to ask.

    Attributes:
        arm: what it is trained on.
        seed: of the training.
        recipe: how it is trained.
    """

    arm: Arm
    seed: int
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a trial.

    Attributes:
        trial: which one.
        answers: (n, turns, bytes) of the questions' records, see `GivenAnswers`.
        ok: (n,) whether a record was answered at all.
        losses: (n,) mean loss of the right answers, NaN where there is none.
        outcome: of the training.
        reasons: (n,) why a record was not answered.
    """

    trial: Trial
    answers: NDArray[np.uint8] = field(repr=False)
    ok: NDArray[np.bool_] = field(repr=False)
    losses: NDArray[np.float64] = field(repr=False)
    outcome: Outcome | None = field(repr=False)
    reasons: Sequence[str | None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all trials have in common; travels to workers.

    Attributes:
        pool: what is trained on.
        questions: what is asked.
        model: what is tuned.
        evaluation: how is asked.
        cache: of the pool's values and checkpoints.
        asking_cache: of the answers; that of the questions' pool.
        devices: one a worker in turn.
    """

    pool: Pool = field(repr=False)
    questions: Questions
    model: ModelRef
    evaluation: Evaluation
    cache: Path
    asking_cache: Path
    devices: tuple[str, ...]

    def labs(self, worker: int = 0, alive: Alive | None = None) -> tuple[LocalLab, LocalLab]:
        """Return the lab that trains, and the one that asks what it has trained."""
        device = self.devices[worker % len(self.devices)]
        progress = Silent() if alive is None else _Telling(alive)
        training = LocalLab(self.pool, self.cache, lambda: (device,), progress=progress)
        asking = LocalLab(
            self.questions.pool,
            self.asking_cache,
            lambda: (device,),
            progress=progress,
            trainings=training.trainings,
        )
        return training, asking

    def ask(self, trial: Trial, labs: tuple[LocalLab, LocalLab]) -> _Asked:
        """Ask for everything that is wanted of a trial; nothing is trained before it is read."""
        training, asking = labs
        model = replace(self.model, device=training.devices()[0])
        tuned = training.finetune(model, trial.recipe, Examples(trial.arm.rows)).model
        assert isinstance(tuned, TunedRef)
        examples = Examples(self.questions.rows)
        answers = asking.measure(self.evaluation.answers(tuned), examples)
        return _Asked(tuned, answers, asking.measure(self.evaluation.loss(tuned), examples))


@dataclass(frozen=True, slots=True)
class _Asked:
    tuned: TunedRef
    answers: Measured
    losses: Measured


class _Telling(Silent):
    """Progress that gives a sign of life and shows nothing."""

    def __init__(self, alive: Alive) -> None:
        self._alive = alive

    def advance(self, items: int) -> None:
        """See `Progress.advance`."""
        self._alive()

    def step(self, done: int, loss: float) -> None:
        """See `Progress.step`."""
        self._alive()


@dataclass(frozen=True, slots=True)
class OpenTrials:
    """Trials on their way to workers (see `executor.OpenWork`).

    Attributes:
        bench: what they have in common.
        trials: by number.
        keep: paths of checkpoints that stay; None where all stay.
        alive: called whenever something has gone on.
    """

    bench: Bench
    trials: Sequence[Trial]
    keep: frozenset[str] | None = None
    alive: Alive = nobody_listens

    def telling(self, alive: Alive) -> OpenTrials:
        """See `executor.Telling`."""
        return replace(self, alive=alive)

    def __call__(self, worker: int) -> Work:
        """Return what trains and asks one model."""

        def work(number: int) -> None:
            labs = self.bench.labs(worker, self.alive)
            tuned = self.bench.ask(self.trials[number], labs).tuned
            if labs[0].devices() == ("cpu",) and not tuned.is_trained:
                train_here(labs[0].trainings[0], self.alive)
            labs[1].resolve()
            forgotten = self.keep is not None and str(tuned.path) not in self.keep
            if forgotten and _is_complete(labs[1]):
                forget_weights(tuned)

        return work


def forget_weights(tuned: TunedRef) -> None:
    """Remove a checkpoint, but for what became of its training."""
    for path in tuned.path.iterdir() if tuned.path.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != OUTCOME:
            path.unlink(missing_ok=True)


def run_trials(
    bench: Bench,
    trials: Sequence[Trial],
    executor: Executor,
    progress: TrialProgress,
    keep: frozenset[str] | None = None,
) -> None:
    """Train and ask what is not answered yet.

    A trial whose worker dies is tried again, up to `TRIES` times in all.

    Args:
        bench: what the trials have in common.
        trials: all of them; what is the same model is trained once.
        executor: runs them.
        progress: told of every one that is answered.
        keep: paths of checkpoints that stay; None for all.

    Raises:
        VisiftError: a training or an evaluation failed.
        MeasuringError: workers die of a trial, whatever is tried.
    """
    models, todo = unanswered(bench, trials)
    progress.begin_trials(models, models - len(todo))
    try:
        for _ in range(TRIES):
            if not todo:
                return
            todo, reason = _attempt(bench, todo, executor, progress, keep)
    finally:
        progress.end_trials()
    if not todo:
        return
    one = todo[0]
    raise MeasuringError(
        f"the arm {one.arm.name} (training seed {one.seed}) could not be trained and asked: "
        f"{reason}.",
        fix="If memory is short, use fewer workers: --workers 1. What is done is kept.",
    )


def _attempt(
    bench: Bench,
    todo: Sequence[Trial],
    executor: Executor,
    progress: TrialProgress,
    keep: frozenset[str] | None,
) -> tuple[list[Trial], str]:
    """Run some trials; return those that are left, and why the last one of them is."""
    left, reason = [], ""
    opened = OpenTrials(bench, todo, keep)
    with closing(executor.map(opened, range(len(todo)))) as events:
        for event in events:
            if isinstance(event, ShardDone):
                progress.trial_done()
            elif isinstance(event, ShardFailed):
                if isinstance(event.error, VisiftError):
                    raise event.error
                left.append(todo[event.shard])
                reason = event.reason
    return left, reason


def unanswered(bench: Bench, trials: Sequence[Trial]) -> tuple[int, list[Trial]]:
    """Return the number of different models, and the trials of those whose answers are missing."""
    seen: set[TunedRef] = set()
    todo = []
    for trial in trials:
        labs = bench.labs()
        tuned = bench.ask(trial, labs).tuned
        if tuned not in seen and not _is_complete(labs[1]):
            todo.append(trial)
        seen.add(tuned)
    return len(seen), todo


def _is_complete(lab: LocalLab) -> bool:
    return not any(len(count.left) for count in left_to_measure(lab))


def read_answers(bench: Bench, trials: Sequence[Trial]) -> Iterator[Answered]:
    """Yield what became of every trial, in order; all of it is in the cache."""
    rows = bench.questions.rows
    for trial in trials:
        asked = bench.ask(trial, bench.labs())
        ok, there = asked.answers.ok(rows), asked.losses.ok(rows)
        found = asked.answers.take("given_answers", rows[ok])
        answers = np.zeros((len(rows), *found.shape[1:]), np.uint8)
        answers[ok] = found
        losses = np.full(len(rows), np.nan)
        losses[there] = asked.losses.take("nll", rows[there])
        yield Answered(
            trial, answers, ok, losses, outcome_of(asked.tuned), asked.answers.reasons(rows)
        )

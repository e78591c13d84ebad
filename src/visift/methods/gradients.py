"""What methods by gradients share: a model that knows the tasks a little, and what is asked of it.

Without a warm-up the low-rank factors of a model do not exist, or are zero: a small random part of
the pool gives them something to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.engine.trainings import Tuned
from visift.errors import InputError, TrainingError
from visift.methods.grouping import EVERYTHING, Labelled
from visift.methods.seeds import drawn
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.signals.gradients import LoraGradient
from visift.signals.signal import Column, Measure, Signal, Unit
from visift.training.finetune import outcome_of
from visift.training.recipe import read_recipe
from visift.training.tuned import TunedRef

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

NORM = Column("grad_norm", "float32")
PROJECTION = Column("grad_projection", "float16", (None,))


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A single column of numbers measured elsewhere; asked for only where it is there."""

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"

    column: Column

    @property
    def columns(self) -> tuple[Column, ...]:
        """The one column."""
        return (self.column,)

    def open(self, device: str) -> Measure:
        """Never called: it is asked for only where `Lab.given` says that it is there."""
        raise NotImplementedError(device)


def ask(lab: Lab, column: Column, signal: Signal, examples: Examples) -> Measured:
    """Ask for one column of a signal: handed in alone, where it is, or measured with all others.

    Args:
        lab: who is asked.
        column: which.
        signal: has it.
        examples: of what.
    """
    handed_in = lab.given(column.name)
    return lab.measure(HandedIn(column) if handed_in else signal, examples)


def ask_each(
    lab: Lab, column: Column, signals: Sequence[LoraGradient], examples: Examples
) -> tuple[Measured, ...]:
    """Ask for one column at every checkpoint, see `ask`.

    Raises:
        InputError: it is handed in, and there is one of it.
    """
    if len(signals) > 1 and lab.given(column.name):
        raise InputError(
            f"{column.name} is handed in once, and {len(signals)} checkpoints are asked for.",
            fix="Leave out checkpoints, or --signals.",
        )
    return tuple(ask(lab, column, signal, examples) for signal in signals)


@dataclass(frozen=True, slots=True)
class Reference:
    """A model whose gradients are taken.

    Attributes:
        signal: the gradients.
        warmup: rows it learned from, in key order; none where it came as it is.
        tuned: the answer to the request for its training.
        checkpoints: at how many points of its training gradients are taken; 1 is the end.
    """

    signal: LoraGradient
    warmup: IntArray
    tuned: Tuned
    checkpoints: int = 1

    @property
    def signals(self) -> tuple[LoraGradient, ...]:
        """The gradients at each checkpoint, in the order of the training."""
        if self.checkpoints == 1:
            return (self.signal,)
        numbers = range(1, self.checkpoints + 1)
        return tuple(replace(self.signal, checkpoint=number) for number in numbers)

    def rates(self) -> Float:
        """Return each checkpoint's share of all learning rates; known once it is trained.

        That of a checkpoint is the mean over the steps since the one before [paper: LESS].

        Raises:
            TrainingError: nobody knows them any more.
        """
        if self.checkpoints == 1:
            return np.ones(1)
        model = self.tuned.model
        outcome = outcome_of(model) if isinstance(model, TunedRef) else None
        if outcome is None:
            raise TrainingError(
                "its learning rates are not known any more: the record of its training is gone.",
                where=None if model is None else model.name,
                fix="Use another --cache: it is tuned and measured again.",
            )
        rates = np.array([one.mean_rate for one in outcome.checkpoints])
        shares: Float = rates / rates.sum()
        return shares

    @property
    def unlearnt(self) -> int:
        """How many of these rows it could not be trained on; known once it is trained."""
        return int((~self.tuned.ok(self.warmup)).sum())


def reference_model(
    lab: Lab,
    model: ModelRef | None,
    recipe: str | Mapping[str, Any],
    seed: int,
    warmup: IntArray,
    checkpoints: int = 1,
    **gradient: Any,
) -> Reference:
    """Ask for a model tuned on some rows; nothing is trained yet.

    Args:
        lab: who is asked.
        model: what is tuned.
        recipe: how, see `training.recipe.read_recipe`.
        seed: of the training.
        warmup: on which rows; none takes the model as it is, an adapter.
        checkpoints: at how many points of the training gradients are taken.
        **gradient: fields of `LoraGradient`.

    Raises:
        InputError: the training has fewer steps than checkpoints.
    """
    read = read_recipe(recipe, model, seed, lora=True)
    if checkpoints > 1:
        steps = read.steps(len(warmup))
        if checkpoints > steps:
            raise InputError(
                f"{checkpoints} checkpoints of a warm-up of {counted(steps, 'step')}.",
                fix="Ask for fewer, or have more steps: a larger warmup_ratio, or more epochs or "
                "a smaller batch_size in the recipe.",
            )
        read = replace(read, checkpoints=checkpoints)
    tuned = lab.finetune(model, read, Examples(warmup)) if len(warmup) else Tuned(model)
    signal = LoraGradient(tuned.model, max_tokens=read.max_tokens, **gradient)
    return Reference(signal, warmup, tuned, checkpoints)


def measured_rows(rows: IntArray, measured: Sequence[Measured]) -> IntArray:
    """Return those of some rows that have a value at every checkpoint."""
    fine = [one.ok(rows) for one in measured]
    return rows[np.all(fine, axis=0)]


def drawn_share(pool: Pool, rows: IntArray, ratio: float, seed: int) -> IntArray:
    """Return warm-up rows in key order: a share of all at random, at least one unless it is 0."""
    if not ratio or not len(rows):
        return rows[:0]
    size = max(int(Fraction(repr(ratio)) * len(rows)), 1)
    one_group = Labelled((EVERYTHING,), np.zeros_like(rows))
    return drawn(pool, rows, size, one_group, seed, b"warmup")

"""What methods by gradients share: a model that knows the tasks a little, and what is asked of it.

Without a warm-up the low-rank factors of a model do not exist, or are zero: a small random part of
the pool gives them something to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.engine.trainings import Tuned
from visift.methods.grouping import EVERYTHING, Labelled
from visift.methods.seeds import drawn
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.signals.gradients import LoraGradient
from visift.signals.signal import Column, Measure, Signal, Unit
from visift.training.recipe import Recipe, read_recipe

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


@dataclass(frozen=True, slots=True)
class Reference:
    """A model whose gradients are taken.

    Attributes:
        signal: the gradients.
        warmup: rows it learned from, in key order; none where it came as it is.
        tuned: the answer to the request for its training.
    """

    signal: LoraGradient
    warmup: IntArray
    tuned: Tuned

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
    **gradient: Any,
) -> Reference:
    """Ask for a model tuned on some rows; nothing is trained yet.

    Args:
        lab: who is asked.
        model: what is tuned.
        recipe: how, see `training.recipe.read_recipe`.
        seed: of the training.
        warmup: on which rows; none takes the model as it is, an adapter.
        **gradient: fields of `LoraGradient`.
    """
    read: Recipe = read_recipe(recipe, model, seed, lora=True)
    tuned = lab.finetune(model, read, Examples(warmup)) if len(warmup) else Tuned(model)
    signal = LoraGradient(tuned.model, max_tokens=read.max_tokens, **gradient)
    return Reference(signal, warmup, tuned)


def drawn_share(pool: Pool, rows: IntArray, ratio: float, seed: int) -> IntArray:
    """Return warm-up rows in key order: a share of all at random, at least one unless it is 0."""
    if not ratio or not len(rows):
        return rows[:0]
    size = max(int(Fraction(repr(ratio)) * len(rows)), 1)
    one_group = Labelled((EVERYTHING,), np.zeros_like(rows))
    return drawn(pool, rows, size, one_group, seed, b"warmup")

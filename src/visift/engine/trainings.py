"""Models that a lab was asked to train: known by content, trained when a value depends on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.engine.items import Items
from visift.engine.ledger import Entry
from visift.engine.measured import Rows
from visift.engine.progress import Progress
from visift.engine.store import Keys, item_keys
from visift.models.ref import ModelRef
from visift.signals.cost import Load
from visift.signals.signal import Signal
from visift.training.finetune import Example, Step, finetune, outcome_of
from visift.training.recipe import Recipe
from visift.training.tuned import FineTuning, TunedRef

#: Folder of all checkpoints inside a cache folder.
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """One model, and what it is trained on; each request is one of its own.

    Attributes:
        tuned: the model.
        items: its examples.
        keys: (n, 2) theirs.
    """

    tuned: TunedRef
    items: Items
    keys: Keys

    @classmethod
    def of(cls, cache: Path, model: ModelRef, recipe: Recipe, items: Items) -> Training:
        """Return the training of a model on some records; nothing is trained."""
        keys = item_keys(items.keys())
        digest = blake2b(digest_size=16)
        for text in sorted(_texts(keys)):
            digest.update(text.encode())
        folder = cache / CHECKPOINTS
        tuned = TunedRef.of(model, recipe, digest.hexdigest(), len(items), folder)
        return cls(tuned, items, keys)

    @property
    def signal(self) -> FineTuning:
        """What plan and ledger know it as."""
        return FineTuning(self.tuned.base, self.tuned.recipe)

    @property
    def is_needed(self) -> bool:
        """Whether it is still to be done, as far as this machine knows; nothing is fetched.

        What decides the checkpoint's name takes time, and torch: it is asked for only where there
        are checkpoints at all.
        """
        there = Path(self.tuned.checkpoints)
        if not there.is_dir() or not any(there.iterdir()):
            return True
        return self.tuned.here() is None or not self.tuned.is_trained

    @property
    def examples(self) -> list[Example]:
        """Its examples, in the order of its items."""
        rows, keys = self.items.ids.tolist(), _texts(self.keys)
        said = self.items.said or (None,) * len(rows)
        return [Example(*one) for one in zip(rows, keys, said, strict=True)]

    def entry(self) -> Entry:
        """Return its line in the ledger."""
        return Entry.of(self.signal, len(self.items), len(self.items), 0, self.load())

    def load(self) -> Load:
        """Return what its examples hold."""
        return self.items.holding(np.arange(len(self.items)))

    def run(self, devices: Sequence[str], progress: Progress) -> None:
        """Train; see `training.finetune.finetune`."""
        begun = False

        def hear(step: Step) -> None:
            nonlocal begun
            if not begun:
                progress.begin_training(self.tuned.name, step.steps)
                begun = True
            progress.step(step.step, step.loss)

        try:
            finetune(self.tuned, self.items.pool, self.examples, devices, hear)
        finally:
            if begun:
                progress.end()

    def left_out(self) -> dict[int, str]:
        """Return the rows it could not be trained on, and why; none before it is trained."""
        outcome = outcome_of(self.tuned)
        if outcome is None or not outcome.left_out:
            return {}
        pairs = zip(self.items.ids.tolist(), _texts(self.keys), strict=True)
        return {row: outcome.left_out[key] for row, key in pairs if key in outcome.left_out}


def _nobody() -> Mapping[int, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Tuned:
    """The answer to a request for training.

    Attributes:
        model: what signals take; None where no base was named.
        left_out: called after it is trained; gives the rows it could not be trained on, and why.
    """

    model: ModelRef | None
    left_out: Callable[[], Mapping[int, str]] = _nobody

    def ok(self, rows: Rows) -> NDArray[np.bool_]:
        """Return whether it was trained on each of some rows that it was asked for with."""
        without = self.left_out()
        return np.array([row not in without for row in rows.tolist()], bool)


def training_for(signal: Signal, trainings: Iterable[Training]) -> Training | None:
    """Return the training of a signal's model, None for a model that comes as it is."""
    model = getattr(signal, "model", None)
    if not isinstance(model, TunedRef):
        return None
    return next(one for one in trainings if one.tuned == model)


def still_needed(training: Training, trainings: Iterable[Training]) -> list[Training]:
    """Return what is to be trained for a model, itself last: models are tuned on top of others."""
    if not training.is_needed:
        return []
    base = next((one for one in trainings if one.tuned == training.tuned.base), None)
    return [*([] if base is None else still_needed(base, trainings)), training]


def _texts(keys: Keys) -> list[str]:
    return [f"{high:016x}{low:016x}" for high, low in keys.tolist()]

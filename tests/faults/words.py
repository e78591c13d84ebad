"""A method for whole runs that reads texts and images of records, slowly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from engine.simple import Reddest
from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.pool.pool import Pool
from visift.signals.batching import measure_in_batches
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values


@dataclass(frozen=True, slots=True)
class Words:
    """Characters of a record, and how red its images are, as one number."""

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column("visual_feature", "float32", (1,)),)

    seconds: float = 0.0

    def open(self, device: str) -> Measure:
        """See `signals.signal.Signal`."""
        del device

        def load(item: RecordItem) -> tuple[int, list[Image.Image]]:
            said = sum(len(turn.text) for turn in item.record.turns)
            return said, [image.load() for image in item.images]

        def count(batch: list[tuple[int, list[Image.Image]]]) -> dict[str, Any]:
            time.sleep(self.seconds)
            reds = [sum(np.asarray(image)[0, 0, 0] / 1000 for image in shown) for _, shown in batch]
            said = [float(count) for count, _ in batch]
            return {"visual_feature": (np.array(said) + reds).astype(np.float32).reshape(-1, 1)}

        def measure(items: Sequence[RecordItem]) -> Values:
            return measure_in_batches(items, load, count, self.columns, 1, 16)

        return measure


@dataclass(frozen=True, slots=True)
class Wordiest(Reddest):
    """The records that say most."""

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Measured:
        """See `methods.method.Method`."""
        del budget
        return lab.measure(Words(seconds=self.seconds), Examples(pool.rows()))

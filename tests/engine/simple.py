"""Real signals that need no model, a method that asks for one, and pools to measure them on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import ModelError
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.batching import measure_in_batches
from visift.signals.signal import Column, ImageItem, Measure, RecordItem, Unit, Values


def write_pool(folder: Path, records: Sequence[tuple[str, Sequence[str]]]) -> Path:
    """Write records given as (answer, image names); image `<n>.png` has its own colour."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (answer, images) in enumerate(records):
        question = "<image>\n" * len(images) + "What is it?"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        rows.append({"id": str(number), "image": list(images), "conversations": turns})
        for name in images:
            draw(folder / name)
    path = folder / "pool.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def draw(path: Path) -> None:
    """Write a small image whose colour follows from its name."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = np.random.default_rng(list(path.name.encode())).integers(0, 256, 3)
    Image.new("RGB", (4, 4), tuple(int(c) for c in colour)).save(path)


def plain_pool(folder: Path, count: int) -> Pool:
    """Return a pool of `count` records, each with an image of its own."""
    return Pool.open(write_pool(folder, [(f"It is {i}.", [f"{i}.png"]) for i in range(count)]))


@dataclass(frozen=True, slots=True)
class MeanColour:
    """Mean red, green and blue of an image; `log` is a folder where workers note what they do.

    Attributes:
        fails_once_on: an image that meets a fault of the machine, the first time only.
        broken: every image meets one, every time.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "image"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("visual_feature", "float16", (None,), scaled=True),
    )

    gain: float = 1.0
    log: str | None = None
    seconds: float = 0.0
    fails_once_on: str | None = None
    broken: bool = False

    def open(self, device: str) -> Measure:
        """See `signals.signal.Signal`."""
        del device
        if self.log:
            note(Path(self.log), "opened", "")

        def colours(images: list[Image.Image]) -> dict[str, Any]:
            time.sleep(self.seconds)
            if self.broken:
                raise RuntimeError("CUDA error: illegal address")
            means = [np.asarray(image, np.float32).mean(axis=(0, 1)) for image in images]
            return {"visual_feature": self.gain * np.stack(means)}

        def load(item: ImageItem) -> Image.Image:
            first = self.log is not None and noted(Path(self.log)).count(item.path) == 1
            if first and item.path == self.fails_once_on:
                raise OSError(5, "Input/output error")
            return item.load()

        def measure(items: Sequence[ImageItem]) -> Values:
            if self.log:
                for item in items:
                    note(Path(self.log), "measured", item.path)
            return measure_in_batches(items, load, colours, self.columns, 3, 16)

        return measure


@dataclass(frozen=True, slots=True)
class TextLength:
    """Characters of a record's answers; some texts fail, kill the shard or stop everything."""

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column("length", "int32"),)

    log: str | None = None
    raises_on: str | None = None
    stops_on: str | None = None

    def open(self, device: str) -> Measure:
        """See `signals.signal.Signal`."""
        del device
        return self._measure

    def _measure(self, items: Sequence[RecordItem]) -> Values:
        parts = [self._length(item) for item in items]
        lengths = np.array([length for length, _ in parts], np.int32)
        return Values({"length": lengths}, [reason for _, reason in parts])

    def _length(self, item: RecordItem) -> tuple[int, str | None]:
        text = "".join(turn.text for turn in item.record.turns if turn.role == "assistant")
        if self.log:
            note(Path(self.log), "measured", text)
        if self.raises_on is not None and self.raises_on in text:
            raise RuntimeError(f"cannot read {self.raises_on}")
        if self.stops_on is not None and self.stops_on in text:
            raise ModelError("does not fit.", where="the model", fix="Take another.")
        return (0, "too short") if not text else (len(text), None)


@dataclass(frozen=True, slots=True)
class NeverOpens:
    """A signal whose model cannot be loaded."""

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column("length", "int32"),)

    def open(self, device: str) -> Measure:
        """See `signals.signal.Signal`."""
        raise ModelError(f"no model on {device}.")


def note(folder: Path, kind: str, text: str) -> None:
    """Append a line to this kind's log; safe with several processes."""
    with (folder / f"{kind}.log").open("a") as file:
        file.write(f"{text}\n")


def noted(folder: Path, kind: str = "measured") -> list[str]:
    """Return the lines of a log."""
    path = folder / f"{kind}.log"
    return path.read_text().splitlines() if path.exists() else []


@dataclass(frozen=True, slots=True)
class Reddest:
    """A method for whole runs: the records with the reddest images, measured slowly."""

    name: ClassVar[str] = "reddest"
    summary: ClassVar[str] = "reddest images first"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    seconds: float = 0.0
    seed: int = 0

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Measured:
        """See `methods.method.Method`."""
        del budget
        return lab.measure(MeanColour(seconds=self.seconds), Examples(pool.rows()))

    def choose(self, pool: Pool, inputs: Measured, budget: Budget | None) -> Choice:
        """See `methods.method.Method`."""
        assert budget is not None
        rows = pool.rows()
        rows = rows[inputs.ok(rows)]
        red = np.concatenate([b[:, 0] for b in inputs.blocks("visual_feature", rows)])
        order = np.lexsort((pool.tie_keys(self.seed)[rows], -red.astype(np.float64)))
        score = np.full(len(pool), np.nan)
        score[rows] = red
        taken = rows[order][: budget.limit(len(rows), len(pool.images))]
        none: list[str | None] = [None] * len(pool)
        facts = {"usable": len(rows), "nested": True}
        tied = np.zeros(len(taken), bool)
        return Choice(taken, ["red"] * len(taken), score, none, none, tied, facts)

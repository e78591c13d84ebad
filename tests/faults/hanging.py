"""Work that hangs in every way a process can."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from engine.simple import note, noted
from visift.engine.executor import Work
from visift.signals.batching import measure_in_batches
from visift.signals.signal import Column, ImageItem, Measure, Unit, Values


@dataclass(frozen=True)
class Hanging:
    """Writes one file a shard; some shards hang when they are tried for the first time.

    Attributes:
        folder: where everything is noted.
        stops: shards whose process is stopped, as by SIGSTOP.
        loops: shards that never end and keep the processor busy.
        sleeps: shards that never end and do nothing.
        ballast: what makes the work long to hand over.
    """

    folder: Path
    stops: tuple[int, ...] = ()
    loops: tuple[int, ...] = ()
    sleeps: tuple[int, ...] = ()
    ballast: bytes = b""

    def __call__(self, worker: int) -> Work:
        """See `visift.engine.executor.OpenWork`."""
        note(self.folder, "opened", str(os.getpid()))
        return self._work

    def _work(self, shard: int) -> None:
        note(self.folder, "begun", str(shard))
        if noted(self.folder, "begun").count(str(shard)) == 1:
            self._hang(shard)
        (self.folder / f"{shard}.bin").write_text(str(shard))

    def _hang(self, shard: int) -> None:
        if shard in self.stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        while shard in self.loops:
            pass
        if shard in self.sleeps:
            time.sleep(3600)


@dataclass(frozen=True, slots=True)
class SlowColour:
    """Mean colour of an image, one after the other; some of them are never done.

    Attributes:
        seconds: that an image takes.
        hangs_on: an image in whose measuring everything stops, as long as `stuck` is there.
        stuck: a file.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "image"
    columns: ClassVar[tuple[Column, ...]] = (Column("colour", "float32", (3,)),)

    seconds: float = 0.0
    hangs_on: str = ""
    stuck: str = ""

    def open(self, device: str) -> Measure:
        """See `signals.signal.Signal`."""
        del device

        def load(item: ImageItem) -> tuple[str, Image.Image]:
            return item.path, item.load()

        def colours(loaded: list[tuple[str, Image.Image]]) -> dict[str, Any]:
            time.sleep(self.seconds)
            if any(path == self.hangs_on for path, _ in loaded) and Path(self.stuck).exists():
                time.sleep(3600)
            means = [np.asarray(image, np.float32).mean(axis=(0, 1)) for _, image in loaded]
            return {"colour": np.stack(means)}

        def measure(items: Sequence[ImageItem]) -> Values:
            return measure_in_batches(items, load, colours, self.columns, 3, 1)

        return measure

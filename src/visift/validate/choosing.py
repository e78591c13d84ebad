"""What choosing costs: what a method would measure, the time and the memory that it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from visift.budget import Budget
from visift.engine.counting import CountingLab
from visift.engine.executor import Executor
from visift.engine.lab import LocalLab
from visift.files import disk_errors, write_atomically
from visift.methods.method import Method
from visift.models.memory import forget_peak
from visift.pool.bill import NO_BILL, Bill
from visift.signals.cost import Cost
from visift.training.finetune import outcome_of
from visift.validate.arms import Ground

#: A folder that is never there: what is counted with it counts everything.
NOWHERE = Path("nowhere-at-all")


@dataclass(frozen=True, slots=True)
class Took:
    """What choosing took here; None where it is not known.

    Attributes:
        seconds: of one device.
        memory: the most bytes that one process held, see `models.memory`.
    """

    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Choosing:
    """What it takes to choose.

    Attributes:
        cost: everything that is measured, nothing of it stored before.
        took: the same here; not known where some of it was stored.
        bill: for the labels of a teacher that it learns from.
    """

    cost: Cost
    took: Took
    bill: Bill = NO_BILL


@dataclass(frozen=True, slots=True)
class Needed:
    """What a method is still to measure.

    Attributes:
        cost: of all of it.
        measuring: without trainings, which say themselves how long they took.
        bill: for labels.
    """

    cost: Cost
    measuring: Cost
    bill: Bill


def count(method: Method, ground: Ground, lab: LocalLab, cache: Path) -> CountingLab:
    """Return what a method asks for, counted against what a cache folder holds.

    Raises:
        VisiftError: it cannot choose from this pool, or waits for somebody.
    """
    counting = CountingLab(ground.visual, cache, lab.imported, lab.annotations, lab.teacher)
    method.measure(ground.visual, counting, Budget.parse(ground.chosen))
    return counting


def needed(method: Method, ground: Ground, lab: LocalLab, cache: Path) -> Needed:
    """Return what a method would measure, given what a cache folder holds."""
    counting = count(method, ground, lab, cache)
    counts = counting.counts()
    measured = [one.entry.cost for one in counts if one.training is None]
    return Needed(
        sum((one.entry.cost for one in counts), Cost()),
        sum(measured, Cost()),
        lab.teacher.bill if counting.read_labels else NO_BILL,
    )


@dataclass(slots=True)
class Stopwatch:
    """Times one choice of a method.

    Attributes:
        took: when it is over.
    """

    took: Took = field(default_factory=Took)

    @contextmanager
    def running(self, lab: LocalLab) -> Iterator[None]:
        """Time what a method chooses meanwhile with a lab of its own."""
        forget_peak()  # of what was measured in this process before
        staff = Staff(lab.executor)
        lab.executor = staff
        began = time.monotonic()
        yield
        seconds = device_seconds(time.monotonic() - began, staff.most, lab)
        self.took = Took(round(seconds, 3), _memory(lab))


@dataclass(slots=True)
class Staff:
    """Gives executors, and notes the most workers that one of them has.

    Attributes:
        executor: gives them, see `LocalLab`.
        most: workers so far.
    """

    executor: Callable[[int], Executor]
    most: int = 1

    def __call__(self, blocks: int) -> Executor:
        """Give an executor for so many blocks."""
        made = self.executor(blocks)
        self.most = max(self.most, getattr(made, "workers", 1))  # one that has none is here
        return made


def device_seconds(seconds: float, workers: int, lab: LocalLab) -> float:
    """Return the seconds of one device that choosing took, as those of a training are counted.

    Workers have a device each: a GPU, or a core. A model takes one core to train, or all GPUs.

    Args:
        seconds: that passed.
        workers: that measured.
        lab: what was asked.
    """
    outcomes = {one.tuned: outcome_of(one.tuned) for one in lab.trainings}
    took = {tuned: one.seconds for tuned, one in outcomes.items() if one is not None}
    devices = len(lab.devices()) if took else 1
    return max(seconds - lab.training_seconds, 0.0) * workers + sum(took.values()) * devices


def _memory(lab: LocalLab) -> int | None:
    """Return the most bytes that a process held that measured or trained for a lab."""
    outcomes = [outcome_of(one.tuned) for one in lab.trainings]
    held = [one.memory for one in outcomes if one is not None and one.memory is not None]
    return max([*held, lab.memory]) or None


@dataclass(slots=True)
class Clock:
    """What choosing took when nothing was stored; kept in a file, because later all of it is.

    Attributes:
        path: of the file.
        known: by what was chosen.
    """

    path: Path
    known: dict[str, Took] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Clock:
        """Read what is known; a damaged file knows nothing."""
        with suppress(OSError, ValueError, AttributeError, TypeError):
            said: Mapping[str, Mapping[str, Any]] = json.loads(path.read_bytes())
            return cls(path, {str(name): Took(**one) for name, one in said.items()})
        return cls(path)

    def remembered(self, name: str, took: Took, fresh: bool) -> Took:
        """Note what it took if everything was measured; return what is known."""
        if fresh:
            self.known[name] = took
            plain = {name: asdict(one) for name, one in self.known.items()}
            with disk_errors(self.path):
                write_atomically(self.path, json.dumps(plain, indent=1).encode())
        return self.known.get(name, Took())

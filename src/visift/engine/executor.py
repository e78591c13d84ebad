"""The seam between measuring and machines.

An executor is handed shard numbers and a way to open the work, and reports what became of each
shard. Workers commit where they run, so an executor cannot change a value: it can only leave
shards missing. Resume, retries and progress live outside it, once, in `blocks.py`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from visift.models.memory import peak_memory

Work = Callable[[int], None]

#: Called whenever something of a shard has gone on; from any thread, as often as one likes.
Alive = Callable[[], None]


def nobody_listens() -> None:
    """Stand in for whoever wants to know that something goes on."""


#: Seconds without any sign of life after which a worker is given up [ours].
PATIENCE_SECONDS = 1800.0


class OpenWork(Protocol):
    """Picklable; called once in each worker, loads models, returns what measures one shard."""

    def __call__(self, worker: int) -> Work:
        """Open the work as worker number `worker` (it picks the device)."""
        ...


@runtime_checkable
class Telling(Protocol):
    """Work that can say that it goes on, while a shard takes long; any other is silent."""

    def telling(self, alive: Alive) -> OpenWork:
        """Return this work, which calls `alive` from now on."""
        ...


def open_telling(open_work: OpenWork, worker: int, alive: Alive) -> Work:
    """Open work as worker number `worker`, and have it say that it goes on if it can."""
    return (open_work.telling(alive) if isinstance(open_work, Telling) else open_work)(worker)


def no_answer(seconds: float) -> str:
    """Return why a shard failed whose worker gave no sign of life for so long."""
    return f"no answer for {seconds:,.0f} s"


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard that is measured and committed.

    Attributes:
        shard: its number.
        memory: the most bytes that its worker has held so far, see `models.memory`.
    """

    shard: int
    memory: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ShardFailed:
    """A shard that is not; `error` is the exception of the work, None where the worker died."""

    shard: int
    reason: str
    error: BaseException | None = None


Event = ShardDone | ShardFailed
Events = Generator[Event, None, None]


class Executor(Protocol):
    """Runs shards on one or many workers."""

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """Yield one event a shard, in any order.

        Closing the iterator early (Ctrl-C, an error outside) stops all workers. What is raised
        while the work is opened is no shard's fault and ends the iterator as it is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inline:
    """Everything in this process, one shard after the other."""

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `Executor.map`."""
        work: Work | None = None
        for shard in shards:
            if work is None:
                work = open_work(0)
            try:
                work(shard)
            except Exception as error:
                yield ShardFailed(shard, describe(error), error)
            else:
                yield ShardDone(shard, peak_memory())


def describe(error: BaseException) -> str:
    """Return one line about an exception."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def portable(error: Exception) -> Exception | None:
    """Return the exception if it survives a pickle, so that the parent can raise it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error

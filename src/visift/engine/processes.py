"""Local worker processes: spawned, one pipe each, one shard handed out at a time.

Not `ProcessPoolExecutor`: when one of its workers dies the whole pool breaks, and when its parent
is killed its workers stay behind. Here a dead worker closes its pipe, which costs the shard it
held, and so does one that hangs: it is killed when nothing was heard of it for long. A dead parent
closes the other end, and the worker leaves after the shard in hand.
"""

from __future__ import annotations

import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Lock, Thread

from visift.engine.executor import (
    PATIENCE_SECONDS,
    Event,
    Events,
    OpenWork,
    ShardDone,
    ShardFailed,
    describe,
    no_answer,
    open_telling,
    portable,
)
from visift.engine.spawning import interrupts_held, main_left_alone, one_thread
from visift.models.memory import peak_memory

_LEAVE_SECONDS = 5.0
#: The longest that is listened at once, and the least time between two signs of life.
_LISTEN_SECONDS = 10.0
_TELL_SECONDS = 1.0
#: The least that a worker may take to begin, however little patience there is [ours].
_BEGIN_SECONDS = 60.0


@dataclass(slots=True)
class _Worker:
    """A process as the parent knows it.

    Attributes:
        number: which of the workers it is.
        process: itself.
        pipe: our end of the pipe to it.
        handing: the thread that hands it its work, which waits until all of it is taken.
        ready: its work is open.
        shard: what it measures.
        silent: seconds since it was heard.
    """

    number: int
    process: SpawnProcess
    pipe: Connection
    handing: Thread
    ready: bool = False
    shard: int | None = None
    silent: float = 0.0


@dataclass(frozen=True, slots=True)
class _Ready:
    """First message of a worker: its work is open."""


@dataclass(frozen=True, slots=True)
class _NotOpened:
    """First message of a worker whose work cannot be opened."""

    reason: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class _Alive:
    """A worker is still at work."""


@dataclass(frozen=True, slots=True)
class Processes:
    """`workers` processes on this machine, each with one BLAS thread.

    Attributes:
        workers: how many.
        patience: seconds without any sign of life after which a worker is killed; one that has
            still to begin gets a minute at least.
    """

    workers: int
    patience: float = PATIENCE_SECONDS

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `Executor.map`.

        A worker that dies, or hangs, while it opens the work is not replaced; if none is left, the
        shards still waiting are reported as failed.
        """
        staff = _Staff(pickle.dumps(open_work), deque(shards), self.patience)
        try:
            staff.hire(range(min(self.workers, len(shards))))
            while staff.has_work():
                yield from staff.listen()
        finally:
            _dismiss(list(staff.workers.values()))


@dataclass(slots=True)
class _Staff:
    """The workers of one `map`.

    Attributes:
        payload: the pickled `OpenWork`.
        waiting: shards nobody has taken yet.
        patience: see `Processes`.
        workers: by our end of their pipe.
    """

    payload: bytes
    waiting: deque[int]
    patience: float
    workers: dict[Connection, _Worker] = field(default_factory=dict)

    def has_work(self) -> bool:
        """Return whether a shard is waiting or in hand."""
        return bool(self.waiting) or any(w.shard is not None for w in self.workers.values())

    def hire(self, numbers: Sequence[int]) -> None:
        """Start workers side by side, and tell each what to open."""
        for number in numbers:
            worker = _start(number, self.payload)
            self.workers[worker.pipe] = worker

    def listen(self) -> Iterator[Event]:
        """Hear those who have something to say, and give up those who said nothing for too long.

        Silence is counted while somebody listens, and little of it at once: where all of us were
        stopped, by Ctrl-Z for example, nobody could have said anything.
        """
        most = min(_LISTEN_SECONDS, self.patience / 4)
        begun = time.monotonic()
        heard = connection.wait(list(self.workers), most)
        silence = min(time.monotonic() - begun, most)
        for worker in self.workers.values():
            worker.silent += silence
        for pipe in heard:
            assert isinstance(pipe, Connection)
            yield from self._hear(self.workers[pipe])
        for worker in list(self.workers.values()):
            limit = self.patience if worker.ready else max(self.patience, _BEGIN_SECONDS)
            if worker.silent >= limit:
                worker.process.kill()
                yield from self._replace(worker, no_answer(limit))

    def _hear(self, worker: _Worker) -> Iterator[Event]:
        """Take one message of a worker, or notice that it is gone."""
        worker.silent = 0.0
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_LEAVE_SECONDS)  # a signal of ours would hide why it went
            yield from self._replace(worker, f"the worker died ({_ending(worker.process)})")
            return
        if isinstance(message, _NotOpened):
            raise message.error or RuntimeError(message.reason)
        if isinstance(message, _Alive):
            return
        worker.ready = True
        worker.shard = self.waiting.popleft() if self.waiting else None
        with suppress(OSError):
            worker.pipe.send(worker.shard)
        if not isinstance(message, _Ready):
            yield message

    def _replace(self, worker: _Worker, reason: str) -> Iterator[Event]:
        """Report the shard of a lost worker and hire another one, if this one ever worked."""
        del self.workers[worker.pipe]
        _dismiss([worker])
        if worker.ready and self.waiting:
            self.hire([worker.number])
        if worker.shard is not None:
            yield ShardFailed(worker.shard, reason)
        while self.waiting and not self.workers:
            yield ShardFailed(self.waiting.popleft(), f"{reason} before it could begin")


def _start(number: int, payload: bytes) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, number), daemon=True)
    with one_thread(), interrupts_held(), main_left_alone():
        process.start()
    theirs.close()
    handing = Thread(target=_hand_over, args=(ours, payload), daemon=True)
    handing.start()
    return _Worker(number, process, ours, handing)


def _hand_over(pipe: Connection, payload: bytes) -> None:
    with suppress(OSError):
        pipe.send_bytes(payload)


def _ending(process: SpawnProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _dismiss(workers: list[_Worker]) -> None:
    """Close all pipes, then wait for the workers; those at work, or that do not leave, are killed.

    A process that waits for a disk that hangs cannot be killed; it is left behind.
    """
    for worker in workers:
        if worker.shard is not None or not worker.ready:
            worker.process.kill()
    for worker in workers:
        worker.handing.join(_LEAVE_SECONDS)
        worker.pipe.close()
    for worker in workers:
        worker.process.join(_LEAVE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(_LEAVE_SECONDS)


class _Voice:
    """What a worker says, from whatever thread."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._one_at_a_time = Lock()
        self._said = 0.0

    def say(self, message: object) -> None:
        """Send a message."""
        with self._one_at_a_time:
            self._pipe.send(message)
            self._said = time.monotonic()

    def alive(self) -> None:
        """Give a sign of life, unless there was one just now."""
        if time.monotonic() - self._said > _TELL_SECONDS:
            with suppress(OSError):
                self.say(_Alive())


def _serve(pipe: Connection, number: int) -> None:
    """What a worker does: open the work, then measure shards until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    voice = _Voice(pipe)
    with suppress(EOFError, OSError):
        payload = pipe.recv_bytes()
        try:
            open_work: OpenWork = pickle.loads(payload)
            work = open_telling(open_work, number, voice.alive)
        except Exception as error:
            voice.say(_NotOpened(describe(error), portable(error)))
            return
        voice.say(_Ready())
        while (shard := pipe.recv()) is not None:
            try:
                work(shard)
            except Exception as error:
                voice.say(ShardFailed(shard, describe(error), portable(error)))
            else:
                voice.say(ShardDone(shard, peak_memory()))
    sys.stdout.flush()

"""Local worker processes: spawned, one pipe each, one shard handed out at a time.

Not `ProcessPoolExecutor`: when one of its workers dies the whole pool breaks, and when its parent
is killed its workers stay behind. Here a dead worker closes its pipe, which costs the shard it
held; a dead parent closes the other end, and the worker leaves after the shard in hand.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import ModuleType

from visift.engine.executor import Event, Events, OpenWork, ShardDone, ShardFailed, describe

THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LEAVE_SECONDS = 5.0


@dataclass(slots=True)
class _Worker:
    number: int
    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """First message of a worker: its work is open."""


@dataclass(frozen=True, slots=True)
class _NotOpened:
    """First message of a worker whose work cannot be opened."""

    reason: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Processes:
    """`workers` processes on this machine, each with one BLAS thread."""

    workers: int

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `Executor.map`.

        A worker that dies while it opens the work is not replaced; if none is left, the shards
        still waiting are reported as failed.
        """
        staff = _Staff(pickle.dumps(open_work), deque(shards), {})
        try:
            staff.hire(range(min(self.workers, len(shards))))
            while staff.has_work():
                for pipe in connection.wait(list(staff.workers)):
                    assert isinstance(pipe, Connection)
                    yield from staff.hear(pipe)
        finally:
            _dismiss(list(staff.workers.values()))


@dataclass(slots=True)
class _Staff:
    """The workers of one `map`.

    Attributes:
        payload: the pickled `OpenWork`.
        waiting: shards nobody has taken yet.
        workers: by our end of their pipe.
    """

    payload: bytes
    waiting: deque[int]
    workers: dict[Connection, _Worker]

    def has_work(self) -> bool:
        """Return whether a shard is waiting or in hand."""
        return bool(self.waiting) or any(w.shard is not None for w in self.workers.values())

    def hire(self, numbers: Sequence[int]) -> None:
        """Start workers side by side, then tell each what to open."""
        hired = []
        for number in numbers:
            worker = _start(number)
            self.workers[worker.pipe] = worker
            hired.append(worker)
        for worker in hired:
            with suppress(OSError):
                worker.pipe.send_bytes(self.payload)

    def hear(self, pipe: Connection) -> Iterator[Event]:
        """Take one message of a worker, or notice that it is gone."""
        worker = self.workers[pipe]
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(message, _NotOpened):
            raise message.error or RuntimeError(message.reason)
        worker.ready = True
        worker.shard = self.waiting.popleft() if self.waiting else None
        with suppress(OSError):
            pipe.send(worker.shard)
        if not isinstance(message, _Ready):
            yield message

    def _replace(self, worker: _Worker) -> Iterator[Event]:
        """Report the shard of a dead worker and hire another one, if this one ever worked."""
        del self.workers[worker.pipe]
        worker.process.join(_LEAVE_SECONDS)  # a signal of ours would hide why it went
        _dismiss([worker])
        if worker.ready and self.waiting:
            self.hire([worker.number])
        reason = f"the worker died ({_ending(worker.process)})"
        if worker.shard is not None:
            yield ShardFailed(worker.shard, reason)
        while self.waiting and not self.workers:
            yield ShardFailed(self.waiting.popleft(), f"{reason} before it could begin")


def _start(number: int) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, number), daemon=True)
    with _one_thread(), _interrupts_held(), _main_left_alone():
        process.start()
    theirs.close()
    return _Worker(number, process, ours)


def _ending(process: SpawnProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _dismiss(workers: list[_Worker]) -> None:
    """Close all pipes, then wait for the workers; those that do not leave are terminated."""
    for worker in workers:
        worker.pipe.close()
        if worker.shard is not None or not worker.ready:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_LEAVE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have a child start with one BLAS thread, set before it imports anything."""
    before = {name: os.environ.get(name) for name in THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have a child start deaf to Ctrl-C, which the terminal sends to it as well as to us."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else it is started with the child, and lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Have a child start without running the user's main script again.

    Spawned children import it, which would repeat a script that has no guard, and fails for one
    that came through standard input; workers need nothing of it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection, number: int) -> None:
    """What a worker does: open the work, then measure shards until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        payload = pipe.recv_bytes()
        try:
            open_work: OpenWork = pickle.loads(payload)
            work = open_work(number)
        except Exception as error:
            pipe.send(_NotOpened(describe(error), portable(error)))
            return
        pipe.send(_Ready())
        while (shard := pipe.recv()) is not None:
            try:
                work(shard)
            except Exception as error:
                pipe.send(ShardFailed(shard, describe(error), portable(error)))
            else:
                pipe.send(ShardDone(shard))
    sys.stdout.flush()


def portable(error: Exception) -> Exception | None:
    """Return the exception if it survives a pickle, so that the parent can raise it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error

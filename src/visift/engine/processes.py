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
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from visift.engine.executor import Event, Events, OpenWork, ShardDone, ShardFailed, describe

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LEAVE_SECONDS = 5.0


@dataclass(slots=True)
class _Worker:
    number: int
    process: SpawnProcess
    pipe: Connection
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class Processes:
    """`workers` processes on this machine, each with one BLAS thread."""

    workers: int

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `Executor.map`."""
        waiting = deque(shards)
        count = min(self.workers, len(waiting))
        payload = pickle.dumps(open_work)
        staff: dict[Connection, _Worker] = {}
        try:
            for number in range(count):
                _hire(staff, number, payload, waiting)
            while staff:
                for pipe in connection.wait(list(staff)):
                    assert isinstance(pipe, Connection)
                    yield from _hear(staff, pipe, payload, waiting)
        finally:
            _dismiss(list(staff.values()))


def _hire(
    staff: dict[Connection, _Worker], number: int, payload: bytes, waiting: deque[int]
) -> None:
    """Start a worker and hand it its first shard."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs, number), daemon=True)
    with _one_thread():
        process.start()
    theirs.close()
    worker = _Worker(number, process, ours)
    staff[ours] = worker
    with suppress(OSError):
        ours.send_bytes(payload)
    _hand_out(worker, waiting)


def _hand_out(worker: _Worker, waiting: deque[int]) -> None:
    worker.shard = waiting.popleft() if waiting else None
    with suppress(OSError):
        worker.pipe.send(worker.shard)


def _hear(
    staff: dict[Connection, _Worker], pipe: Connection, payload: bytes, waiting: deque[int]
) -> Iterator[Event]:
    """Take one message, or notice that a worker is gone and hire another."""
    worker = staff[pipe]
    try:
        event: Event = pipe.recv()
    except (EOFError, OSError):
        del staff[pipe]
        lost = worker.shard
        _dismiss([worker])
        if waiting:
            _hire(staff, worker.number, payload, waiting)
        if lost is not None:
            yield ShardFailed(lost, f"the worker died ({_ending(worker.process)})")
        return
    _hand_out(worker, waiting)
    yield event


def _ending(process: SpawnProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _dismiss(workers: list[_Worker]) -> None:
    """Close all pipes, then wait for the workers; those that do not leave are terminated."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        if worker.shard is not None:
            worker.process.terminate()
        worker.process.join(_LEAVE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have a child start with one BLAS thread, set before it imports anything."""
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _serve(pipe: Connection, number: int) -> None:
    """What a worker does: open the work, then measure shards until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        open_work: OpenWork = pickle.loads(pipe.recv_bytes())
        work = None
        while (shard := pipe.recv()) is not None:
            try:
                work = work or open_work(number)
                work(shard)
            except Exception as error:
                pipe.send(ShardFailed(shard, describe(error), _portable(error)))
            else:
                pipe.send(ShardDone(shard))
    sys.stdout.flush()


def _portable(error: Exception) -> Exception | None:
    """Return the exception if it survives a pickle, so that the parent can raise it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error

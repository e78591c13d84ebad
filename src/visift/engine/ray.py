"""Workers on a Ray cluster, or on a Ray of this machine's own: actors and one wait loop.

Not `ray.util.ActorPool`, which gives up when a node is lost, and not Ray Data, which cuts and
names files by rules of its own. What travels through Ray is the pickled work, once, and shard
numbers. Starting an actor is a call like any other, so one that finds no place holds up nobody.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import sys
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from visift.engine.executor import (
    PATIENCE_SECONDS,
    Event,
    Events,
    OpenWork,
    ShardDone,
    ShardFailed,
    Work,
    describe,
    open_telling,
    portable,
)
from visift.engine.rayconnection import connected, import_ray
from visift.engine.spawning import THREAD_SETTINGS
from visift.errors import MeasuringError, StorageError
from visift.files import disk_errors
from visift.models.memory import peak_memory

_PATIENCE_SECONDS = 60.0
_NOBODY_READY = (
    "No Ray worker has begun after %d seconds: the cluster may be busy with other work, or the "
    "model is slow to load. visift goes on waiting; Ctrl-C stops it, and what is measured is kept."
)

#: What Ray says of actors of a second cluster in one process (2.60, actors held or not).
_FORGOTTEN = "all references to the actor were removed"

_log = logging.getLogger("visift")


@dataclass(frozen=True, slots=True)
class Ray:
    """`workers` Ray actors, one BLAS thread each.

    Attributes:
        workers: to ask for; those that find no place begin when there is one.
        cache: folder of measured values, which every node must see under this path.
        address: `HOST:PORT` of a cluster this machine is a node of; None starts one for this
            process alone.
        gpu: every worker gets a GPU of its own, else a CPU.
        patience: seconds without getting on after which a worker gives itself up.
    """

    workers: int
    cache: Path
    address: str | None = None
    gpu: bool = False
    patience: float = PATIENCE_SECONDS

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `Executor.map`.

        A worker that dies while it opens the work is not replaced; if none is left, the shards
        still waiting are reported as failed.

        Raises:
            InputError: Ray is not installed, or no cluster answers.
            StorageError: a node does not see the cache.
            MeasuringError: this process has used another Ray before.
        """
        if not shards:
            return
        payload = pickle.dumps(open_work)
        wanted = min(self.workers, len(shards))
        with connected(self.address, wanted, len(payload)) as ray, _proof(self.cache) as proof:
            crew = _Crew(ray, ray.put(payload), proof, self.gpu, self.patience, deque(shards))
            try:
                crew.hire(range(wanted))
                while crew.has_work():
                    yield from crew.hear()
            finally:
                crew.dismiss()


@dataclass(slots=True)
class _Worker:
    """An actor as the driver knows it; `node` is None until its work is open."""

    number: int
    actor: Any
    node: str | None = None
    shard: int | None = None


@dataclass(slots=True)
class _Crew:
    """The actors of one `map`.

    Attributes:
        ray: the module, connected.
        payload: reference to the pickled `OpenWork`.
        proof: file that every node must see.
        gpu: whether each takes a GPU.
        patience: see `Ray`.
        waiting: shards nobody has taken yet.
        calls: what each worker was asked last, by the reference to its answer.
        warned: whether it was said that nobody is ready.
    """

    ray: Any
    payload: Any
    proof: Path
    gpu: bool
    patience: float
    waiting: deque[int]
    calls: dict[Any, _Worker] = field(default_factory=dict)
    warned: bool = False

    def has_work(self) -> bool:
        """Return whether a shard is waiting or in hand; workers still to begin do not count."""
        return bool(self.waiting) or any(w.shard is not None for w in self.calls.values())

    def hire(self, numbers: Sequence[int]) -> None:
        """Ask for actors, spread over the nodes, and for each to open the work."""
        resources = {"num_cpus": 1, "num_gpus": 1 if self.gpu else 0}
        remote = self.ray.remote(max_restarts=0, max_task_retries=0, **resources)(_Measurer)
        here = (self.patience, sys.path, str(Path.cwd()))
        for number in numbers:
            actor = remote.options(scheduling_strategy="SPREAD").remote()
            call = actor.open.remote(self.payload, number, self.proof, *here)
            self.calls[call] = _Worker(number, actor)

    def hear(self) -> Iterator[Event]:
        """Take one answer of a worker, or notice that it is gone."""
        begun = self.warned or any(worker.node for worker in self.calls.values())
        patience = None if begun else _PATIENCE_SECONDS
        answered, _ = self.ray.wait(list(self.calls), num_returns=1, timeout=patience)
        if not answered:
            _log.warning(_NOBODY_READY, _PATIENCE_SECONDS)
            self.warned = True
            return
        worker = self.calls.pop(answered[0])
        try:
            answer = self.ray.get(answered[0])
        except self.ray.exceptions.RayTaskError as error:
            answer = self._not_ours(worker, error)
        except self.ray.exceptions.RayError as error:
            if worker.node is None and _FORGOTTEN in str(error):
                raise MeasuringError(
                    "Ray drops its workers in a process that has used another Ray before.",
                    fix="Start a new Python process for each of them.",
                ) from None
            yield from self._replace(worker, _ending(worker, error))
            return
        if isinstance(answer, _NotOpened):
            raise answer.error or RuntimeError(answer.reason)
        if isinstance(answer, _Ready):
            worker.node = answer.node
        self._hand_out(worker)
        if not isinstance(answer, _Ready):
            yield answer

    def _not_ours(self, worker: _Worker, error: Any) -> Event | _NotOpened:
        """Return as an answer what Ray itself raised, such as a module that a node lacks."""
        reason = _last_line(error)
        if worker.shard is None:
            return _NotOpened(f"a node cannot run visift: {reason}", None)
        return ShardFailed(worker.shard, reason)

    def _hand_out(self, worker: _Worker) -> None:
        """Give a worker its next shard; one that nothing is left for frees its place."""
        worker.shard = self.waiting.popleft() if self.waiting else None
        if worker.shard is None:
            self._kill(worker)
        else:
            self.calls[worker.actor.measure.remote(worker.shard)] = worker

    def _replace(self, worker: _Worker, reason: str) -> Iterator[Event]:
        """Report the shard of a lost worker and hire another one, if this one ever worked."""
        self._kill(worker)  # it may be out of reach and yet alive
        if worker.node is not None and self.waiting:
            self.hire([worker.number])
        if worker.shard is not None:
            yield ShardFailed(worker.shard, reason)
        while self.waiting and not self.calls:
            yield ShardFailed(self.waiting.popleft(), f"{reason} before it could begin")

    def _kill(self, worker: _Worker) -> None:
        with suppress(Exception):  # whatever Ray says, it is no longer ours
            self.ray.kill(worker.actor)

    def dismiss(self) -> None:
        """Stop all actors, whatever they are doing."""
        for worker in self.calls.values():
            self._kill(worker)


def _ending(worker: _Worker, error: Exception) -> str:
    where = f" on {worker.node}" if worker.node else ""
    short = " (out of memory)" if "low on memory" in str(error) else ""
    return f"the worker{where} died{short}"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _proof(cache: Path) -> Iterator[Path]:
    """Have a file in the cache that nobody sees who sees another folder of that name."""
    path = cache / f".{uuid.uuid4().hex}.tmp"
    with disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()


@dataclass(frozen=True, slots=True)
class _Ready:
    """An actor's work is open, on this node."""

    node: str


@dataclass(frozen=True, slots=True)
class _NotOpened:
    """An actor's work cannot be opened."""

    reason: str
    error: BaseException | None


class _Measurer:
    """What runs on the cluster: opens the work, then measures a shard a call."""

    def open(
        self,
        payload: bytes,
        number: int,
        proof: Path,
        patience: float,
        path: list[str],
        folder: str,
    ) -> _Ready | _NotOpened:
        """Open the work as worker `number`, if this node sees what the driver sees.

        Modules are also looked for on the driver's `path`, and relative names in its `folder`, as
        in a spawned process.
        """
        with suppress(OSError):
            os.chdir(folder)
        sys.path += [entry for entry in path if entry not in sys.path]
        os.environ.update(dict.fromkeys(THREAD_SETTINGS, "1"))
        threadpool_limits(1)  # what was loaded before now reads no environment
        node = import_ray().util.get_node_ip_address()
        # A timer of the interpreter's own, which ends a process that hangs in whatever it does.
        self._alive = partial(faulthandler.dump_traceback_later, patience, exit=True, file=2)
        try:
            _must_see(proof, node)
            open_work: OpenWork = pickle.loads(payload)
            with self._watched():
                self._work: Work = open_telling(open_work, number, self._alive)
        except Exception as error:
            return _NotOpened(describe(error), portable(error))
        return _Ready(node)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._alive()
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def measure(self, shard: int) -> Event:
        """Measure and commit one shard."""
        try:
            with self._watched():
                self._work(shard)
        except Exception as error:
            return ShardFailed(shard, describe(error), portable(error))
        return ShardDone(shard, peak_memory())


def _must_see(proof: Path, node: str) -> None:
    if not proof.exists():
        raise StorageError(
            f"the node {node} does not see this folder of measured values as it is here.",
            where=str(proof.parent),
            fix="Name a folder on a file system that all nodes share: --cache FOLDER",
        )

"""Work for executors: shards that write files, fail, or take their worker with them."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from engine.simple import note
from visift.engine.executor import Work
from visift.errors import StorageError


class Awkward(Exception):
    """An exception that no pickle brings back."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = threading.Lock()


@dataclass(frozen=True)
class Job:
    """Writes one file a shard; what goes wrong is given by shard number.

    Attributes:
        folder: where everything is noted.
        raises: shards that raise something of their own.
        full: shards that meet a full disk.
        awkward: shards whose exception cannot travel.
        dies: shards that kill their worker, the first time only.
        leaves: shards whose work calls exit(3).
        seconds: each shard takes.
    """

    folder: Path
    raises: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    awkward: tuple[int, ...] = ()
    dies: tuple[int, ...] = ()
    leaves: tuple[int, ...] = ()
    seconds: float = 0.0

    def __call__(self, worker: int) -> Work:
        """See `visift.engine.executor.OpenWork`."""
        note(self.folder, "opened", f"{os.getpid()} {worker}")
        return self._work

    def _work(self, shard: int) -> None:
        note(self.folder, "begun", str(shard))
        time.sleep(self.seconds)
        if shard in self.raises:
            raise ValueError(f"shard {shard}\nis bad")
        if shard in self.full:
            raise StorageError("the disk is full.", where="the cache", fix="Free some space.")
        if shard in self.awkward:
            raise Awkward("a", "b")
        if shard in self.leaves:
            raise SystemExit(3)
        if shard in self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"{shard}.bin").write_bytes(bytes([shard]) * 100)


@dataclass(frozen=True)
class CannotOpen:
    """Work that cannot be opened: by an exception, or by the worker's death."""

    folder: Path
    dies: bool = False

    def __call__(self, worker: int) -> Work:
        """See `visift.engine.executor.OpenWork`."""
        note(self.folder, "opened", str(worker))
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("no such device")


class Unreadable:
    """Cannot be unpickled where it arrives."""

    def __reduce__(self) -> tuple[object, ...]:
        """See `pickle`."""
        return _refuse, ("the pool changed",)


def _refuse(why: str) -> None:
    raise StorageError(why)

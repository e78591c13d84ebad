"""Fine-tuning as a step: examples and a recipe in, a checkpoint out, made once and found again.

No torch here: the work is done in processes of its own, see `worker`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from visift.errors import InputError, TrainingError
from visift.files import disk_errors
from visift.models.devices import cpu_count
from visift.pool.pool import Pool
from visift.training.job import (
    RESULT,
    SAVES,
    Example,
    Job,
    Outcome,
    Step,
    how_opened,
    outcome_of,
    plain_ref,
)
from visift.training.process import run
from visift.training.tuned import TunedRef

__all__ = ["Example", "Outcome", "Step", "finetune", "outcome_of"]

#: Processes that read and decode beside each GPU [ours].
_LOADERS = 4
_WAIT_SECONDS = 0.5

_log = logging.getLogger("visift")

#: Does the job in a folder on some devices, tells of every step, and passes handles on.
Run = Callable[[Path, Sequence[str], Callable[[Step], None], Sequence[int]], None]


def finetune(
    tuned: TunedRef,
    pool: Pool,
    examples: Sequence[Example],
    devices: Sequence[str],
    hear: Callable[[Step], None],
    *,
    saves: int = SAVES,
    run: Run = run,
) -> Outcome:
    """Train a model unless it is there already, and return what became of it.

    Killed at any moment, it goes on from its last checkpoint when it is asked for again; on the
    CPU it ends with the same weights then.

    Args:
        tuned: the model that is wanted.
        pool: where the records of the examples are.
        examples: what to train on; their order does not matter.
        devices: to train on, of one kind, one process each; fewer are used where the batches of
            the recipe cannot be shared among all.
        hear: told after every step.
        saves: about how many checkpoints for going on are written.
        run: does the job in a folder on some devices; processes of its own by default.

    Raises:
        TrainingError: it cannot be trained, or training failed.
        StorageError: the disk is full or cannot be written.
    """
    path = tuned.path
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    found = outcome_of(tuned) if tuned.is_trained else None
    if found is not None:
        return found
    with _alone(path.with_name(f"{path.name}.lock"), tuned.name) as lock:
        if not tuned.is_trained:
            chosen = _sharing(devices, tuned)
            job = _job(tuned, pool, examples, chosen, saves)
            _train(job, path, lambda work: run(work, chosen, hear, lock))
    found = outcome_of(tuned)
    assert found is not None
    return found


def _train(job: Job, path: Path, run: Callable[[Path], None]) -> None:
    """Train in a folder beside `path`, which is there as a whole in the end."""
    work = path.with_name(f"{path.name}.training")
    job.write(work)
    run(work)
    with disk_errors(path.parent):
        shutil.rmtree(path, ignore_errors=True)  # what `cache clear` left of an earlier one
        (work / RESULT).rename(path)
        shutil.rmtree(work, ignore_errors=True)


def _sharing(devices: Sequence[str], tuned: TunedRef) -> Sequence[str]:
    """Return the devices among which the forward passes of a step can be shared evenly."""
    passes = tuned.recipe.batch_size // tuned.recipe.micro_batch
    return devices[: max(n for n in range(1, len(devices) + 1) if passes % n == 0)]


def _job(
    tuned: TunedRef, pool: Pool, examples: Sequence[Example], devices: Sequence[str], saves: int
) -> Job:
    if not examples:
        raise TrainingError("there are no examples to train on.", where=tuned.name)
    base, recipe = plain_ref(tuned.base), tuned.recipe
    dtype = base.resolved_dtype() if recipe.dtype == "auto" else recipe.dtype
    if dtype == "float16":
        raise InputError(
            "small gradients vanish in float16.",
            where=tuned.base.name,
            fix="Train with dtype:bfloat16 or dtype:float32 in the recipe.",
        )
    kind = devices[0].partition(":")[0]
    hashes = pool.content_hashes()
    return Job(
        model=dataclasses.replace(base, dtype=dtype),
        recipe=recipe,
        pool=how_opened(pool),
        device=kind,
        processes=len(devices),
        loaders=min(_LOADERS, cpu_count() // len(devices)) if kind == "cuda" else 0,
        saves=saves,
        examples=tuple((one, hashes[one.row].hex()) for one in examples),
    )


@contextmanager
def _alone(path: Path, name: str) -> Iterator[tuple[int, ...]]:
    """Hold a lock file, waiting for whoever holds it; on systems and disks that know how to.

    Yields its handle, for the processes that train: while one that lost its parent still runs,
    nobody else begins.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield ()
        return
    handle = _lock(fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB, path, name)
    try:
        yield (handle,)
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _lock(flock: Callable[[int, int], None], how: int, path: Path, name: str) -> int:
    told = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        held = _is_held(flock, handle, how)
        if not held and _is_still(handle, path):
            return handle
        os.close(handle)
        if held and not told:
            _log.warning("%s: another process trains it; waiting until that ends.", name)
            told = True
        time.sleep(_WAIT_SECONDS if held else 0)


def _is_held(flock: Callable[[int, int], None], handle: int, how: int) -> bool:
    """Take a lock and return False, or return that somebody else holds it."""
    try:
        flock(handle, how)
    except BlockingIOError:
        return True
    except OSError:  # a disk without locks
        return False
    return False


def _is_still(handle: int, path: Path) -> bool:
    """Return whether a lock file was not removed by whoever held it before."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False

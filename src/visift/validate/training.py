"""Training in the process that also asks: what starts another one takes is spared.

On the CPU only: there a training of a small model is short, and its end gives all memory back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from visift.engine.executor import Alive
from visift.engine.trainings import Training
from visift.models.devices import needs_models
from visift.training.finetune import Step, finetune


def train_here(training: Training, alive: Alive) -> None:
    """Train on the CPU, in this process, unless it is done; the weights are those of any other way.

    Args:
        training: what a lab was asked for.
        alive: called after every step.

    Raises:
        TrainingError: it cannot be trained, or training failed.
    """
    finetune(
        training.tuned,
        training.items.pool,
        training.examples,
        ("cpu",),
        lambda step: alive(),
        run=_in_this_process,
    )


def _in_this_process(
    folder: Path, devices: Sequence[str], hear: Callable[[Step], None], handles: Sequence[int]
) -> None:
    """Do the job in a folder; see `training.process.run`."""
    del devices, handles  # the job says where, and the lock is ours
    with needs_models():
        from visift.training.worker import train

    with _torch_as_it_was():
        train(folder, hear)


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Undo what a training sets for its whole process."""
    import torch

    threads, fixed = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(fixed)

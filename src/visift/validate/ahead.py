"""Models that methods measure with, trained side by side before anybody asks for their values.

A lab trains when a value is read: one model after the other. On the CPU, where a training takes one
core, all others would be idle, and a validation asks for every method's models once a draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from visift.engine.executor import Alive, Executor, ShardFailed, Work, nobody_listens
from visift.engine.lab import LocalLab
from visift.engine.trainings import Training
from visift.errors import AnnotationNeeded, VisiftError
from visift.models.ref import ModelRef
from visift.run import must_read_targets
from visift.training.tuned import TunedRef
from visift.validate.arms import Ground
from visift.validate.choosing import count
from visift.validate.request import Request
from visift.validate.training import train_here


@dataclass(frozen=True, slots=True)
class OpenTrainings:
    """Trainings on their way to workers (see `executor.OpenWork`).

    Attributes:
        trainings: by number.
        alive: called after every step.
    """

    trainings: Sequence[Training]
    alive: Alive = nobody_listens

    def telling(self, alive: Alive) -> OpenTrainings:
        """See `executor.Telling`."""
        return replace(self, alive=alive)

    def __call__(self, worker: int) -> Work:
        """Return what trains one model."""

        def work(number: int) -> None:
            train_here(self.trainings[number], self.alive)

        return work


def models_of(request: Request, grounds: Iterable[Ground], lab: LocalLab) -> list[Training]:
    """Return what methods are still to train before they can choose, each model once.

    Args:
        request: the validation.
        grounds: of its budgets.
        lab: what methods are given.

    Raises:
        VisiftError: a method cannot choose from this pool.
    """
    found: dict[TunedRef, Training] = {}
    for ground in grounds:
        for name in request.methods:
            for draw in range(request.seeds.selection):
                for training in _needed(request, ground, name, draw, lab):
                    found.setdefault(training.tuned, training)
    return list(found.values())


def _needed(
    request: Request, ground: Ground, name: str, draw: int, lab: LocalLab
) -> Iterator[Training]:
    method = request.method(name, draw)
    must_read_targets(method, request.pool.target)
    try:
        counting = count(method, ground, lab, lab.cache)
    except AnnotationNeeded:
        return
    if counting.wanted or counting.unlabelled or not counting.trainings:
        return  # it waits for somebody, and is left out; or no model is tuned for it
    yield from (one.training for one in counting.counts() if one.training is not None)


def train_ahead(
    trainings: Sequence[Training], executor: Callable[[int], Executor], done: Callable[[], None]
) -> None:
    """Train on the CPU, side by side; those tuned on top of others after these.

    What a worker dies of is left: whoever needs the model trains it then.

    Args:
        trainings: all different.
        executor: gives one for so many trainings.
        done: called after each of them.

    Raises:
        VisiftError: one of them cannot be trained, or training failed.
    """
    left = list(trainings)
    while left:
        waited_for = {one.tuned for one in left}
        now = [one for one in left if one.tuned.base not in waited_for]
        with closing(executor(len(now)).map(OpenTrainings(now), range(len(now)))) as events:
            for event in events:
                if isinstance(event, ShardFailed) and isinstance(event.error, VisiftError):
                    raise event.error
                done()
        left = [one for one in left if one not in now and _stands(one.tuned.base)]


def _stands(base: ModelRef) -> bool:
    """Return whether a model can be tuned further: one that is to be trained itself is trained."""
    return not isinstance(base, TunedRef) or base.is_trained

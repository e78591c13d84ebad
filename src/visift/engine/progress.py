"""What a lab tells of its measuring."""

from __future__ import annotations

from typing import Protocol

from visift.signals.signal import Signal


class Progress(Protocol):
    """Told how measuring goes on."""

    def begin(self, signal: Signal, total: int, done: int) -> None:
        """A request starts: `total` items, of which `done` are stored already."""
        ...

    def advance(self, items: int) -> None:
        """So many more items are committed."""
        ...

    def end(self) -> None:
        """The request is answered, or given up."""
        ...

    def begin_training(self, model: str, steps: int) -> None:
        """A model is trained for so many steps; `end` ends that, too."""
        ...

    def step(self, done: int, loss: float) -> None:
        """So many steps of the training are done; the last one's loss."""
        ...


class Silent:
    """No progress shown."""

    def begin(self, signal: Signal, total: int, done: int) -> None:
        """See `Progress.begin`."""

    def advance(self, items: int) -> None:
        """See `Progress.advance`."""

    def end(self) -> None:
        """See `Progress.end`."""

    def begin_training(self, model: str, steps: int) -> None:
        """See `Progress.begin_training`."""

    def step(self, done: int, loss: float) -> None:
        """See `Progress.step`."""

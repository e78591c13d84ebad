"""How far something is: a bar with rate and time left, or a line now and then, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from visift.amounts import duration
from visift.cli.terminal import LABEL_WIDTH

if TYPE_CHECKING:
    from visift.cli.output import Printer
    from visift.signals.signal import Signal

_SECONDS_BETWEEN_LINES = 30.0


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class Bar:
    """A bar that goes when its work is done; without a terminal, a line every half a minute.

    Attributes:
        unit: what is counted, in the plural.
        total: of them.
        done: so far.
    """

    def __init__(self, unit: str, total: int, done: int = 0) -> None:
        self.unit, self.total, self.done = unit, total, done
        self._before = done
        self._started = self._said = time.monotonic()
        self._shown: Progress | None = None
        self._noted = ""
        console = Console(stderr=True)
        if console.is_terminal:
            self._shown = Progress(
                TextColumn(f"{'':<{LABEL_WIDTH}}"),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=console,
                transient=True,
            )
            self._shown.add_task("", total=total, completed=done)
            self._shown.start()

    def advance(self, items: int) -> None:
        """Show that so many more are done."""
        self.done += items
        if self._shown is not None:
            self._shown.advance(self._shown.task_ids[0], items)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            rate = max(self.done - self._before, 1) / (self._said - self._started)
            left = duration((self.total - self.done) / rate)
            said = f"{self.done:,}/{self.total:,} {self.unit} · {rate:,.0f}/s · {left} left"
            print(f"{'':<{LABEL_WIDTH}}{said}{self._noted}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Show a few words beside the bar from now on."""
        self._noted = f" · {text}"
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], description=text)

    def end(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


@contextmanager
def bar(unit: str, total: int) -> Iterator[Bar]:
    """Show a bar for as long as the block runs."""
    shown = Bar(unit, total)
    try:
        yield shown
    finally:
        shown.end()


class MeasureProgress:
    """Shows how far measuring is (see `engine.progress.Progress`)."""

    def __init__(self, printer: Printer) -> None:
        self.printer = printer
        self.bar: Bar | None = None
        self.trains = False

    def begin(self, signal: Signal, total: int, done: int) -> None:
        """See `engine.progress.Progress`."""
        stored = f", {done:,} of them measured before" if done else ""
        self.printer.say("Measure", f"{total:,} {signal.unit}s{stored}")
        self.trains = False
        self.bar = Bar(f"{signal.unit}s", total, done)

    def advance(self, items: int) -> None:
        """See `engine.progress.Progress`."""
        assert self.bar is not None
        self.bar.advance(items)

    def begin_training(self, model: str, steps: int) -> None:
        """See `engine.progress.Progress`."""
        self.printer.say("Train", f"{model} · {steps:,} steps")
        self.bar = Bar("steps", steps)
        self.trains = True

    def step(self, done: int, loss: float) -> None:
        """See `engine.progress.Progress`."""
        assert self.bar is not None
        self.bar.advance(done - self.bar.done)
        self.bar.note(f"loss {loss:.3f}")

    def end(self) -> None:
        """See `engine.progress.Progress`."""
        if self.bar is not None:
            self.bar.end()

    def kept(self) -> str:
        """Return how much is measured and kept, as a clause."""
        if self.trains:
            return "The last checkpoint of the training is kept"
        if self.bar is None:
            return "What is measured is kept"
        return f"{self.bar.done:,} {self.bar.unit} are measured and kept"


@contextmanager
def counting_what_is_kept(progress: MeasureProgress) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM say how much is measured and kept."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = progress.kept()
        raise type(stop)(f"Stopped. {kept}; the same command continues here.") from None

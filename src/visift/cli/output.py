"""What commands print: lines of label and text on stdout, progress and warnings on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from visift.run import Run
    from visift.signals.signal import Signal

_LABEL_WIDTH = 10
_SHOWN_SOURCES = 12
_LONGEST_NAME = 40
_NO_TERMINAL = 1_000
_SECONDS_BETWEEN_LINES = 30.0


class Printer:
    """Prints the lines of a run as they come; silent under `--json`."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def say(self, label: str, text: str) -> None:
        """Print one line; what a person must know is said on stderr where stdout is data."""
        if self.quiet and label == "Note":
            print(f"note  {text}", file=sys.stderr)
        if not self.quiet:
            print(f"{label:<{_LABEL_WIDTH}}{text}".rstrip(), flush=True)

    def table(self, table: Table) -> None:
        """Print a table: as wide as the terminal, or as wide as it is where there is none."""
        if self.quiet:
            return
        there = Console(highlight=False)
        console = there if there.is_terminal else Console(highlight=False, width=_NO_TERMINAL)
        with console.capture() as shown:
            console.print(table)
        print("\n".join(line.rstrip() for line in shown.get().splitlines()), flush=True)


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines; its last column is the one that wraps."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=name != columns[-1], header_style="")
    return table


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class MeasureProgress:
    """A progress bar with rate and time left; without a terminal, a line now and then."""

    def __init__(self, printer: Printer) -> None:
        self.printer = printer
        self.bar: Progress | None = None
        self.unit: str | None = None
        self.done = self.total = self.before = 0
        self.started = self.said = 0.0

    def begin(self, signal: Signal, total: int, done: int) -> None:
        """See `engine.lab.Progress`."""
        self.unit, self.total, self.done, self.before = signal.unit, total, done, done
        self.started = self.said = time.monotonic()
        stored = f", {done:,} of them measured before" if done else ""
        self.printer.say("Measure", f"{total:,} {signal.unit}s{stored}")
        console = Console(stderr=True)
        if console.is_terminal:
            self.bar = Progress(
                TextColumn(f"{'':<{_LABEL_WIDTH}}"),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self.bar.add_task("", total=total, completed=done)
            self.bar.start()

    def advance(self, items: int) -> None:
        """See `engine.lab.Progress`."""
        self.done += items
        if self.bar is not None:
            self.bar.advance(self.bar.task_ids[0], items)
        elif time.monotonic() - self.said > _SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            rate = (self.done - self.before) / (self.said - self.started)
            left = (self.total - self.done) / rate / 60
            said = f"{self.done:,}/{self.total:,} {self.unit}s · {rate:.0f}/s · {left:.0f} min left"
            print(f"{'':<{_LABEL_WIDTH}}{said}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """See `engine.lab.Progress`."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


@contextmanager
def counting_what_is_kept(progress: MeasureProgress) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM say how much is measured and kept."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = "What is measured is kept"
        if progress.unit is not None:
            kept = f"{progress.done:,} {progress.unit}s are measured and kept"
        raise type(stop)(f"Stopped. {kept}; the same command continues here.") from None


def summary(run: Run) -> dict[str, Any]:
    """Return the facts of a run as plain data, the same that the lines say."""
    facts = run.selection.facts
    mix = run.mix()
    return {
        "method": run.config.method,
        "budget": run.config.budget,
        "records": len(run.pool),
        "images": {"found": len(run.pool.images), "not_found": len(run.pool.images.reasons)},
        "set_aside": len(run.quarantine.reasons),
        "set_aside_by_kind": dict(run.quarantine.kinds()),
        "usable": facts["usable"],
        "selected": len(run.selection),
        "selected_images": len(run.pool.images.of_rows(run.rows)),
        "text_only": {
            "pool": int(run.pool.text_only.sum()),
            "selected": int(run.pool.text_only[run.rows].sum()),
        },
        "sources": {
            source: {"pool": count, "selected": chosen} for source, (count, chosen) in mix.items()
        },
        "notices": facts.get("notices", []),
        "warning": run.config.warning,
        "output": str(run.folder),
        "exports": [str(run.folder / "export" / trainer) for trainer in run.config.export],
        "seconds": round(run.seconds, 1),
    }


def source_table(said: dict[str, Any]) -> Table:
    """Return the mix before and after."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  source", no_wrap=True, max_width=_LONGEST_NAME, header_style="")
    for name in ("pool", "share", "chosen", "share"):
        table.add_column(name, justify="right", header_style="")
    total, chosen = said["records"], max(said["selected"], 1)
    rows = list(said["sources"].items())
    for source, count in rows[:_SHOWN_SOURCES]:
        table.add_row(
            Text(f"  {source}"),
            f"{count['pool']:,}",
            f"{count['pool'] / total:.1%}",
            f"{count['selected']:,}",
            f"{count['selected'] / chosen:.1%}",
        )
    if len(rows) > _SHOWN_SOURCES:
        table.add_row(f"  … {len(rows) - _SHOWN_SOURCES} more", "", "", "", "")
    return table


def print_run(printer: Printer, run: Run) -> None:
    """Print how a run ended."""
    said = summary(run)
    share = said["selected"] / max(said["usable"], 1)
    text = said["text_only"]["selected"]
    printer.say(
        "Selected",
        f"{said['selected']:,} of {said['usable']:,} usable records ({share:.1%})"
        f" · {said['selected_images']:,} images · {text:,} text-only · {said['seconds']:.1f} s",
    )
    printer.say("", "")
    printer.table(source_table(said))
    printer.say("", "")
    for notice in said["notices"]:
        print(f"warning  {notice}", file=sys.stderr)
    if said["warning"]:
        printer.say("Note", said["warning"])
    arms = "subset.json · control.json · random.json · RUN.md"
    exports = [f"export/{trainer}/{arms}" for trainer in run.config.export]
    tables = "selection.parquet · scores.parquet · control.parquet · manifest.json"
    for label, what in zip(("Wrote", *([""] * len(exports))), [*exports, tables], strict=True):
        printer.say(label, str(run.folder / what))
    if exports:
        how = run.folder / "export" / run.config.export[0] / "RUN.md"
        printer.say("Next", f"Train on subset and on control, see {how}")

"""What commands print: lines of label and text on stdout, progress and warnings on stderr."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from visift.signals.signal import Signal

if TYPE_CHECKING:
    from visift.run import Run

_LABEL_WIDTH = 10
_SHOWN_SOURCES = 12


class Printer:
    """Prints the lines of a run as they come; silent under `--json`."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.out = Console(highlight=False, soft_wrap=True)

    def say(self, label: str, text: str) -> None:
        """Print one line."""
        if not self.quiet:
            self.out.print(f"{label:<{_LABEL_WIDTH}}{text}", markup=False)

    def table(self, table: Table) -> None:
        """Print a table, indented like the text of a line."""
        if not self.quiet:
            self.out.print(table)


class MeasureProgress:
    """A progress bar with rate and time left; one line at the start and end without a terminal."""

    def __init__(self, printer: Printer) -> None:
        self.printer = printer
        self.bar: Progress | None = None
        self.done = 0

    def begin(self, signal: Signal, total: int, done: int) -> None:
        """See `engine.lab.Progress`."""
        self.done = done
        stored = f", {done:,} of them measured before" if done else ""
        self.printer.say("Measure", f"{total:,} {signal.unit}s{stored}")
        console = Console(stderr=True)
        if console.is_terminal:
            self.bar = Progress(
                TextColumn(f"{'':<{_LABEL_WIDTH}}"),
                BarColumn(),
                TaskProgressColumn(show_speed=True),
                MofNCompleteColumn(),
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

    def end(self) -> None:
        """See `engine.lab.Progress`."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def summary(run: Run) -> dict[str, Any]:
    """Return the facts of a run as plain data, the same that the lines say."""
    facts = run.selection.facts
    before = Counter(run.selection.scores["source"].to_pylist())
    after = Counter(run.selection.table["source"].to_pylist())
    return {
        "records": len(run.pool),
        "set_aside": len(run.quarantine.reasons),
        "usable": facts["usable"],
        "selected": len(run.selection),
        "selected_images": len(run.pool.images.of_rows(run.rows)),
        "text_only": {
            "pool": int(run.pool.text_only.sum()),
            "selected": int(run.pool.text_only[run.rows].sum()),
        },
        "sources": {
            str(source): {"pool": count, "selected": after[source]}
            for source, count in before.most_common()
        },
        "notices": facts.get("notices", []),
        "output": str(run.folder),
        "seconds": round(run.seconds, 1),
    }


def source_table(said: dict[str, Any]) -> Table:
    """Return the mix before and after."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  source")
    for name in ("pool", "share", "chosen", "share"):
        table.add_column(name, justify="right")
    total, chosen = said["records"], max(said["selected"], 1)
    rows = list(said["sources"].items())
    for source, count in rows[:_SHOWN_SOURCES]:
        name = source if source != "None" else "no label"
        table.add_row(
            f"  {name}",
            f"{count['pool']:,}",
            f"{count['pool'] / total:.1%}",
            f"{count['selected']:,}",
            f"{count['selected'] / chosen:.1%}",
        )
    if len(rows) > _SHOWN_SOURCES:
        table.add_row(f"  … {len(rows) - _SHOWN_SOURCES} more", "", "", "", "")
    return table


def print_run(printer: Printer, run: Run, warning: str | None) -> None:
    """Print how a run ended."""
    said = summary(run)
    share = said["selected"] / max(said["usable"], 1)
    text = said["text_only"]["selected"]
    printer.say(
        "Selected",
        f"{said['selected']:,} of {said['usable']:,} usable records ({share:.1%})"
        f" · {said['selected_images']:,} images · {text:,} text-only"
        f"     in {said['seconds']:.0f} s",
    )
    printer.say("", "")
    printer.table(source_table(said))
    printer.say("", "")
    for notice in said["notices"]:
        print(f"warning  {notice}", file=sys.stderr)
    if warning:
        printer.say("Note", warning)
    exports = " · ".join(f"export/{trainer}/" for trainer in run.config.export)
    printer.say("Wrote", f"{run.folder}/  selection.parquet · control.parquet · {exports}")

"""What commands print: lines of label and text on stdout, progress and warnings on stderr."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from visift.amounts import counted, data_size, duration
from visift.cli.terminal import LABEL_WIDTH, printable, printable_json, show
from visift.config import DEFAULT_METHOD

if TYPE_CHECKING:
    from visift.errors import AnnotationNeeded
    from visift.finished import Run

_SHOWN_SOURCES = 12
_SHOWN_FILES = 7
_TABLES = (
    "selection.parquet",
    "scores.parquet",
    "control.parquet",
    "to_annotate.jsonl",
    "to_annotate.csv",
    "left_out.parquet",
    "manifest.json",
)
_LONGEST_NAME = 40
_NO_TERMINAL = 1_000


class Printer:
    """Prints the lines of a run as they come; silent under `--json`.

    What it prints may hold text of records: nothing in it commands the terminal.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def say(self, label: str, text: str) -> None:
        """Print one line; what a person must know is said on stderr where stdout is data."""
        if self.quiet and label == "Note":
            print(f"note  {printable(text)}", file=sys.stderr)
        if not self.quiet:
            show(f"{label:<{LABEL_WIDTH}}{printable(text)}".rstrip())

    def warn(self, text: str) -> None:
        """Print a warning, whoever reads stdout."""
        print(f"warning  {printable(text)}", file=sys.stderr)

    def table(self, table: Table) -> None:
        """Print a table: as wide as the terminal, or as wide as it is where there is none."""
        if self.quiet:
            return
        there = Console()
        width = there.width if there.is_terminal else _NO_TERMINAL
        drawn = io.StringIO()
        # Without colours, so that whatever commands a terminal in it is from a record.
        Console(file=drawn, width=width, highlight=False, color_system=None).print(table)
        lines = drawn.getvalue().splitlines()
        show("\n".join(printable(line.rstrip()) for line in lines))


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines; its last column is the one that wraps."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=name != columns[-1], header_style="")
    return table


def summary(run: Run) -> dict[str, Any]:
    """Return the facts of a run as plain data, the same that the lines say.

    Described by `docs/schemas/select.schema.json`.
    """
    pool, facts = run.pool, run.selection.facts
    offered = (~pool.has_role("have")).nonzero()[0]
    _, found, not_found = pool.images.counts(offered)
    report = run.folder / "report" / "index.html"
    return {
        "method": run.config.method,
        "budget": run.config.budget,
        "records": len(offered),
        "kept": int(pool.has_role("kept")[run.rows].sum()),
        "have": len(pool) - len(offered),
        "images": {"found": found, "not_found": not_found},
        "set_aside": len(run.quarantine.reasons),
        "set_aside_by_kind": dict(run.quarantine.kinds()),
        "usable": facts["usable"],
        "selected": len(run.selection),
        "selected_images": len(pool.images.of_rows(run.rows)),
        "text_only": {
            "pool": int(pool.text_only[offered].sum()),
            "selected": int(pool.text_only[run.rows].sum()),
        },
        "sources": {
            source: {"pool": count, "selected": chosen}
            for source, (count, chosen) in run.mix().items()
        },
        "notices": facts.get("notices", []),
        "warning": run.config.warning,
        "output": str(run.folder),
        "exports": [str(run.folder / "export" / trainer) for trainer in run.config.export],
        "wanted": len(run.wanted()),
        "report": str(report) if report.exists() else None,
        "seconds": round(run.seconds, 1),
        "peak_bytes": peak_memory(),
    }


def print_need(printer: Printer, need: AnnotationNeeded) -> None:
    """Print that somebody must annotate records first, and how to go on."""
    if printer.quiet:
        print(printable_json({"wanted": len(need.rows), "for": need.purpose, "next": need.fix}))
    printer.say("Waiting", need.what)
    label = "Next"
    for line in str(need.fix).splitlines():
        printer.say(label, line)
        label = ""


def peak_memory() -> int | None:
    """Return the most memory this process or one of its workers ever had, in bytes, if known."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return max(resource.getrusage(which).ru_maxrss for which in who) * unit


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
            Text(f"  {printable(source)}"),
            f"{count['pool']:,}",
            f"{count['pool'] / total:.1%}",
            f"{count['selected']:,}",
            f"{count['selected'] / chosen:.1%}",
        )
    if len(rows) > _SHOWN_SOURCES:
        table.add_row(f"  … {len(rows) - _SHOWN_SOURCES} more", "", "", "", "")
    return table


def print_run(printer: Printer, run: Run) -> None:
    """Print how a run ended: what was chosen, what was written, what to do next."""
    said = summary(run)
    share = said["selected"] / max(said["usable"], 1)
    text = said["text_only"]["selected"]
    memory = f", {data_size(said['peak_bytes'])}" if said["peak_bytes"] else ""
    printer.say(
        "Selected",
        f"{said['selected']:,} of {said['usable']:,} usable records ({share:.1%})"
        f" · {said['selected_images']:,} images · {text:,} text-only"
        f" · in {duration(said['seconds'])}{memory}",
    )
    printer.say("", "")
    printer.table(source_table(said))
    printer.say("", "")
    for notice in said["notices"]:
        printer.warn(notice)
    if said["warning"]:
        printer.say("Note", said["warning"])
    label = "Wrote"
    for written in _written(run):
        printer.say(label, written)
        label = ""
    if said["wanted"]:
        printer.say("Waiting", f"{counted(said['wanted'], 'chosen record')} without a conversation")
    label = "Next"
    for step in _next(run):
        printer.say(label, step)
        label = ""


def _written(run: Run) -> Iterator[str]:
    """Yield a line for every folder a run wrote to, with the files that are really there."""
    for trainer in run.config.export:
        export = run.folder / "export" / trainer
        there = sorted(export.iterdir(), key=_by_arm) if export.is_dir() else []
        names = [f"{path.name}/" if path.is_dir() else path.name for path in there]
        more = [f"{len(names) - _SHOWN_FILES} more"] if len(names) > _SHOWN_FILES else []
        if names:
            yield f"{export}/{' · '.join([*names[:_SHOWN_FILES], *more])}"
    tables = [name for name in _TABLES if (run.folder / name).exists()]
    if tables:
        yield f"{run.folder}/{' · '.join(tables)}"
    if (run.folder / "report" / "index.html").exists():
        yield str(run.folder / "report" / "index.html")


def _by_arm(path: Path) -> tuple[int, str]:
    """Order files as a reader wants them: the three arms, what trains on them, the rest."""
    order = ("subset", "control", "random", "RUN")
    stem = path.name.partition(".")[0]
    return (order.index(stem) if stem in order else len(order), path.name)


def _next(run: Run) -> Iterator[str]:
    """Yield what to do now: train on it, and for the default what could beat it, at what cost."""
    if len(run.wanted()):
        from visift.wanted import LIST, annotate_command, what_it_takes

        yield annotate_command(run.folder / LIST, run.pool)
        yield what_it_takes(run.folder / LIST)
        yield "and run the same command again: it then writes what a trainer reads"
        return
    how = [run.folder / "export" / trainer / "RUN.md" for trainer in run.config.export]
    there = [str(path) for path in how if path.exists()]
    alone = any(run.folder.glob("export/*/subset*")) and not any(
        run.folder.glob("export/*/control*")
    )
    arms = "subset" if alone else "subset and on control"
    yield f"Train on {arms}{', see ' if there else ''}{', '.join(there[:1])}"
    if run.config.method == DEFAULT_METHOD and len(run.pool.images):
        images = f"{len(run.pool.images):,} partial forward passes"
        yield f"To try to beat this: prism, for {images} of your model. What that costs:"
        yield f"visift plan --all {_pool_flags(run)} --model <pre-tuning checkpoint> --flops h100"


def _pool_flags(run: Run) -> str:
    """Return the flags that name the pool and the budget of a run."""
    pool = run.config.pool
    folder = [] if pool.image_folder is None else ["--image-folder", pool.image_folder]
    named = [part for file in pool.files for part in ("--pool", file)]
    budget = [] if run.config.budget is None else ["--budget", run.config.budget]
    return shlex.join([*named, *folder, *budget])

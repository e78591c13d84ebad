"""`visift export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visift.cli.output import Printer

_TRAINERS = ["llava"]


def command(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run.")],
    export: Annotated[
        list[str], typer.Option(metavar="TRAINER", help="Trainer to write for.")
    ] = _TRAINERS,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="[RUN_DIR/export/TRAINER]"),
    ] = None,
    pool: Annotated[
        list[str],
        typer.Option(metavar="FILE", help="The pool, if it is not where the run found it."),
    ] = [],  # noqa: B006
    image_folder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Its images, likewise.")
    ] = None,
    nested: Annotated[bool, typer.Option("--nested", help="In rank order.")] = False,
) -> None:
    """Write a finished run for a trainer."""
    from visift.run import reopen

    folder = Path(run_dir)
    run = reopen(folder, files=tuple(pool), image_folder=image_folder, nested=nested)
    printer = Printer(quiet=False)
    for trainer in export:
        target = Path(output) if output else folder / "export" / trainer
        target = target / trainer if output and len(export) > 1 else target
        printer.say(
            "Wrote", f"{run.export(trainer, target)}: {len(run.selection):,} records an arm"
        )

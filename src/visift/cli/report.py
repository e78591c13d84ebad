"""`visift report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visift.cli.output import Printer


def command(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="[RUN_DIR/report]")
    ] = None,
    pool: Annotated[
        list[str],
        typer.Option(metavar="FILE", help="The pool, if it is not where the run found it."),
    ] = [],  # noqa: B006
    image_folder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Its images, likewise.")
    ] = None,
) -> None:
    """Write the report of a finished run again: one HTML file that needs nothing else."""
    from visift.finished import reopen
    from visift.report.page import write_report

    folder = Path(run_dir)
    run = reopen(folder, files=tuple(pool), image_folder=image_folder)
    written = write_report(run, Path(output) if output else folder / "report")
    Printer(quiet=False).say("Wrote", str(written))

"""`visift report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visift.cli.choices import ImagesOfRun, PoolOfRun, RunDir
from visift.cli.output import Printer


def command(
    run_dir: RunDir,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="[RUN_DIR/report]")
    ] = None,
    pool: PoolOfRun = [],  # noqa: B006 - typer reads the default, nothing changes it
    image_folder: ImagesOfRun = None,
) -> None:
    """Write the report of a finished run again: one HTML file that needs nothing else."""
    from visift.finished import reopen
    from visift.report.page import write_report

    folder = Path(run_dir)
    run = reopen(folder, files=tuple(pool), image_folder=image_folder)
    written = write_report(run, Path(output) if output else folder / "report")
    Printer(quiet=False).say("Wrote", str(written))

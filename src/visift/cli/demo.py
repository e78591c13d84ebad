"""`visift demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from visift.cli.output import Printer, print_run
from visift.cli.progress import MeasureProgress, counting_what_is_kept
from visift.config import EngineConfig, PoolConfig, RunConfig
from visift.errors import InputError
from visift.files import disk_errors
from visift.models.ref import BUILTIN_TINY, ModelRef

if TYPE_CHECKING:
    from visift.demo.detection import Kept


def command(
    output: Annotated[str, typer.Option("--output", "-o", help="Folder.")] = "demo-out",
    seed: Annotated[int, typer.Option(help="Of pool, ties and draws.")] = 0,
    records: Annotated[int, typer.Option(help="Records of the pool, 200 to 6000.")] = 6000,
    budget: Annotated[str, typer.Option(help="As of visift select.")] = "15%",
    workers: Annotated[str, typer.Option(help="Processes that measure.")] = "auto",
) -> None:
    """Make a small pool with planted structure, select from it, show what was kept."""
    from visift.demo import write_demo_pool
    from visift.demo.detection import detection_table
    from visift.run import execute

    folder = Path(output)
    printer = Printer(quiet=False)
    _must_be_ours(folder / "pool")
    with disk_errors(folder):
        demo = write_demo_pool(folder / "pool", seed=seed, records=records)
    printer.say("Wrote", f"{demo.pool}: {demo.records:,} records over {len(demo.tasks)} tasks")
    config = RunConfig(
        # By bytes: pools of other seeds have images of the same names, and at times sizes.
        pool=PoolConfig((str(demo.pool),), str(demo.images), hash_images=True),
        method="prism",
        model=ModelRef(BUILTIN_TINY),
        budget=budget,
        seed=seed,
        engine=EngineConfig(cache=str(folder / "cache"), workers=workers),
    )
    progress = MeasureProgress(printer)
    with counting_what_is_kept(progress):
        run = execute(config, folder / "run", overwrite=True, say=printer.say, progress=progress)
    print_run(printer, run)
    printer.say("", "")
    printer.table(_planted_table(detection_table(demo.planted, run.rows, run.control)))
    printer.say("", "")
    printer.say("Again", f"visift select --config {run.folder / 'run.yaml'} -o {folder / 'again'}")


def _must_be_ours(pool: Path) -> None:
    """Raise `InputError` for a folder whose files are no earlier demo's."""
    if pool.exists() and not (pool / "planted.parquet").exists():
        raise InputError("holds other files.", where=str(pool), fix="Choose another --output.")


def _planted_table(kept: list[Kept]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  planted")
    for name in ("rows", "kept by prism", "by its random twin"):
        table.add_column(name, justify="right")
    for line in kept:
        table.add_row(
            f"  {line.kind}", f"{line.rows:,}", f"{line.selected:.0%}", f"{line.control:.0%}"
        )
    return table

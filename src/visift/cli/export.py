"""`visift export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.cli.choices import ImagesOfRun, PoolOfRun, RunDir
from visift.cli.output import Printer

if TYPE_CHECKING:
    from visift.export.exporter import ImageMode

_TRAINERS = ["llava"]


class _Order(StrEnum):
    original = "original"
    rank = "rank"
    shuffle = "shuffle"


class _OnMismatch(StrEnum):
    error = "error"
    fix = "fix"
    drop = "drop"


def command(
    run_dir: RunDir,
    export: Annotated[
        list[str],
        typer.Option(metavar="TRAINER", help="llava, llama-factory or trl; may be repeated."),
    ] = _TRAINERS,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="[RUN_DIR/export/TRAINER]"),
    ] = None,
    pool: PoolOfRun = [],  # noqa: B006 - typer reads the default, nothing changes it
    image_folder: ImagesOfRun = None,
    nested: Annotated[
        bool, typer.Option("--nested", help="In rank order: every smaller budget is a prefix.")
    ] = False,
    order: Annotated[
        _Order | None, typer.Option(help="Order of the records [original, or as the run said].")
    ] = None,
    on_mismatch: Annotated[
        _OnMismatch | None,
        typer.Option(help="Records the trainer would fail on [error; llava: keep them]."),
    ] = None,
    escape_literal_tags: Annotated[
        bool,
        typer.Option("--escape-literal-tags", help="Write < image > where no image is meant."),
    ] = False,
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Copy images into the export, also from archives.")
    ] = False,
    symlink_images: Annotated[
        bool, typer.Option("--symlink-images", help="Link images into the export.")
    ] = False,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Name images by absolute paths.")
    ] = False,
    embed: Annotated[
        bool, typer.Option("--embed", help="Images inside the files (trl, which does so anyway).")
    ] = False,
) -> None:
    """Write a finished run for a trainer."""
    from visift.export.exporter import ExportOptions
    from visift.export.trainers import check_trainer
    from visift.finished import reopen

    for trainer in export:
        check_trainer(trainer)
    asked: dict[ImageMode, bool] = {
        "copy": copy_images,
        "symlink": symlink_images,
        "absolute": absolute,
        "embed": embed,
    }
    options = ExportOptions(
        order=order.value if order else None,
        on_mismatch=on_mismatch.value if on_mismatch else None,
        escape_literal_tags=escape_literal_tags,
        images=_one_of(asked),
    )
    folder = Path(run_dir)
    run = reopen(folder, files=tuple(pool), image_folder=image_folder, nested=nested)
    printer = Printer(quiet=False)
    for trainer in export:
        target = Path(output) if output else folder / "export" / trainer
        target = target / trainer if output and len(export) > 1 else target
        run.export(trainer, target, options=options, note=lambda text: printer.say("Note", text))
        exact = on_mismatch in (None, _OnMismatch.error)
        count = f": {len(run.selection):,} records an arm" if exact else ""
        printer.say("Wrote", f"{target}{count}")


def _one_of(asked: dict[ImageMode, bool]) -> ImageMode | None:
    """Return the way images are handed over; raises `InputError` for two."""
    from visift.errors import InputError
    from visift.export.exporter import IMAGE_FLAGS

    given = [mode for mode, is_asked in asked.items() if is_asked]
    if len(given) > 1:
        flags = " and ".join(IMAGE_FLAGS[mode] for mode in given)
        raise InputError(f"{flags} exclude each other.", fix="Give one of them.")
    return given[0] if given else None

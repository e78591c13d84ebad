"""`visift apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from visift.cli.choices import (
    Ambiguous,
    AsJson,
    By,
    HashImages,
    ImageFolder,
    Pools,
    SourceField,
    TaskField,
)
from visift.cli.output import Printer, print_run
from visift.cli.terminal import printable_json


def command(
    subset: Annotated[
        str,
        typer.Argument(
            metavar="SUBSET",
            help="Run directory, selection.parquet, or a published list: JSON, JSONL, parquet or "
            "text, of records or of ids.",
        ),
    ],
    pool: Pools = [],  # noqa: B006 - typer reads the default, nothing changes it
    image_folder: ImageFolder = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Run directory to write.")
    ] = "applied",
    by: Annotated[
        By | None,
        typer.Option(help="What entries name records by. [content, else what finds the most]"),
    ] = None,
    ambiguous: Annotated[
        Ambiguous, typer.Option(help="What an id of several records stands for.")
    ] = Ambiguous.error,
    min_match: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of listed records that must be there.")
    ] = "99%",
    export: Annotated[
        list[str], typer.Option(metavar="TRAINER", help="Trainer to write for; repeatable. [llava]")
    ] = [],  # noqa: B006
    nested: Annotated[
        bool, typer.Option("--nested", help="Export in rank order: the order of the list.")
    ] = False,
    task_field: TaskField = None,
    source_field: SourceField = None,
    hash_images: HashImages = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run in --output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a selection on another copy of the pool, or from a published list."""
    from visift.applying import apply
    from visift.config import PoolConfig

    printer = Printer(quiet=as_json)
    applied = apply(
        subset,
        PoolConfig(tuple(pool), image_folder, task_field, source_field, hash_images),
        output=output,
        by=by.value if by else None,
        ambiguous=ambiguous.value,
        min_match=min_match,
        export=tuple(export) or ("llava",),
        nested=nested,
        overwrite=overwrite,
        say=printer.say,
    )
    if as_json:
        print(printable_json(applied.summary()))
    print_run(printer, applied.run)

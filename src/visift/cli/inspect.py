"""`visift inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from visift.cli.choices import AsJson, HashImages, ImageFolder, Pools, SourceField, TaskField
from visift.cli.inspection import print_inspection
from visift.cli.output import Printer
from visift.cli.progress import bar
from visift.cli.terminal import printable_json
from visift.errors import PoolError

if TYPE_CHECKING:
    from visift.pool.findings import Inspection


def command(
    pool: Pools = [],  # noqa: B006 - typer reads the default, nothing changes it
    image_folder: ImageFolder = None,
    verify_images: Annotated[
        bool, typer.Option("--verify-images", help="Decode every image: minutes, not seconds.")
    ] = False,
    fail_on: Annotated[
        list[str],
        typer.Option(
            metavar="KIND[,KIND]",
            help="Exit with 1 if any is found: faults, missing, duplicates, ids, placeholders, "
            "corrupt, extensions; repeatable. The last two decode every image.",
        ),
    ] = [],  # noqa: B006
    task_field: TaskField = None,
    source_field: SourceField = None,
    hash_images: HashImages = False,
    as_json: AsJson = False,
) -> None:
    """Look at a pool: counts, missing images, duplicates, lengths. Nothing is changed."""
    from visift.pool.findings import DECODED, check_finding
    from visift.pool.inspect import inspect_pool
    from visift.pool.pool import Pool
    from visift.say import say_pool

    kinds = [kind.strip() for given in fail_on for kind in given.split(",")]
    for kind in kinds:
        check_finding(kind)
    opened = Pool.open(
        pool,
        image_folder=image_folder,
        task_field=task_field,
        source_field=source_field,
        hash_images=hash_images,
    )
    printer = Printer(quiet=as_json)
    say_pool(printer.say, opened)
    if verify_images or any(kind in DECODED for kind in kinds):
        with bar("images", len(opened.images)) as shown:
            found = inspect_pool(opened, decode=True, progress=shown.advance)
    else:
        found = inspect_pool(opened)
    if as_json:
        print(printable_json(found.to_dict()))
    print_inspection(printer, found)
    _fail(found, kinds)


def _fail(found: Inspection, kinds: list[str]) -> None:
    """Raise `PoolError` for what was found of the kinds that must not be there."""
    bad = [f"{kind} ({found.found(kind):,})" for kind in dict.fromkeys(kinds) if found.found(kind)]
    if bad:
        raise PoolError(
            f"does not pass --fail-on: {', '.join(bad)}.",
            where=", ".join(found.files),
            fix="Mend the pool, or leave what may stay out of --fail-on.",
        )

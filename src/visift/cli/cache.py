"""`visift cache`."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from visift.amounts import data_size
from visift.cli.output import Printer
from visift.cli.terminal import printable, printable_json
from visift.errors import InputError

if TYPE_CHECKING:
    from visift.engine.housekeeping import StoreUse

_SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_SHOWN_DIGITS = 8


def command(
    cache: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="As of visift select. [all pools: VISIFT_CACHE or ~/.cache/visift]",
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only what was last written so long ago: 30d, 12h, 2w."),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove it; it will be measured again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the size of measured values, or clear them."""
    from visift.engine import housekeeping
    from visift.staff import default_cache

    folder = Path(cache) if cache is not None else default_cache()
    limit = None if older_than is None else time.time() - _seconds(older_than)
    stores = [
        store
        for store in housekeeping.find_stores(folder)
        if limit is None or (store.written or 0.0) < limit
    ]
    printer = Printer(quiet=as_json)
    total = sum(store.n_bytes for store in stores)
    printer.say("Cache", f"{folder} · {data_size(total)}{'' if stores else ' · nothing measured'}")
    if stores:
        printer.say("", "")
        printer.table(_table(stores))
    freed = None
    if clear and stores:
        if not yes:
            _confirm(f"Remove {len(stores)} of these, {data_size(total)}?")
        freed = housekeeping.clear(stores, folder)
        printer.say("", "")
        printer.say("Removed", data_size(freed))
        for store in stores:
            if store.folder.exists():
                printer.say("Note", f"{store.folder} holds files that visift did not write")
    if as_json:
        said = _facts(folder, stores, freed if clear else None)
        print(printable_json(said))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+) *([hdw])", text.strip().lower())
    if not found:
        raise InputError(f'--older-than "{text}" is no time.', fix="For example: 12h, 30d, 2w.")
    return int(found[1]) * _SECONDS[found[2]]


def _confirm(question: str) -> None:
    """Ask a person; raise `InputError` where there is none, or none who wants it."""
    if not sys.stdin.isatty():
        raise InputError(
            "nothing was removed: there is no terminal to ask at.", fix="Say so with --yes."
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was removed.")


def _facts(folder: Path, stores: list[StoreUse], freed: int | None) -> dict[str, Any]:
    """Return what is described by `docs/schemas/cache.schema.json`."""
    return {
        "folder": str(folder),
        "bytes": sum(store.n_bytes for store in stores),
        "stores": [
            {
                "folder": str(store.folder),
                "pool": store.pool,
                "signal": store.signal,
                "parameters": store.parameters,
                "model": store.model,
                "items": store.items,
                "bytes": store.n_bytes,
                "written": _when(store).isoformat() if store.written else None,
            }
            for store in stores
        ],
        "removed_bytes": freed,
    }


def _table(stores: list[StoreUse]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("  images of", "signal", "model"):
        table.add_column(name, header_style="")
    for name in ("items", "size", "written"):
        table.add_column(name, justify="right", header_style="")
    for store in stores:
        parameters = " ".join(f"{name}={value}" for name, value in store.parameters.items())
        table.add_row(
            Text(f"  {printable(store.pool)}"),
            Text(printable(f"{store.signal} {parameters}".strip())),
            Text(printable((store.model or "–")[:_SHOWN_DIGITS])),
            f"{store.items:,}",
            data_size(store.n_bytes),
            f"{_when(store):%Y-%m-%d}" if store.written else "–",
        )
    return table


def _when(store: StoreUse) -> datetime:
    return datetime.fromtimestamp(store.written or 0.0, UTC)

"""`visift methods`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from visift.methods.method import METHODS, method_class


def command(
    name: Annotated[str | None, typer.Argument(help="Show this method's parameters.")] = None,
) -> None:
    """List the selection methods, or the parameters of one."""
    console = Console(highlight=False)
    console.print(_parameters(name) if name else _methods())


def _methods() -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0))
    for column in ("method", "what it keeps", "paper", "smaller budget", "groups by"):
        table.add_column(column)
    for name in METHODS:
        kind = method_class(name)
        nested = "a prefix" if kind.nested else "another choice"
        table.add_row(name, kind.summary, kind.paper, nested, kind.group_by or "")
    return table


def _parameters(name: str) -> Table:
    kind = method_class(name)
    title = f"{name}: {kind.summary}" + (f" (arXiv {kind.paper})" if kind.paper else "")
    table = Table(box=None, padding=(0, 3, 0, 0), title=title, title_justify="left")
    for column in ("--set", "default", "from", "what it does"):
        table.add_column(column)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if "origin" in field.metadata:
            origin, doc = field.metadata["origin"], field.metadata["doc"]
            table.add_row(field.name, str(field.default), origin, doc)
    for preset, values in kind.presets.items():
        said = ", ".join(f"{k}={v}" for k, v in values.items()) or "the defaults"
        table.add_row("preset", preset, "", said)
    return table

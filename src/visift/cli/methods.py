"""`visift methods`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from visift.cli.output import Printer, plain_table
from visift.cli.terminal import printable_json

if TYPE_CHECKING:
    from visift.methods.method import Method


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this method's parameters.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the selection methods, or the parameters of one."""
    from visift.methods.method import METHODS, method_class

    printer = Printer(quiet=False)
    if as_json:
        said = [_facts(method) for method in (METHODS if name is None else [name])]
        print(printable_json({"methods": said}))
        return
    if name is None:
        printer.table(_methods())
        print("\nnested: a smaller budget keeps a part of what a larger one keeps.")
        print("Parameters of one: visift methods NAME")
        return
    kind = method_class(name)
    paper = f" (arXiv {kind.paper})" if kind.paper else ""
    print(f"{name}: {kind.summary}{paper}\n")
    printer.table(_parameters(kind))
    if kind.presets:
        print("\nPresets, chosen with --set preset=NAME:\n")
        printer.table(_presets(kind))


def _facts(name: str) -> dict[str, Any]:
    """Return what is described by `docs/schemas/methods.schema.json`."""
    from visift.methods.method import method_class

    kind = method_class(name)
    return {
        "name": name,
        "summary": kind.summary,
        "paper": kind.paper or None,
        "nested": kind.nested,
        "needs_budget": kind.needs_budget,
        "group_by": kind.group_by,
        "parameters": [
            {
                "name": field.name,
                "default": field.default,
                "origin": field.metadata["origin"],
                "doc": field.metadata["doc"],
            }
            for field in _documented(kind)
        ],
        "presets": {preset: dict(values) for preset, values in kind.presets.items()},
    }


def _documented(kind: type[Method]) -> list[dataclasses.Field[Any]]:
    """Return the parameters that `--set` takes."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return [field for field in fields if "origin" in field.metadata]


def _methods() -> Table:
    from visift.methods.method import METHODS, method_class

    table = plain_table("method", "paper", "nested", "groups by", "what it keeps")
    for name in METHODS:
        kind = method_class(name)
        nested = "yes" if kind.nested else "no"
        table.add_row(name, kind.paper or "–", nested, kind.group_by or "–", Text(kind.summary))
    return table


def _parameters(kind: type[Method]) -> Table:
    table = plain_table("--set", "default", "from", "what it does")
    for field in _documented(kind):
        default = "none" if field.default is None else str(field.default)
        doc = Text(field.metadata["doc"])
        table.add_row(field.name, Text(default), field.metadata["origin"], doc)
    if not table.row_count:
        table.add_row("none")
    return table


def _presets(kind: type[Method]) -> Table:
    table = plain_table("preset", "stands for")
    for preset, values in kind.presets.items():
        said = " ".join(f"{name}={value}" for name, value in values.items())
        table.add_row(preset, Text(said or "the defaults"))
    return table

"""`visift compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.cli.choices import Ambiguous, AsJson, By
from visift.cli.output import Printer
from visift.cli.terminal import printable_json

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from visift.comparing.comparison import Comparison, Example, Pair

_SHOWN_PARTS = 12
_SHOWN_EXAMPLES = 3
_LONGEST_NAME = 40


def command(
    selections: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C …]",
            help="Run directories, selection.parquet files, or published lists.",
        ),
    ],
    pool: Annotated[
        list[str],
        typer.Option(metavar="FILE", help="Pool that lists of ids are looked up in; repeatable."),
    ] = [],  # noqa: B006 - typer reads the default, nothing changes it
    image_folder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Its images. [the pool's folder]")
    ] = None,
    by: Annotated[
        By | None, typer.Option(help="What lists name records by. [content, or what finds most]")
    ] = None,
    ambiguous: Annotated[
        Ambiguous, typer.Option(help="What an id of several records stands for.")
    ] = Ambiguous.error,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Write FOLDER/index.html as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold selections against each other: overlap, agreement, mix, where they disagree."""
    from visift.comparing.compare import compare
    from visift.comparing.sides import open_sides
    from visift.pool.pool import Pool

    opened = Pool.open(pool, image_folder=image_folder) if pool else None
    sides = open_sides(
        [Path(name) for name in selections], opened, by.value if by else None, ambiguous.value
    )
    comparison = compare(sides)
    page = None
    if output is not None:
        from visift.report.comparison import write_comparison

        page = write_comparison(comparison, Path(output))
    printer = Printer(quiet=as_json)
    if as_json:
        report = None if page is None else str(page)
        print(printable_json({**comparison.summary(), "report": report}))
    print_comparison(printer, comparison)
    if page is not None:
        printer.say("Wrote", str(page))


def print_comparison(printer: Printer, found: Comparison) -> None:
    """Print the tables of a comparison; what they have no room for is in the page."""
    printer.table(_selections(found))
    printer.say("", "")
    for notice in found.notices:
        printer.say("Note", notice)
    if found.notices:
        printer.say("", "")
    printer.table(_overlap(found))
    printer.say("", "")
    for mix in found.mixes:
        printer.table(_mix(found, mix.kind))
        printer.say("", "")
    if len(found.pairs) == 1:
        _print_examples(printer, found.pairs[0])


def _print_examples(printer: Printer, pair: Pair) -> None:
    ways = (
        (pair.first, pair.second, pair.left_out_by_second),
        (pair.second, pair.first, pair.left_out_by_first),
    )
    for taker, leaver, examples in ways:
        if examples:
            printer.table(_examples(taker, leaver, examples[:_SHOWN_EXAMPLES]))
            printer.say("", "")


def _selections(found: Comparison) -> Table:
    table = _table("  selection", "method", "budget", right=("records", "of pool"))
    for side in found.sides:
        total = "" if side.pool is None else f"{side.pool.num_rows:,}"
        cells = (side.method or "a list", side.budget or "", f"{len(side):,}", total)
        table.add_row(*_texts(f"  {side.name}", *cells))
    return table


def _overlap(found: Comparison) -> Table:
    columns = ("in both", "of first", "of second", "by chance", "rank rho", "tau-b", "score rho")
    table = _table("  overlap", right=columns)
    for pair in found.pairs:
        chance = "" if pair.expected is None else f"{pair.expected:,.0f}"
        chance += "" if pair.spread is None else f" ± {pair.spread:,.0f}"
        table.add_row(
            *_texts(
                f"  {pair.first} · {pair.second}",
                f"{pair.both:,}",
                _share(pair.both, pair.both + pair.only_first),
                _share(pair.both, pair.both + pair.only_second),
                chance,
                _number(pair.ranks.spearman),
                _number(pair.ranks.kendall),
                _number(None if pair.scores is None else pair.scores.spearman),
            )
        )
    return table


def _mix(found: Comparison, kind: str) -> Table:
    names = [side.name for side in found.sides]
    last = "difference" if len(names) == 2 else "widest gap"
    table = _table(f"  {kind}", right=("pool", *names, last))
    mix = next(mix for mix in found.mixes if mix.kind == kind)
    for part in mix.parts[:_SHOWN_PARTS]:
        pool = "" if part.pool is None else f"{part.pool:,}"
        shares = [f"{share:.1%}" for share in part.shares]
        points = f"{_points(part.difference, len(names) == 2)} points"
        table.add_row(*_texts(f"  {part.name}", pool, *shares, points))
    if len(mix.parts) > _SHOWN_PARTS:
        table.add_row(f"  … {len(mix.parts) - _SHOWN_PARTS} more")
    return table


def _examples(taker: str, leaver: str, examples: Sequence[Example]) -> Table:
    table = _table(f"  {taker} takes, {leaver} does not", right=("rank",), last="why")
    for example in examples:
        why = f"{example.reason or 'no reason given'} ({leaver}: {example.there})"
        table.add_row(*_texts(f"  {example.uid or ''}", f"{example.rank:,}", why))
    return table


def _table(*left: str, right: Sequence[str] = (), last: str | None = None) -> Table:
    """Return an empty table without lines: names, then numbers, then a text that may wrap."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in left:
        table.add_column(Text(_shown(name)), header_style="", max_width=_LONGEST_NAME)
    for name in right:
        table.add_column(Text(_shown(name)), justify="right", header_style="", no_wrap=True)
    if last is not None:
        table.add_column(Text(last), header_style="")
    return table


def _texts(*cells: str) -> list[Text]:
    """Return cells whose text means nothing but itself: no markup, no control characters."""
    from rich.text import Text

    return [Text(_shown(cell)) for cell in cells]


def _shown(text: str) -> str:
    from visift.report.text import excerpt

    indent = text[: len(text) - len(text.lstrip(" "))]
    return indent + " ".join(excerpt(text).split())


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _points(difference: float, signed: bool) -> str:
    rounded = round(100 * difference, 1) or 0.0  # never "-0.0"
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"

"""How an inspection is printed: one line a question, then a table of the sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from visift.amounts import counted
from visift.cli.output import Printer
from visift.cli.terminal import printable

if TYPE_CHECKING:
    from visift.pool.findings import Inspection, SourceFacts, Spread
    from visift.pool.verify import Finding, Verified

Line = tuple[str, str]

_SHOWN_ROWS = 20
_SHOWN_COUNTS = 6
_LONGEST_NAME = 40


def print_inspection(printer: Printer, found: Inspection) -> None:
    """Print what an inspection found; what was not found takes no line."""
    for label, text in _lines(found):
        printer.say(label, text)
    printer.say("", "")
    printer.table(_source_table(found.sources))
    if found.tasks and not _same_as_sources(found):
        printer.say("", "")
        printer.table(_task_table(found.tasks))


def _lines(found: Inspection) -> Iterator[Line]:
    if found.unannotated:
        yield "Bare", f"{counted(found.unannotated, 'image')} without a conversation"
    yield from _image_lines(found)
    if found.turns.largest:
        yield "Turns", f"{_spread(found.turns)} a record"
        yield "Text", f"{_spread(found.text_bytes)} bytes a record"
        yield "Answers", f"{_spread(found.answer_chars)} characters a record"
    yield from _id_lines(found)
    if found.duplicates.count:
        exactly = f" · {found.identical.count:,} to the letter" if found.identical.count else ""
        yield "Repeated", f"{_counted('record', found.duplicates)}{exactly}"
    if found.placeholders.count:
        what = "with more or fewer <image> than images"
        yield "Tags", _counted("record", found.placeholders, what)
    if found.placeholders_in_text.count:
        yield "Tags", _counted("text-only record", found.placeholders_in_text, "with <image>")
    yield from _list("Set aside", found.set_aside)
    if found.verified is not None:
        yield from _decoded_lines(found.verified)


def _image_lines(found: Inspection) -> Iterator[Line]:
    images = found.images
    lost = {name: facts.missing for name, facts in found.sources.items() if facts.missing.count}
    yield from _list("Missing", lost)
    sizes = list(images.per_record.items())
    said = [f"{times:,} with {count}" for count, times in sizes[:_SHOWN_COUNTS]]
    more = [f"{len(sizes) - _SHOWN_COUNTS} more sizes"] if len(sizes) > _SHOWN_COUNTS else []
    yield "Records", f"by number of images: {', '.join(said + more)}"
    if images.shared:
        yield (
            "Shared",
            f"{images.shared:,} of {counted(images.distinct, 'image')} in several records, "
            f"one in {images.most_shared.count:,} ({images.most_shared.first})",
        )


def _id_lines(found: Inspection) -> Iterator[Line]:
    ids = found.ids
    kinds = " and ".join(f"{count:,} as {kind}" for kind, count in ids.kinds.items())
    mixed = f" ({kinds})" if len(ids.kinds) > 1 else ""
    shared = "all different"
    if ids.shared.count:
        many = f"{counted(ids.shared.count, 'id')} shared by {counted(ids.sharing, 'record')}"
        shared = f"{many} (first: {ids.shared.first})"
    if not ids.records:
        yield "Ids", "none"
    else:
        yield "Ids", f"in {counted(ids.records, 'record')}{mixed} · {shared}"


def _decoded_lines(decoded: Verified) -> Iterator[Line]:
    sizes = ""
    if decoded.smallest and decoded.largest:
        (a, b), (c, d) = decoded.smallest, decoded.largest
        sizes = f" · from {a:,}×{b:,} to {c:,}×{d:,} pixels"
    fine = decoded.images - decoded.corrupt_images
    yield "Decoded", f"{fine:,} of {decoded.images:,} images{sizes}"
    yield from _list("Corrupt", decoded.corrupt)
    yield from _list("Misnamed", decoded.misnamed)


def _list(label: str, found: Mapping[str, Finding]) -> Iterator[Line]:
    """Yield a line a kind, the label before the first one only."""
    for at, (kind, bad) in enumerate(list(found.items())[:_SHOWN_ROWS]):
        yield ("" if at else label), f"{bad.count:,} {kind} (first: {bad.first})"
    if len(found) > _SHOWN_ROWS:
        yield "", f"… {len(found) - _SHOWN_ROWS} more kinds"


def _counted(noun: str, bad: Finding, what: str = "") -> str:
    return f"{f'{counted(bad.count, noun)} {what}'.rstrip()} (first: {bad.first})"


def _spread(spread: Spread) -> str:
    return f"{spread.median:,} (median), {spread.p95:,} (95 %), {spread.largest:,} (most)"


def _same_as_sources(found: Inspection) -> bool:
    """Return whether the tasks say nothing that the sources do not."""
    records = {name: facts.records for name, facts in found.sources.items()}
    return all(records.get(task) == count for task, count in found.tasks.items())


def _source_table(sources: Mapping[str, SourceFacts]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  source", no_wrap=True, max_width=_LONGEST_NAME, header_style="")
    total = max(sum(facts.records for facts in sources.values()), 1)
    for name in ("records", "share", "text-only", "images", "missing", "set aside", "answer"):
        table.add_column(name, justify="right", header_style="")
    for source, facts in list(sources.items())[:_SHOWN_ROWS]:
        table.add_row(
            Text(f"  {printable(source)}"),
            f"{facts.records:,}",
            f"{facts.records / total:.1%}",
            f"{facts.text_only:,}",
            f"{facts.images:,}",
            f"{facts.missing.count:,}",
            f"{facts.set_aside:,}",
            f"{facts.answer_chars:,}",
        )
    if len(sources) > _SHOWN_ROWS:
        table.add_row(f"  … {len(sources) - _SHOWN_ROWS} more")
    return table


def _task_table(tasks: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  task", no_wrap=True, max_width=_LONGEST_NAME, header_style="")
    table.add_column("records", justify="right", header_style="")
    for task, count in list(tasks.items())[:_SHOWN_ROWS]:
        table.add_row(Text(f"  {printable(task)}"), f"{count:,}")
    if len(tasks) > _SHOWN_ROWS:
        table.add_row(f"  … {len(tasks) - _SHOWN_ROWS} more")
    return table

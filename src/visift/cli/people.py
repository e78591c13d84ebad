"""The part of `visift annotate` that is for people: what they are given, and what comes back."""

from __future__ import annotations

from pathlib import Path

from visift.amounts import counted
from visift.annotate.people import hand_out, read_back
from visift.annotate.records import check_output, failed_path, write_finished
from visift.annotate.todo import read_todo
from visift.cli.output import Printer
from visift.cli.terminal import printable_json

_SHOWN = 5


def give(
    printer: Printer,
    todo: Path,
    images: Path,
    folder: Path,
    program: str,
    *,
    url: str,
    copy_images: bool,
    overwrite: bool,
) -> None:
    """Write a list for people, and say what to do with it."""
    done = hand_out(
        program,
        read_todo(todo),
        images,
        folder,
        url=url,
        copy_images=copy_images,
        overwrite=overwrite,
    )
    if printer.quiet:
        said = {"output": str(folder), "files": list(done.files), "lines": done.lines}
        print(printable_json({**said, "left_out": done.left_out}))
        return
    printer.say("Tasks", f"{counted(done.lines, 'line')} for {program}")
    for uid, reason in list(done.left_out.items())[:_SHOWN]:
        printer.warn(f"{uid} is left out: {reason}")
    if len(done.left_out) > _SHOWN:
        printer.warn(f"{len(done.left_out) - _SHOWN:,} more are left out")
    printer.say("Wrote", f"{folder}/{' · '.join(done.files)}")
    printer.say("Next", done.next_step)
    printer.say("", f"visift annotate {todo} --from EXPORT -o annotated.jsonl")


def take_back(
    printer: Printer, todo: Path, finished: Path, target: Path, *, overwrite: bool
) -> None:
    """Read what people wrote and write the records."""
    check_output(target, [todo, finished], overwrite=overwrite)
    items = read_todo(todo)
    returned, program = read_back(finished, items)
    said, failed = returned.finished.said, returned.finished.failed
    write_finished(target, items, returned.finished, program)
    left = len(items) - len(said) - len(failed)
    if printer.quiet:
        counts = {"lines": len(items), "annotated": len(said), "failed": len(failed), "left": left}
        others = {"strangers": returned.strangers, "again": returned.again}
        print(printable_json({"output": str(target), **counts, **others}))
        return
    printer.say(
        "Annotated",
        f"{len(said):,} of {counted(len(items), 'line')} · {len(failed):,} failed · {left:,} left",
    )
    if returned.strangers:
        printer.warn(f"{counted(returned.strangers, 'annotation')} of no line in {todo}")
    if returned.again:
        printer.warn(f"{counted(returned.again, 'annotation')} of a line that has a later one")
    printer.say("Wrote", str(target))
    if failed:
        printer.say("", str(failed_path(target)))

"""How `visift validate` shows what it does and what came out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from visift.cli.output import Printer
from visift.cli.progress import Bar, MeasureProgress
from visift.cli.terminal import printable, printable_json

if TYPE_CHECKING:
    from visift.validate.benchmarks import Benchmarked
    from visift.validate.collected import Collected
    from visift.validate.foreseeing import Foreseen
    from visift.validate.judging import Judged
    from visift.validate.loop import Validated
    from visift.validate.tables import Table
    from visift.validate.verdict import Verdict


class LoopShown(MeasureProgress):
    """Shows how far measuring and trials are; see `validate.setting.LoopProgress`."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(printer)
        self.loops = False

    def begin_models(self, total: int) -> None:
        """See `validate.setting.LoopProgress`."""
        self.printer.say("Train", f"{total:,} models that methods measure with, side by side")
        self.bar = Bar("models", total)
        self.trains = True

    def begin_trials(self, total: int, done: int) -> None:
        """See `validate.running.TrialProgress`."""
        before = f", {done:,} of them done before" if done else ""
        self.printer.say("Train", f"{total:,} models, and ask each{before}")
        self.bar = Bar("models", total, done)
        self.loops = True

    def trial_done(self) -> None:
        """See `validate.running.TrialProgress`."""
        assert self.bar is not None
        self.bar.advance(1)

    def end_trials(self) -> None:
        """See `validate.running.TrialProgress`."""
        self.end()
        self.loops = False

    def kept(self) -> str:
        """See `MeasureProgress.kept`."""
        if self.loops and self.bar is not None:
            return f"{self.bar.done:,} of {self.bar.total:,} models are trained and asked"
        return super().kept()


def print_validation(printer: Printer, done: Validated) -> None:
    """Print what came out: the power first, then a table and the verdicts of every budget."""
    from visift.validate.meeting import curves
    from visift.validate.writing import files_of

    printer.say("", "")
    printer.say("Power", done.power)
    for one in done.judged:
        _print_budget(printer, one)
    for curve in curves(done.judged):
        if curve.judged:
            printer.say("Budgets", curve.sentence)
    for benchmarked in done.benchmarks:
        _print_benchmarks(printer, benchmarked)
    if done.warning:
        printer.say("Note", done.warning)
    printer.say("Wrote", f"{done.folder}/{' · '.join(files_of(done.folder))}")


def _print_budget(printer: Printer, one: Judged) -> None:
    from visift.validate.tables import arm_table, equal_lines
    from visift.validate.writing import NO_TASK_COUNTS, told

    ground = one.gathered.ground
    printer.say("", "")
    left = [check.task for check in one.checks if not check.counts]
    printer.say("Budget", f"{ground.budget}: {ground.size:,} records in every arm")
    if left:
        printer.say(
            "Tasks", f"{len(one.counting)} of {len(one.checks)} count; {', '.join(left)} not"
        )
    if one.scores:
        _print_table(printer, arm_table(one))
    for verdict in one.verdicts:
        _print_verdict(printer, verdict)
    for line in equal_lines(one.equals):
        printer.say("Beside", line)
    if not one.counting:
        printer.say("Verdict", NO_TASK_COUNTS)
    for notice in told(one):
        if notice not in one.gathered.notices:  # those were said when they were found
            printer.say("Note", notice)


def _print_verdict(printer: Printer, verdict: Verdict) -> None:
    """Print a verdict, and the task it is worst in."""
    from visift.validate.verdict import task_line

    printer.say("Verdict", verdict.sentence)
    if line := task_line(verdict.comparison):
        printer.say("", line)


def _print_benchmarks(printer: Printer, one: Benchmarked) -> None:
    from visift.validate.tables import benchmark_table

    printer.say("", "")
    printer.say("Tasks", f"of lmms-eval, at {one.budget}")
    _print_table(printer, benchmark_table(one))
    for verdict in one.verdicts:
        _print_verdict(printer, verdict)


def _print_table(printer: Printer, made: Table) -> None:
    from rich.table import Table as Drawn
    from rich.text import Text as Cell

    head, lines = made
    table = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(head):
        table.add_column(name, justify="left" if place in (0, 4, 7) else "right", header_style="")
    for line in lines:
        table.add_row(*(Cell(printable(cell)) for cell in line))
    printer.table(table)


def print_foreseen(printer: Printer, found: list[Foreseen]) -> None:
    """Print what would be done, as a table or as JSON."""
    from visift.amounts import short

    if printer.quiet:
        print(printable_json([dataclasses.asdict(one) for one in found]))
    lines = [
        [
            one.what,
            f"{one.models:,}",
            f"{one.steps:,}",
            "–" if one.flops is None else f"{short(one.flops)}FLOP",
        ]
        for one in found
    ]
    printer.say("", "")
    _print_table(printer, (("what", "models", "steps", "operations"), lines))


def print_collected(printer: Printer, done: Collected) -> None:
    """Print the verdict on what was evaluated elsewhere."""
    from visift.validate.writing import files_of

    if printer.quiet:
        print(printable_json(done.facts()))
    printer.say("Power", done.power)
    printer.say("", "")
    _print_table(printer, done.table())
    printer.say("", "")
    _print_verdict(printer, done.verdict)
    for note in done.notes:
        printer.say("Note", note)
    printer.say("Wrote", f"{done.folder}/{' · '.join(files_of(done.folder))}")

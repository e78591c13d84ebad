"""What `visift annotate` prints when an endpoint has been asked."""

from __future__ import annotations

from visift.amounts import counted, money, short
from visift.annotate.outcome import Annotated as Outcome
from visift.annotate.records import failed_path
from visift.cli.output import Printer

_SHOWN_KINDS = 5


def print_outcome(printer: Printer, outcome: Outcome, *, rated: bool) -> None:
    """Print what has become of a list that an endpoint was asked about.

    Args:
        printer: prints.
        outcome: of conversations or ratings.
        rated: whether it is of ratings.
    """
    if outcome.output is None or outcome.annotated is None or outcome.failed is None:
        printer.say("Next", "the same without --dry-run")
        return
    left = f" · {outcome.left:,} left, --max-cost was reached" if outcome.left else ""
    printer.say(
        "Rated" if rated else "Annotated",
        f"{outcome.annotated:,} of {counted(outcome.lines, 'line')} · "
        f"{len(outcome.failed):,} failed{left}",
    )
    _print_reasons(printer, outcome)
    spent = f"{money(outcome.cost)}: " if outcome.cost is not None else ""
    printer.say(
        "Cost",
        f"{spent}{short(outcome.tokens.sent)} tokens in and {short(outcome.tokens.received)} out",
    )
    if outcome.cost_uncertain:
        printer.say(
            "Note",
            f"up to {money(outcome.cost_uncertain)} more, for requests that got no reply",
        )
    printer.say("Wrote", str(outcome.output))
    if outcome.failed:
        printer.say("", str(failed_path(outcome.output)))
    if rated:
        printer.say("Next", "the visift select command that asked for these labels, again")


def _print_reasons(printer: Printer, outcome: Outcome) -> None:
    """Print how often lines failed for which kind of reason, each with its first one in full."""
    for kind, count in list(outcome.reasons().items())[:_SHOWN_KINDS]:
        reasons = (outcome.failed or {}).values()
        printer.say("", f"{count:,} × {next(one for one in reasons if one.startswith(kind))}")

"""What a validation found, as tables: for a terminal, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from visift.amounts import data_size, duration, or_dash, short
from visift.pool.bill import NO_BILL
from visift.report.text import in_markdown as in_short_markdown
from visift.validate.arms import CONTROL, FULL
from visift.validate.judging import Judged
from visift.validate.rounds import control_of, is_round
from visift.validate.statistics import Comparison
from visift.validate.verdict import points

if TYPE_CHECKING:
    from visift.validate.benchmarks import Benchmarked

_LONGEST = 20_000

#: Names of columns, and lines of cells.
Table = tuple[Sequence[str], list[list[str]]]


def arm_table(one: Judged) -> Table:
    """Return what every arm scored, its difference to the control, and what it costs."""
    head = ("arm", "records", "all", "tasks", f"against {CONTROL}", "loss", "trained", "cost")
    comparisons = {c.method: c for c in (*(v.comparison for v in one.verdicts), *one.beside)}
    intervals = {v.comparison.method: v.interval for v in one.verdicts}
    costs = {cost.arm: cost for cost in one.costs}
    lines = []
    for score in one.scores:
        compared, cost = comparisons.get(score.arm), costs.get(score.arm)
        seconds = cost.training_seconds if cost else None
        lines.append(
            [
                score.arm,
                f"{cost.records:,}" if cost else "–",
                f"{100 * score.micro:.1f}",
                f"{100 * score.macro:.1f}",
                difference(compared, intervals.get(score.arm)) if compared else "–",
                f"{one.losses[score.arm]:.3f}" if score.arm in one.losses else "–",
                or_dash(seconds, duration),
                _cost(one, score.arm),
            ]
        )
    return head, lines


def difference(one: Comparison, interval: tuple[float, float] | None = None) -> str:
    """Return a difference over all questions, and its interval, in points."""
    low, high = interval or one.micro.interval()
    return f"{points(one.micro.value)} ({points(low)} to {points(high)})"


def equal_lines(compared: Sequence[Comparison]) -> list[str]:
    """Return how methods stand against random arms that cost as much, one sentence each."""
    return [
        f"{one.method} against {one.control.partition(' (')[0]}: {difference(one)} points."
        for one in compared
    ]


def _cost(one: Judged, arm: str) -> str:
    told = _compute(one, arm)
    bill = next((cost.bill for cost in one.costs if cost.arm == arm), NO_BILL)
    return f"{told}, labels {bill}" if bill.tokens or bill.dollars else told


def _compute(one: Judged, arm: str) -> str:
    found = one.savings.get(arm)
    if found is None or found.once is None or arm == FULL:
        return "–"
    if found.runs is None or found.runs == 1:
        return f"{found.once:.2f}"
    after = "never pays off" if math.isinf(found.runs) else f"pays off after {found.runs:,.0f} runs"
    return f"{found.once:.2f}, {after}"


def ledger_table(one: Judged) -> Table:
    """Return what every arm costs: choosing once, and one training."""
    head = (
        *("arm", "choosing", "its memory", "its operations", "forward passes", "backward passes"),
        *("labels", "one training", "its memory", "its operations"),
    )
    lines = []
    for cost in one.costs:
        chosen = cost.choosing
        lines.append(
            [
                cost.arm,
                or_dash(cost.choosing_seconds, duration),
                or_dash(cost.choosing_memory, data_size),
                or_dash(None if chosen is None else chosen.flops, short),
                or_dash(None if chosen is None else chosen.forwards, short),
                or_dash(None if chosen is None else chosen.backwards, short),
                str(cost.bill),
                or_dash(cost.training_seconds, duration),
                or_dash(cost.training_memory, data_size),
                or_dash(cost.training.flops, short),
            ]
        )
    return head, lines


def round_arms(one: Judged) -> list[str]:
    """Return the rounds of methods, without those of the control."""
    arms = (score.arm for score in one.scores)
    return [arm for arm in arms if is_round(arm) and not arm.startswith(f"{CONTROL},")]


def round_table(one: Judged) -> Table:
    """Return the curve of choosing in rounds, each beside `stratified` of the same size."""
    of = {score.arm: score.micro for score in one.scores}
    records = {cost.arm: cost.records for cost in one.costs}
    lines = [
        [arm, f"{records[arm]:,}", f"{100 * of[arm]:.1f}", f"{100 * of[control_of(arm)]:.1f}"]
        for arm in round_arms(one)
    ]
    return ("arm", "records", "all", f"{CONTROL}, as many records"), lines


def benchmark_table(one: Benchmarked) -> Table:
    """Return what every arm scored on benchmarks, and its difference to the control."""
    compared = {c.method: c for c in (*(v.comparison for v in one.verdicts), *one.beside)}
    lines = [
        [
            score.arm,
            f"{100 * score.micro:.1f}",
            f"{100 * score.macro:.1f}",
            difference(compared[score.arm]) if score.arm in compared else "–",
        ]
        for score in one.scores
    ]
    return ("arm", "all", "tasks", f"against {CONTROL}"), lines


def task_table(one: Judged) -> Table:
    """Return what the control scored in every task that counts, and how far methods are from it."""
    methods = [verdict.comparison for verdict in one.verdicts]
    control = next(score for score in one.scores if score.arm == CONTROL)
    lines = [
        [
            task,
            f"{100 * control.tasks[task]:.1f}",
            *(points(method.tasks[task].value) for method in methods),
        ]
        for task in one.counting
    ]
    return ("task", CONTROL, *(method.method for method in methods)), lines


def check_table(one: Judged) -> Table:
    """Return which tasks count."""
    lines = [
        [
            check.task,
            f"{100 * check.full:.1f}",
            f"{100 * check.majority:.1f}",
            "yes" if check.counts else "no",
        ]
        for check in one.checks
    ]
    return ("task", FULL, "commonest answer", "counts"), lines


def markdown_table(table: Table) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    head, lines = table
    yield f"| {' | '.join(map(in_markdown, head))} |"
    yield f"|{'---|' * len(head)}"
    for line in lines:
        yield f"| {' | '.join(map(in_markdown, line))} |"
    yield ""


def in_markdown(text: str) -> str:
    """Return a line of Markdown that means nothing but itself."""
    return in_short_markdown(text, _LONGEST)

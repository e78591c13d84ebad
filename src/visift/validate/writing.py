"""What a validation leaves: numbers for programs, ids for those who repeat it, a page for people.

verdict.json      everything that was found
results.parquet   every score: budget, arm, seeds, task, image group, question
arms.parquet      every record of every arm
VERDICT.md        the same for people
report/           the same as a page with figures
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from visift.amounts import counted, duration
from visift.files import disk_errors, write_atomically
from visift.report.verdict import write_verdict
from visift.validate.cost import Saving, plain
from visift.validate.judging import Judged
from visift.validate.meeting import curves
from visift.validate.provenance import provenance, surroundings
from visift.validate.rounds import control_of
from visift.validate.standing import TaskCheck
from visift.validate.statistics import Comparison
from visift.validate.tables import (
    arm_table,
    benchmark_table,
    check_table,
    equal_lines,
    in_markdown,
    ledger_table,
    markdown_table,
    round_arms,
    round_table,
    task_table,
)
from visift.validate.verdict import Verdict, caveats, task_line

if TYPE_CHECKING:
    from visift.validate.loop import Validated

VERDICT, RESULTS, ARMS, PAGE = "verdict.json", "results.parquet", "arms.parquet", "VERDICT.md"
BENCHMARKS = "benchmarks.parquet"
REPORT, REPORT_PAGE = "report", "report/index.html"
#: Where no task counts.
_NO_SAVING = Saving(None, None, None)
NO_TASK_COUNTS = (
    "No task counts: the model tuned on everything beats the commonest answer of none of them by "
    "three standard errors, so that nothing can be said."
)


def write_validation(done: Validated) -> None:
    """Write everything into the folder of a validation; raises `StorageError`."""
    folder = done.folder
    with disk_errors(folder):
        pq.write_table(_results(done), folder / RESULTS)
        pq.write_table(_arms(done), folder / ARMS)
        if done.benchmarks:
            tables = [one.table() for one in done.benchmarks]
            pq.write_table(pa.concat_tables(tables), folder / BENCHMARKS)
        write_atomically(folder / PAGE, page(done).encode())
        found = facts(done)
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / VERDICT, f"{text}\n".encode())
    write_verdict(found, folder / REPORT)


def _results(done: Validated) -> pa.Table:
    tables = []
    for one in done.judged:
        table = one.results.table()
        budget = pa.array([one.gathered.ground.budget] * table.num_rows, pa.string())
        tables.append(table.add_column(0, "budget", budget))
    return pa.concat_tables(tables)


def _arms(done: Validated) -> pa.Table:
    tables = []
    for one in done.judged:
        for arm in one.gathered.arms:
            count = len(arm.rows)
            tables.append(
                pa.table(
                    {
                        "budget": [one.gathered.ground.budget] * count,
                        "arm": [arm.name] * count,
                        "selection_seed": np.full(count, arm.seed, np.int64),
                        "uid": pa.array(done.pool.uids(arm.rows), pa.string()),
                        "content_hash": [
                            done.pool.content_hashes()[row].hex() for row in arm.rows.tolist()
                        ],
                    }
                )
            )
    return pa.concat_tables(tables)


# --- facts ---------------------------------------------------------------------------------------


def facts(done: Validated) -> dict[str, Any]:
    """Return everything that was found, as plain data."""
    return {
        "request": done.request.result(),
        "warning": done.warning,
        "power": done.power,
        "questions": {
            "asked": len(done.sheet),
            "records": len(done.questions),
            "in_the_pool": len(done.contamination.meetings),
            "metrics": dict(done.sheet.metrics),
        },
        "budgets": [_budget(one) for one in done.judged],
        "curves": [curve.facts() for curve in curves(done.judged)],
        "benchmarks": [
            {
                **one.facts(),
                "others": [other(comparison) for comparison in one.beside],
                "equals": [other(comparison) for comparison in one.equals],
            }
            for one in done.benchmarks
        ],
        "seconds": done.seconds,
        "provenance": provenance(done.request, done.sources),
    }


def _budget(one: Judged) -> dict[str, Any]:
    ground = one.gathered.ground
    return {
        "budget": ground.budget,
        "records": ground.size,
        "text_only": ground.text,
        "tasks": [_check(check) for check in one.checks],
        "verdicts": [verdict.facts() for verdict in one.verdicts],
        "arms": [
            {**dataclasses.asdict(score), "loss": one.losses.get(score.arm)} for score in one.scores
        ],
        "others": [other(comparison) for comparison in one.beside],
        "equals": [other(comparison) for comparison in one.equals],
        "rounds": list(_rounds(one)),
        "cost": [plain(cost, one.savings.get(cost.arm, _NO_SAVING)) for cost in one.costs],
        "notices": told(one),
    }


def _check(check: TaskCheck) -> dict[str, Any]:
    # The questions of a task may all be about one image: then their error is not known.
    error = check.error if math.isfinite(check.error) else None
    return {**dataclasses.asdict(check), "error": error, "counts": check.counts}


def _rounds(one: Judged) -> Iterator[dict[str, Any]]:
    """Yield every round of a method, beside the control of as many records."""
    scores = {score.arm: score.micro for score in one.scores}
    records = {cost.arm: cost.records for cost in one.costs}
    for arm in round_arms(one):
        yield {
            "method": arm.rpartition(", round ")[0],
            "arm": arm,
            "records": records[arm],
            "micro": scores[arm],
            "control": control_of(arm),
            "control_micro": scores[control_of(arm)],
        }


def told(one: Judged) -> list[str]:
    """Return what a reader should know of a budget."""
    said = [*one.notices]
    for verdict in one.verdicts:
        said += caveats(verdict.comparison)
    return list(dict.fromkeys(said))


def other(one: Comparison) -> dict[str, Any]:
    """Return a comparison that nothing is concluded from, as plain data."""
    low, high = one.micro.interval()
    finite = math.isfinite(low) and math.isfinite(high)
    return {
        "arm": one.method,
        "control": one.control,
        "micro": one.micro.value,
        "interval": [low, high] if finite else None,
        "macro": one.macro.value,
    }


# --- the page ------------------------------------------------------------------------------------


def page(done: Validated) -> str:
    """Return the page for people, in Markdown."""
    return "\n".join(_page(done)) + "\n"


def _page(done: Validated) -> Iterator[str]:
    yield from ("# Verdict", "", done.power, "")
    if done.warning:
        yield from (f"**{in_markdown(done.warning)}**", "")
    for one in done.judged:
        ground = one.gathered.ground
        yield from (f"## Budget {in_markdown(ground.budget)}: {counted(ground.size, 'record')}", "")
        yield from _judged(one)
    if told_curves := [curve.sentence for curve in curves(done.judged) if curve.judged]:
        yield from ("## From budget to budget", "")
        yield from (*(f"- {in_markdown(sentence)}" for sentence in told_curves), "")
    for benchmarked in done.benchmarks:
        yield from (f"## Benchmarks at {in_markdown(benchmarked.budget)}, by lmms-eval", "")
        yield from _verdicts(benchmarked.verdicts, benchmarked.equals)
        yield from markdown_table(benchmark_table(benchmarked))
    yield from ("## How", "", *_how(done))


def _judged(one: Judged) -> Iterator[str]:
    if not one.counting:
        yield from (NO_TASK_COUNTS, "")
    yield from _verdicts(one.verdicts, one.equals)
    if one.scores:
        yield from markdown_table(arm_table(one))
        yield (
            "Scores in points: over all questions, and as a mean of tasks. The loss is that of the "
            "right answers. Cost is C = P_full / P_sub · (T_select + T_tune) / T_full: a net gain "
            "is below 1."
        )
        if round_table(one)[1]:
            yield from ("", "### In rounds", "")
            yield from markdown_table(round_table(one))
        yield from ("", "### Tasks that count", "")
        yield from markdown_table(task_table(one))
    yield from ("### Cost", "")
    yield from markdown_table(ledger_table(one))
    yield from (
        "Times are those of one core, or one GPU, with nothing stored before. Memory is the most "
        "that one process held, or one GPU.",
        "",
    )
    yield from ("### Which tasks count, by the full arm alone", "")
    yield from markdown_table(check_table(one))
    yield from (f"- {in_markdown(text)}" for text in told(one))
    yield ""


def _verdicts(found: Sequence[Verdict], equals: Sequence[Comparison]) -> Iterator[str]:
    for verdict in found:
        yield f"- {in_markdown(verdict.sentence)}"
        line = task_line(verdict.comparison)
        if line is not None:
            yield f"  {in_markdown(line)}"
    yield from (f"- {in_markdown(line)}" for line in equal_lines(equals))
    yield ""


def _how(done: Validated) -> Iterator[str]:
    request, seeds = done.request, done.request.seeds
    base = request.base
    assert base is not None, "checked before"
    crossed = "crossed with" if seeds.crossed else "in step with"
    met = len(done.contamination.meetings)
    yield f"- tuned: {in_markdown(base.name)}, recipe {in_markdown(request.recipe)}"
    yield (
        f"- seeds: {counted(seeds.selection, 'selection seed')} {crossed} "
        f"{counted(seeds.training, 'training seed')}"
    )
    yield (
        f"- {counted(len(done.sheet), 'question')} on {counted(len(done.questions), 'record')}; "
        f"{met:,} stand in the pool (contamination.parquet)"
    )
    metrics = ", ".join(f"{task}: {metric}" for task, metric in done.sheet.metrics.items())
    yield f"- metrics: {in_markdown(metrics)}"
    yield f"- with {in_markdown(surroundings(request))}"
    yield f"- took {duration(done.seconds)} this time"
    yield f"- as run with {in_markdown(base.name)}: no statement on the methods' papers"


def files_of(folder: Path) -> list[str]:
    """Return the names of the files that a validation wrote."""
    names = (PAGE, VERDICT, RESULTS, ARMS, BENCHMARKS, REPORT_PAGE)
    return [name for name in names if (folder / name).exists()]

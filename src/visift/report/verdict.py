"""The page of a verdict, from the plain facts of `verdict.json` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from visift.amounts import counted, duration
from visift.files import disk_errors, write_atomically
from visift.report.costs import CostLine, cost_line
from visift.report.curves import budget_curves, round_curves
from visift.report.differences import (
    Difference,
    Forest,
    differences,
    interval_of,
    points,
    span,
)
from visift.report.html import render
from visift.report.text import label, short_path

_FULL = "full"
_UNKNOWN = "–"


def write_verdict(facts: Mapping[str, Any], folder: Path) -> Path:
    """Write `index.html` into a folder and return its path.

    Args:
        facts: what `verdict.json` holds, of a validation or of arms evaluated elsewhere.
        folder: made if it is not there.

    Raises:
        StorageError: the folder cannot be written.
    """
    page = render("verdict.html", **_contents(facts))
    path = folder / "index.html"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode("utf-8"))
    return path


def _contents(facts: Mapping[str, Any]) -> dict[str, Any]:
    parts, budgets = list(_parts(facts)), facts.get("budgets", ())
    met = facts.get("curves", ())
    checked = [part.checks for part in parts if part.checks]
    notices = [notice for part in parts for notice in part.notices]
    return {
        "headline": _headline(parts),
        "power": facts["power"],
        "warning": facts.get("warning"),
        "parts": parts,
        # The full arm decides, and it is the same one at every budget.
        "checks": checked[:1] if all(one == checked[0] for one in checked) else checked,
        "curves": list(budget_curves(budgets, met)),
        "labelled": any(cost.labelled for part in parts for cost in part.costs),
        "meetings": [one["sentence"] for one in met if one["judged"]],
        "rounds": [panel for one in budgets for panel in round_curves(one)],
        "notices": list(dict.fromkeys(notices)),
        "how": list(_how(facts)) if "request" in facts else [],
        "base": _base(facts["request"]) if "request" in facts else None,
        "version": version("visift"),
    }


# --- budgets and benchmarks ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArmLine:
    """A line of the table of arms, as texts."""

    arm: str
    records: str
    models: str
    micro: str
    macro: str
    against: str
    loss: str


@dataclass(frozen=True, slots=True)
class TaskTable:
    """How far methods are from their control, task by task.

    Attributes:
        control: its name.
        methods: names.
        lines: (task, score of the control, difference of every method with its interval).
        means: the same of the mean of tasks.
        worst: of every method, the task where it is furthest behind.
        without: of every method, the difference over all questions without one task, its range.
    """

    control: str
    methods: tuple[str, ...]
    lines: tuple[tuple[str, str, tuple[str, ...]], ...]
    means: tuple[str, ...]
    worst: tuple[str, ...]
    without: tuple[str, ...]

    @classmethod
    def of(cls, one: Mapping[str, Any]) -> TaskTable | None:
        """Read what came out; None where nothing was judged."""
        verdicts = one["verdicts"]
        if not verdicts:
            return None
        control = verdicts[0]["control"]
        scores = next(arm["tasks"] for arm in one["arms"] if arm["arm"] == control)
        return cls(
            control=control,
            methods=tuple(verdict["method"] for verdict in verdicts),
            lines=tuple(
                (task, _score(score), tuple(_estimate(v["tasks"][task]) for v in verdicts))
                for task, score in scores.items()
            ),
            means=tuple(_estimate(verdict["macro"]) for verdict in verdicts),
            worst=tuple(verdict["worst_task"] for verdict in verdicts),
            without=tuple(_range(verdict["without_one_task"].values()) for verdict in verdicts),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What came out at one budget, on its own questions or on benchmarks.

    Attributes:
        title: which; empty where there is one part only.
        verdicts: (word, sentence).
        checks: which tasks count; empty where all do.
        arms: one line each.
        control: what the arms are held against; empty where nothing is.
        forest: their differences, as a figure.
        tasks: differences task by task.
        costs: one line an arm.
        notices: what a reader should know.
    """

    title: str
    verdicts: tuple[tuple[str, str], ...]
    checks: Sequence[Mapping[str, Any]]
    arms: tuple[ArmLine, ...]
    control: str
    forest: Forest | None
    tasks: TaskTable | None
    costs: tuple[CostLine, ...]
    notices: Sequence[str]

    @classmethod
    def of(cls, one: Mapping[str, Any], title: str = "") -> Part:
        """Read a budget, a benchmark, or what was evaluated elsewhere."""
        compared = differences(one)
        control = compared[0].control if compared else ""
        drawn = [found for found in compared if found.control == control]
        return cls(
            title=title,
            verdicts=tuple(
                (verdict["verdict"], verdict["sentence"]) for verdict in one["verdicts"]
            ),
            checks=one.get("tasks", ()),
            arms=tuple(_arm_lines(one, compared)),
            control=control,
            forest=Forest.of(drawn),
            tasks=TaskTable.of(one),
            costs=tuple(cost_line(cost) for cost in one.get("cost", ())),
            notices=one.get("notices", ()),
        )


def _parts(facts: Mapping[str, Any]) -> Iterator[Part]:
    if "verdict" in facts:  # of arms that were evaluated elsewhere
        yield Part.of({**facts, "verdicts": [facts["verdict"]], "notices": facts["notes"]})
        return
    for one in facts["budgets"]:
        yield Part.of(one, f"{one['budget']}: {counted(one['records'], 'record')}")
    for one in facts["benchmarks"]:
        yield Part.of(one, f"Benchmarks at {one['budget']}, by lmms-eval")


def _arm_lines(one: Mapping[str, Any], compared: Sequence[Difference]) -> Iterator[ArmLine]:
    texts = {found.arm: found.text for found in compared}
    records = {cost["arm"]: f"{cost['records']:,}" for cost in one.get("cost", ())}
    for arm in one["arms"]:
        loss = arm.get("loss")
        yield ArmLine(
            arm=arm["arm"],
            records=records.get(arm["arm"], _UNKNOWN),
            models=f"{arm['models']:,}",
            micro=_score(arm["micro"]),
            macro=_score(arm["macro"]),
            against=texts.get(arm["arm"], _UNKNOWN),
            loss=_UNKNOWN if loss is None else f"{loss:.3f}",
        )


def _headline(parts: Sequence[Part]) -> tuple[str, str]:
    """Return the outcome in one line: what is said strongly, and the rest."""
    told = [
        mark.one for part in parts if part.forest for mark in part.forest.marks if mark.one.word
    ]
    if not told:
        return "No verdict:", "no task counts, or no method was judged"
    first, words = told[0], [one.word for one in told]
    if words == ["no evidence"]:
        return "No evidence", f"that {first.arm} is better or worse than {first.control}"
    if len(told) == 1:
        return f"{label(first.arm)} is {first.word}", f"than {first.control}"
    others = f"{words.count('worse')} worse, {words.count('no evidence')} without evidence"
    return (
        f"{words.count('better')} better,",
        f"{others}: {counted(len(told), 'comparison')} with {first.control}",
    )


# --- how it was made -----------------------------------------------------------------------------


def _how(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    request, questions = facts["request"], facts["questions"]
    seeds = request["seeds"]
    crossed = "crossed with" if seeds["crossed"] else "in step with"
    yield "Pool", " + ".join(short_path(name) for name in request["pool"]["files"])
    yield "Tuned", _base(request)
    yield "Recipe", request["recipe"]
    yield "Methods", ", ".join(request["methods"]) or "none"
    yield (
        "Seeds",
        f"{counted(seeds['selection'], 'selection seed')} {crossed} "
        f"{counted(seeds['training'], 'training seed')}, from {request['seed']}",
    )
    yield (
        "Questions",
        f"{questions['asked']:,} on {counted(questions['records'], 'record')}; "
        f"{questions['in_the_pool']:,} stand in the pool (contamination.parquet)",
    )
    metrics = (f"{task}: {metric}" for task, metric in questions["metrics"].items())
    yield "Metrics", ", ".join(metrics)
    said = facts["provenance"]
    packages = (f"{name} {number}" for name, number in said["versions"].items())
    yield "With", ", ".join(packages)
    machine = said["machine"]
    yield (
        "Machine",
        f"{machine['system']} {machine['processor']}, {machine['device']}, "
        f"{counted(machine['cores'], 'core')}",
    )
    yield "Configuration", said["configuration"]
    yield "Took", f"{duration(facts['seconds'])} this time"


def _base(request: Mapping[str, Any]) -> str:
    return short_path(str((request["tuned"] or request["model"])["name"]))


# --- numbers as texts ----------------------------------------------------------------------------


def _score(value: float) -> str:
    return f"{100 * value:.1f}"


def _estimate(facts: Mapping[str, Any]) -> str:
    interval = interval_of(facts["interval"])
    return points(facts["difference"]) + (f" ({span(interval)})" if interval else "")


def _range(values: Any) -> str:
    there = list(values)
    return span((min(there), max(there))) if there else _UNKNOWN

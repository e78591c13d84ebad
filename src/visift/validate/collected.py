"""The verdict on arms that were trained and evaluated elsewhere; see `collect`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visift.errors import InputError
from visift.files import disk_errors, write_atomically
from visift.report.verdict import write_verdict
from visift.validate.collect import collect
from visift.validate.power import power_line
from visift.validate.results import Results
from visift.validate.standing import ArmScore, arm_scores
from visift.validate.statistics import Comparison, compare
from visift.validate.tables import Table, difference, in_markdown, markdown_table
from visift.validate.verdict import (
    SELECTION_SEEDS,
    Verdict,
    caveats,
    points,
    task_line,
    verdicts,
)
from visift.validate.writing import PAGE, REPORT, RESULTS, VERDICT, other

#: The arm that is judged, and what it is judged by: the first of these that is there. `random` has
#: the pool's mixture, `control` that of the selection.
SUBSET, CONTROLS = "subset", ("random", "control")
#: Where the verdict is written, inside the run directory.
FOLDER = "verdict"


@dataclass(frozen=True, slots=True)
class Collected:
    """What was evaluated elsewhere, judged.

    Attributes:
        folder: where it was written.
        results: every score.
        scores: of every arm.
        verdict: on the subset.
        beside: the other arms against the same control.
    """

    folder: Path
    results: Results = field(repr=False)
    scores: tuple[ArmScore, ...]
    verdict: Verdict
    beside: tuple[Comparison, ...]

    @property
    def power(self) -> str:
        """What questions like these can show, as a sentence."""
        _, sizes = np.unique(np.array(self.results.groups, object).astype(str), return_counts=True)
        return power_line(sizes.tolist())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know, one sentence each."""
        all_tasks = "All tasks count: which of them the model can learn at all is not known here."
        missing = [
            f"{arm}: {count:,} answers missing, scored 0"
            for arm, count in self.results.missing().items()
        ]
        here = self.verdict.comparison
        said = [*self.results.notes, all_tasks, *missing, *caveats(here)]
        if here.selection_seeds[1] < SELECTION_SEEDS:
            said.append(
                f"To draw {here.control} anew: visift select as before, with --seed 1 and an "
                f"--output of its own; say whose evaluation it is by a folder {here.control}-sel1."
            )
        return tuple(dict.fromkeys(said))

    def facts(self) -> dict[str, Any]:
        """Return everything that was found, as plain data."""
        return {
            "power": self.power,
            "verdict": self.verdict.facts(),
            "arms": [dataclasses.asdict(score) for score in self.scores],
            "others": [other(one) for one in self.beside],
            "notes": list(self.notes),
        }

    def table(self) -> Table:
        """Return what every arm scored, and its difference to the control."""
        compared = {one.method: one for one in (self.verdict.comparison, *self.beside)}
        head = ("arm", "models", "all", "tasks", f"against {self.verdict.comparison.control}")
        return head, [
            [
                score.arm,
                str(score.models),
                f"{100 * score.micro:.1f}",
                f"{100 * score.macro:.1f}",
                difference(compared[score.arm]) if score.arm in compared else "–",
            ]
            for score in self.scores
        ]

    def task_table(self) -> Table:
        """Return how far the subset is from its control in every task."""
        control = next(one for one in self.scores if one.arm == self.verdict.comparison.control)
        return ("task", control.arm, SUBSET), [
            [task, f"{100 * control.tasks[task]:.1f}", points(estimate.value)]
            for task, estimate in self.verdict.comparison.tasks.items()
        ]


def judge_collected(run_dir: Path, results: Sequence[str], output: Path | None = None) -> Collected:
    """Judge the arms of a run's export by what an evaluator says of them, and write that down.

    Args:
        run_dir: of the selection.
        results: see `collect.collect`.
        output: folder for what is written; `verdict` in the run directory by default.

    Raises:
        InputError: see `collect.collect`; or there is no subset, or nothing to judge it by.
        StorageError: the folder cannot be written.
    """
    found = collect(run_dir, results)
    control = next((name for name in CONTROLS if name in found.arm_names), None)
    if SUBSET not in found.arm_names or control is None:
        raise InputError(
            f"these results are of {', '.join(found.arm_names)}; a verdict needs {SUBSET}, and "
            f"{' or '.join(CONTROLS)}.",
            fix="Name the arm of each: --results subset=PATH --results random=PATH",
        )
    (verdict,) = verdicts(found, [SUBSET], control)
    others = [name for name in found.arm_names if name not in (SUBSET, control)]
    beside = tuple(compare(found, name, control) for name in others)
    folder = run_dir / FOLDER if output is None else output
    done = Collected(folder, found, tuple(arm_scores(found)), verdict, beside)
    _write(done)
    return done


def _write(done: Collected) -> None:
    with disk_errors(done.folder):
        done.folder.mkdir(parents=True, exist_ok=True)
        done.results.save(done.folder / RESULTS)
        found = done.facts()
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(done.folder / VERDICT, f"{text}\n".encode())
        page = "\n".join(_page(done)) + "\n"
        write_atomically(done.folder / PAGE, page.encode())
    write_verdict(found, done.folder / REPORT)


def _page(done: Collected) -> Iterator[str]:
    yield from ("# Verdict", "", done.power, "")
    yield from (f"**{in_markdown(done.verdict.sentence)}**", "")
    if told := task_line(done.verdict.comparison):
        yield from (in_markdown(told), "")
    yield from markdown_table(done.table())
    yield from ("## Tasks", "")
    yield from markdown_table(done.task_table())
    yield from (f"- {in_markdown(note)}" for note in done.notes)

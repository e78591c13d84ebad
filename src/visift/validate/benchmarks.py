"""The same models on public benchmarks, evaluated by lmms-eval and judged as the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from visift.say import Say
from visift.validate.arms import CONTROL
from visift.validate.collect_answers import Model
from visift.validate.evaluator import LmmsEval, read_evaluations
from visift.validate.gathering import Gathered
from visift.validate.judging import beside, equal_pairs
from visift.validate.results import Results
from visift.validate.rounds import control_of
from visift.validate.running import Bench, Trial
from visift.validate.standing import ArmScore, arm_scores
from visift.validate.statistics import Comparison, compare
from visift.validate.verdict import Verdict, verdicts

#: Folder of what lmms-eval writes, inside that of the validation.
FOLDER = "lmms-eval"


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """What came out on benchmarks at one budget; all of their tasks count.

    Attributes:
        budget: as written.
        results: every score.
        scores: of every arm.
        verdicts: of the methods, tested together.
        beside: the other arms against the same control.
        equals: methods against random arms that cost as much.
    """

    budget: str
    results: Results = field(repr=False)
    scores: tuple[ArmScore, ...]
    verdicts: tuple[Verdict, ...]
    beside: tuple[Comparison, ...]
    equals: tuple[Comparison, ...] = ()

    def table(self) -> pa.Table:
        """Return every score, with the budget."""
        table = self.results.table()
        budget = pa.array([self.budget] * table.num_rows, pa.string())
        return table.add_column(0, "budget", budget)

    def facts(self) -> dict[str, Any]:
        """Return what came out, as plain data."""
        return {
            "budget": self.budget,
            "verdicts": [verdict.facts() for verdict in self.verdicts],
            "arms": [dataclasses.asdict(score) for score in self.scores],
        }


def evaluate_all(
    bench: Bench, trials: Sequence[Trial], evaluator: LmmsEval, output: Path, say: Say
) -> list[tuple[Model, Path]]:
    """Run lmms-eval on every model that is not evaluated yet, one after the other.

    Args:
        bench: what the trials have in common.
        trials: all of them; a model whose weights are gone is trained again.
        evaluator: what evaluates.
        output: folder of the validation.
        say: called with (label, text).

    Returns:
        Of every trial, who it is and where its evaluation lies.

    Raises:
        ModelError: lmms-eval failed.
    """
    folders: list[tuple[Model, Path]] = []
    for number, trial in enumerate(trials):
        training, asking = bench.labs()
        tuned = bench.ask(trial, (training, asking)).tuned
        folder = evaluator.folder(output / FOLDER, tuned.path.name)
        if not evaluator.is_done(folder):
            if not tuned.is_trained:
                training.trainings[0].run(bench.devices[:1], training.progress)
            say("Evaluate", f"{number + 1} of {len(trials)} · {trial.arm.name}, seed {trial.seed}")
            evaluator.run(str(tuned.path), folder)
        folders.append((Model(trial.arm.name, trial.arm.seed, trial.seed), folder))
    return folders


def judge_benchmarks(
    gathered: Gathered, methods: Sequence[str], folders: Sequence[tuple[Model, Path]]
) -> Benchmarked:
    """Judge the methods of one budget by what lmms-eval says.

    Args:
        gathered: arms of the budget.
        methods: those to judge, as far as they have an arm.
        folders: evaluations of its trials.
    """
    results = read_evaluations(folders)
    mine = [name for name in methods if name in gathered.names]
    return Benchmarked(
        budget=gathered.ground.budget,
        results=results,
        scores=tuple(arm_scores(results)),
        verdicts=tuple(verdicts(results, mine, CONTROL)) if mine else (),
        beside=tuple(
            compare(results, name, control_of(name)) for name in beside(gathered.names, mine)
        ),
        equals=tuple(compare(results, *pair) for pair in equal_pairs(gathered.names)),
    )

"""What every arm scored on every question: the one table that the statistics read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visift.errors import InputError
from visift.files import disk_errors

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Columns of the tidy table, one row for every answer of every trained model.
COLUMNS = ("arm", "selection_seed", "training_seed", "task", "group", "question", "score")
_MANY = 3


@dataclass(frozen=True, slots=True)
class Results:
    """Scores of R trained models on Q questions, the same for all.

    Attributes:
        arms: (R,) name of the arm that each model was trained on.
        selection_seeds: (R,) of the draw its rows come from.
        training_seeds: (R,) of its training.
        questions: (Q,) name of each question, unique.
        tasks: (Q,) what each belongs to.
        groups: (Q,) image group of each: questions on one image are not independent.
        scores: (R, Q) float64 from 0 to 1; 0 where a reply is missing.
        answered: (R, Q) False where a reply is missing.
        notes: what a reader should know of where they come from, one sentence each.
    """

    arms: tuple[str, ...]
    selection_seeds: IntArray
    training_seeds: IntArray
    questions: tuple[str, ...] = field(repr=False)
    tasks: tuple[str, ...] = field(repr=False)
    groups: tuple[str, ...] = field(repr=False)
    scores: FloatArray = field(repr=False)
    answered: Mask = field(repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def from_columns(
        cls,
        arm: Sequence[str],
        selection_seed: Sequence[int],
        training_seed: Sequence[int],
        task: Sequence[str],
        group: Sequence[str],
        question: Sequence[str],
        score: Sequence[float | None],
        notes: Iterable[str] = (),
    ) -> Self:
        """Put tidy columns together, whatever their order.

        Args:
            arm: (n,) and so on, see `COLUMNS`: one entry for every answer.
            selection_seed: see `Results`.
            training_seed: see `Results`.
            task: see `Results`.
            group: see `Results`.
            question: see `Results`.
            score: from 0 to 1; None or NaN for a missing reply. A question that one model of an
                arm has and another lacks is a missing reply, too.
            notes: see `Results`.

        Raises:
            InputError: a score outside 0 to 1, an answer given twice, a question with two tasks
                or groups, or one that a whole arm lacks.
        """
        seeds = zip(selection_seed, training_seed, strict=True)
        runs, run_of = _coded([(a, int(s), int(t)) for a, (s, t) in zip(arm, seeds, strict=True)])
        names, question_of = _coded(question)
        tasks = _label("task", names, question_of, task)
        groups = _label("group", names, question_of, group)
        given = np.array([np.nan if value is None else value for value in score], np.float64)
        places = run_of * len(names) + question_of
        _must_be_scores(given, runs, names, run_of, question_of)
        _must_be_once(places, runs, names)
        flat = np.full(len(runs) * len(names), np.nan)
        flat[places] = given
        listed = np.zeros(len(flat), np.bool_)
        listed[places] = True
        shape = (len(runs), len(names))
        arms = tuple(run[0] for run in runs)
        _must_be_everywhere(arms, names, listed.reshape(shape))
        scores = flat.reshape(shape)
        return cls(
            arms=arms,
            selection_seeds=np.array([run[1] for run in runs], np.int64),
            training_seeds=np.array([run[2] for run in runs], np.int64),
            questions=tuple(names),
            tasks=tasks,
            groups=groups,
            scores=np.nan_to_num(scores, nan=0.0),
            answered=~np.isnan(scores),
            notes=tuple(notes),
        )

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Return the arms, in the order in which they come first."""
        return tuple(dict.fromkeys(self.arms))

    @property
    def task_names(self) -> tuple[str, ...]:
        """Return the tasks, in order."""
        return tuple(sorted(set(self.tasks)))

    def of_arm(self, arm: str) -> IntArray:
        """Return which models were trained on an arm; raises `InputError` where none was."""
        found = [number for number, name in enumerate(self.arms) if name == arm]
        if not found:
            raise InputError(
                f'there is no arm "{arm}" in these results.',
                fix=f"Arms: {', '.join(self.arm_names)}.",
            )
        return np.array(found, np.int64)

    def missing(self) -> dict[str, int]:
        """Return how many replies each arm lacks, arms that lack none left out."""
        lacks = (~self.answered).sum(axis=1)
        counts = {arm: int(lacks[self.of_arm(arm)].sum()) for arm in self.arm_names}
        return {arm: count for arm, count in counts.items() if count}

    def only(self, tasks: Iterable[str]) -> Self:
        """Return the questions of some tasks.

        Raises:
            InputError: none of the questions belongs to them.
        """
        wanted = set(tasks)
        kept = np.array([task in wanted for task in self.tasks], np.bool_)
        if not kept.any():
            raise InputError("no question is left: none of these tasks counts.")
        places = np.flatnonzero(kept).tolist()
        return type(self)(
            arms=self.arms,
            selection_seeds=self.selection_seeds,
            training_seeds=self.training_seeds,
            questions=tuple(self.questions[at] for at in places),
            tasks=tuple(self.tasks[at] for at in places),
            groups=tuple(self.groups[at] for at in places),
            scores=self.scores[:, kept],
            answered=self.answered[:, kept],
            notes=self.notes,
        )

    def table(self) -> pa.Table:
        """Return the tidy table, see `COLUMNS`; null where a reply is missing."""
        runs, count = len(self.arms), len(self.questions)
        scores = np.where(self.answered, self.scores, np.nan).ravel()
        return pa.table(
            {
                "arm": _repeated(self.arms, count),
                "selection_seed": np.repeat(self.selection_seeds, count),
                "training_seed": np.repeat(self.training_seeds, count),
                "task": _cycled(self.tasks, runs),
                "group": _cycled(self.groups, runs),
                "question": _cycled(self.questions, runs),
                "score": pa.array(scores, from_pandas=True),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table, notes: Iterable[str] = ()) -> Self:
        """Read a tidy table; see `from_columns`."""
        columns: dict[str, Any] = {name: table[name].to_pylist() for name in COLUMNS}
        return cls.from_columns(**columns, notes=notes)

    def save(self, path: Path) -> None:
        """Write the tidy table as parquet; raises `StorageError` if that cannot be."""
        with disk_errors(path):
            pq.write_table(self.table(), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; raises `InputError` if the file holds no such table."""
        try:
            table = pq.read_table(path, columns=list(COLUMNS))
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"holds no results ({reason}).", where=str(path)) from None
        return cls.from_table(table)


def _coded(values: Sequence[Any]) -> tuple[list[Any], IntArray]:
    """Return the distinct values in the order in which they come first, and which each one is."""
    codes: dict[Any, int] = {}
    places = [codes.setdefault(value, len(codes)) for value in values]
    return list(codes), np.array(places, np.int64)


def _label(
    what: str, names: Sequence[str], question_of: IntArray, labels: Sequence[str]
) -> tuple[str, ...]:
    """Return the one label of every question."""
    found: dict[int, str] = {}
    for number, label in zip(question_of.tolist(), labels, strict=True):
        if found.setdefault(number, label) != label:
            raise InputError(
                f'question "{names[number]}" has two {what}s, "{found[number]}" and "{label}".'
            )
    return tuple(found[number] for number in range(len(names)))


def _must_be_scores(
    given: FloatArray,
    runs: Sequence[tuple[str, int, int]],
    names: Sequence[str],
    run_of: IntArray,
    question_of: IntArray,
) -> None:
    wrong = np.flatnonzero((given < 0) | (given > 1))
    if len(wrong):
        at = int(wrong[0])
        raise InputError(
            f'{given[at]:g} is no score: question "{names[question_of[at]]}" of '
            f"{run_name(runs[run_of[at]])}.",
            fix="Scores are from 0 to 1: divide by the largest that can be had.",
        )


def _must_be_once(
    places: IntArray, runs: Sequence[tuple[str, int, int]], names: Sequence[str]
) -> None:
    if len(np.unique(places)) == len(places):
        return
    values, counts = np.unique(places, return_counts=True)
    run, question = divmod(int(values[counts > 1][0]), len(names))
    raise InputError(f'question "{names[question]}" stands twice in {run_name(runs[run])}.')


def _must_be_everywhere(arms: Sequence[str], names: Sequence[str], listed: Mask) -> None:
    """Raise `InputError` where a question is in no model of an arm, and in one of another."""
    for arm in dict.fromkeys(arms):
        of_arm = np.array([name == arm for name in arms])
        absent = np.flatnonzero(~listed[of_arm].any(axis=0))
        if len(absent):
            first = ", ".join(f'"{names[at]}"' for at in absent[:_MANY].tolist())
            raise InputError(
                f'arm "{arm}" lacks {len(absent):,} of {len(names):,} questions that others '
                f"answered (first: {first}).",
                fix="Evaluate every arm on the same questions.",
            )


def run_name(run: tuple[str, int, int]) -> str:
    """Return how a trained model is called in a message."""
    arm, selection, training = run
    return f'arm "{arm}" (selection seed {selection}, training seed {training})'


def _repeated(words: Sequence[str], times: int) -> pa.Array:
    return _words(words, np.repeat(np.arange(len(words)), times))


def _cycled(words: Sequence[str], times: int) -> pa.Array:
    return _words(words, np.tile(np.arange(len(words)), times))


def _words(words: Sequence[str], places: IntArray) -> pa.Array:
    return pa.array(list(words), pa.string()).take(pa.array(places))

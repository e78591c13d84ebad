"""Asking a tuned model about held-out records, and how right it is.

Every answer of a record is a question of its own, asked after the answers that the record gives to
the ones before. The model answers greedily; the metric follows from the task, see `metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visift.models.ref import ModelRef
from visift.signals.given_answers import GivenAnswers
from visift.signals.losses import AnswerLoss
from visift.signals.texts import decoded
from visift.validate.metrics import METRICS, majority_scores, metric_for
from visift.validate.power import power_line
from visift.validate.splitting import Questions


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How models are asked.

    Attributes:
        turns: questions of a record at most; later ones are not asked [ours].
        new_tokens: most tokens of an answer [ours].
        max_tokens: where conversations are cut for the loss, as in training.
    """

    turns: int = 4
    new_tokens: int = 64
    max_tokens: int = 2048

    def answers(self, model: ModelRef | None) -> GivenAnswers:
        """Return what has a model answer."""
        return GivenAnswers(model, self.turns, self.new_tokens)

    def loss(self, model: ModelRef | None) -> AnswerLoss:
        """Return what measures how well a model predicts the right answers."""
        return AnswerLoss(model, max_tokens=self.max_tokens)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The right answers.

    Attributes:
        questions: (Q,) name of each: the uid of its record, and which answer it is.
        tasks: (Q,) task of each.
        groups: (Q,) image group of each.
        truths: (Q,) right answer of each.
        places: (Q, 2) which record of `Questions`, and which of its answers.
        metrics: by task, the name of its metric.
    """

    questions: tuple[str, ...]
    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    truths: tuple[str, ...] = field(repr=False)
    places: NDArray[np.int64] = field(repr=False)
    metrics: Mapping[str, str]

    @classmethod
    def of(cls, questions: Questions, turns: int) -> Sheet:
        """Read the right answers of some records.

        Args:
            questions: the records.
            turns: answers of each at most.
        """
        lines = list(_answers(questions, turns))
        tasks = tuple(questions.tasks[record] for record, _, _, _ in lines)
        truths = tuple(truth for _, _, _, truth in lines)
        by_task: dict[str, list[str]] = {}
        for task, truth in zip(tasks, truths, strict=True):
            by_task.setdefault(task, []).append(truth)
        return cls(
            questions=tuple(name for _, _, name, _ in lines),
            tasks=tasks,
            groups=tuple(str(questions.groups[record]) for record, _, _, _ in lines),
            truths=truths,
            places=np.array([(one, turn) for one, turn, _, _ in lines], np.int64).reshape(-1, 2),
            metrics={task: metric_for(task, right) for task, right in sorted(by_task.items())},
        )

    def __len__(self) -> int:
        return len(self.questions)

    def power(self, methods: int) -> str:
        """Return what these questions can show where so many methods are tested, as a sentence."""
        sizes = list(Counter(self.groups).values())
        return power_line(sizes, methods=max(methods, 1))

    def said(self, answers: NDArray[np.uint8]) -> list[str]:
        """Return the answer to every question.

        Args:
            answers: (n, turns, bytes) of the records, see `GivenAnswers`.
        """
        return decoded(answers[self.places[:, 0], self.places[:, 1]])

    def scores(self, answers: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return (Q,) how right answers are, from 0 to 1; the argument as for `said`."""
        lines = zip(self.said(answers), self.truths, self.tasks, strict=True)
        found = [METRICS[self.metrics[task]](said, truth) for said, truth, task in lines]
        return np.array(found, np.float64)

    def majority(self) -> NDArray[np.float64]:
        """Return (Q,) what one scores who always gives the commonest answer of a task."""
        out = np.zeros(len(self))
        tasks = np.array(self.tasks, object)
        for task, metric in self.metrics.items():
            mine = np.flatnonzero(tasks == task)
            out[mine] = majority_scores(metric, [self.truths[at] for at in mine.tolist()])
        return out


def _answers(questions: Questions, turns: int) -> Iterator[tuple[int, int, str, str]]:
    """Yield (record, turn, name, right answer)."""
    uids = questions.pool.uids(questions.rows)
    for number, record in enumerate(questions.pool.records(questions.rows.tolist())):
        said = [turn.text for turn in record.turns if turn.role == "assistant"][:turns]
        for turn, truth in enumerate(said):
            name = uids[number] if len(said) == 1 else f"{uids[number]}, answer {turn + 1}"
            yield number, turn, name, truth

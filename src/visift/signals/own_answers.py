"""How well a model's own answers agree with those of a record.

The judged quality of necessity form N4 of MLLM-Selector: a model as judge, as in MoDS, is not at
hand where nothing is published, so that the record's answer judges here [ours]. Values of another
judge can be handed in as `answer_quality`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.models.ref import ModelRef
from visift.signals.answering import answering_cost, open_answering
from visift.signals.cost import Cost, Load
from visift.signals.signal import Column, Measure, Unit

if TYPE_CHECKING:
    from visift.models.batch import Conversation

_WORD = re.compile(r"\w+")
_ARTICLES = ("a", "an", "the")


@dataclass(frozen=True, slots=True)
class OwnAnswers:
    """Agreement of greedy answers with the record's, 0 to 1: token F1, the mean over its answers.

    Attributes:
        model: which model.
        new_tokens: most tokens of an answer of its own.
        batch_size: records asked at once; a field because another one may change an answer.
    """

    version: ClassVar[int] = 2
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column("answer_quality", "float32"),)

    model: ModelRef | None
    new_tokens: int = 64
    batch_size: int = 16

    def cost(self, load: Load) -> Cost:
        """Return what records cost, see `answering`."""
        return answering_cost(self.model, self.columns, load, self.new_tokens)

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        return open_answering(
            self.model,
            device,
            self.columns,
            _quality,
            new_tokens=self.new_tokens,
            batch_size=self.batch_size,
        )


def _quality(
    conversations: Sequence[Conversation], answers: Sequence[Sequence[str]]
) -> dict[str, NDArray[Any]]:
    quality = []
    for one, some in zip(conversations, answers, strict=True):
        wanted = [turn.text for turn in one.turns if turn.role == "assistant"]
        quality.append(np.mean([agreement(*pair) for pair in zip(some, wanted, strict=True)]))
    return {"answer_quality": np.array(quality, np.float32)}


def agreement(given: str, expected: str) -> float:
    """Return the token F1 of two answers: words without case, articles and punctuation.

    Two answers without any word agree.
    """
    said, wanted = _words(given), _words(expected)
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _ARTICLES]

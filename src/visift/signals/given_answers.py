"""What a model answers to the questions of a record, as text: what evaluation scores.

Texts are stored rather than scores, so that another metric needs no model, and a report can show
what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.models.ref import ModelRef
from visift.signals.answering import answering_cost, open_answering
from visift.signals.cost import Cost, Load
from visift.signals.signal import Column, Measure, Unit
from visift.signals.texts import encoded

if TYPE_CHECKING:
    from visift.models.batch import Conversation

#: Bytes of UTF-8 that are kept of an answer, for each token it may have [ours].
_BYTES_PER_TOKEN = 6


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """The greedy answers to the first questions of a record; earlier answers are as it gives them.

    Attributes:
        model: which model.
        turns: of how many questions at most.
        new_tokens: most tokens of an answer.
        batch_size: records asked at once; a field because another one may change an answer.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"

    model: ModelRef | None
    turns: int = 1
    new_tokens: int = 64
    batch_size: int = 32

    @property
    def columns(self) -> tuple[Column, ...]:
        """Bytes of UTF-8, zeros behind the end of a text and where there is no further question."""
        shape = (self.turns, _BYTES_PER_TOKEN * self.new_tokens)
        return (Column("given_answers", "uint8", shape),)

    def cost(self, load: Load) -> Cost:
        """Return what records cost, see `answering`."""
        return answering_cost(self.model, self.columns, load, self.new_tokens)

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        width = _BYTES_PER_TOKEN * self.new_tokens

        def judge(
            conversations: Sequence[Conversation], answers: Sequence[Sequence[str]]
        ) -> dict[str, NDArray[Any]]:
            out = np.zeros((len(conversations), self.turns, width), np.uint8)
            for row, some in zip(out, answers, strict=True):
                row[: len(some)] = encoded(some, width)
            return {"given_answers": out}

        return open_answering(
            self.model,
            device,
            self.columns,
            judge,
            new_tokens=self.new_tokens,
            batch_size=self.batch_size,
            turns=self.turns,
        )

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

from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.losses import load_conversation
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

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
        """Return what records cost: reading them, and a step for every token that may be written.

        Operations are those of reading; steps of generation are left out of forwards.
        """
        facts = read_facts(self.model)
        tokens = load.text_tokens + load.images * facts.image_tokens
        return Cost(
            forwards_full=load.items,
            blocks=load.items * (facts.blocks or 0),
            tokens=None if self.model is None else tokens,
            bytes_stored=load.items * (value_bytes(self.columns, None) or 0),
            flops=facts.reading_flops(load.images, tokens, load.items * self.new_tokens),
        )

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        with needs_models():
            from visift.models.asking import own_answers, questions
            from visift.models.batch import Collator
            from visift.models.vlm import VLM

        assert self.model is not None, "identity() asks for it before"
        vlm = VLM.load(self.model, device)
        collate = Collator.of(vlm)
        width = _BYTES_PER_TOKEN * self.new_tokens

        def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
            asked = [questions(collate, one)[: self.turns] for one in conversations]
            flat = [question for some in asked for question in some]
            given = iter(own_answers(vlm, collate, flat, self.new_tokens))
            out = np.zeros((len(asked), self.turns, width), np.uint8)
            for number, some in enumerate(asked):
                for turn in range(len(some)):
                    said = as_bytes(next(given), width)
                    out[number, turn, : len(said)] = said
            return {"given_answers": out}

        def measure(items: Sequence[RecordItem]) -> Values:
            return measure_in_batches(
                items, load_conversation, compute, self.columns, 0, self.batch_size
            )

        return measure


def as_bytes(text: str, width: int) -> NDArray[np.uint8]:
    """Return at most `width` bytes of a text in UTF-8, its last character whole; no zeros."""
    data = text.replace("\0", "").encode("utf-8", "replace")[:width]
    whole = data.decode("utf-8", "ignore").encode()
    return np.frombuffer(whole, np.uint8)


def as_text(data: NDArray[np.uint8]) -> str:
    """Return the text that `as_bytes` gave, zeros behind it."""
    return data.tobytes().rstrip(b"\0").decode("utf-8", "replace")

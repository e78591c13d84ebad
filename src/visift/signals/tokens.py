"""Tokens of a record's text, as a model's own tokeniser counts them.

No special tokens, no template, no image tokens: what a record says, and nothing a trainer adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.models.devices import needs_models
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.pool.record import IMAGE_TAG, Role
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

#: Bytes of text that make about one token, where nobody counted [ours].
BYTES_PER_TOKEN = 4


def estimated_tokens(pool: Pool) -> NDArray[np.int64]:
    """Return (N,) about how many tokens the text of every row has."""
    return np.asarray(-(-pool.index["text_bytes"].to_numpy().astype(np.int64) // BYTES_PER_TOKEN))


@dataclass(frozen=True, slots=True)
class TextTokens:
    """Tokens of all turns.

    Attributes:
        model: whose tokeniser.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column("text_tokens", "int32"),)

    model: ModelRef | None

    def cost(self, load: Load) -> Cost:
        """Return what records cost: no pass through a model."""
        return Cost(bytes_stored=value_bytes(self.columns, None)).times(load.items)

    def open(self, device: str) -> Measure:
        """Load the tokeniser and return what measures a list of records; see `signal.Signal`."""
        return _counting(self.model, "text_tokens", ("system", "user", "assistant"))


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """Tokens of the assistant's turns.

    Attributes:
        model: whose tokeniser.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column("answer_tokens", "int32"),)

    model: ModelRef | None

    def cost(self, load: Load) -> Cost:
        """Return what records cost: no pass through a model."""
        return Cost(bytes_stored=value_bytes(self.columns, None)).times(load.items)

    def open(self, device: str) -> Measure:
        """Load the tokeniser and return what measures a list of records; see `signal.Signal`."""
        return _counting(self.model, "answer_tokens", ("assistant",))


def _counting(model: ModelRef | None, column: str, roles: tuple[Role, ...]) -> Measure:
    with needs_models():
        from visift.models.tokenizer import load_tokenizer

    assert model is not None, "identity() asks for it before"
    count = load_tokenizer(model)

    def measure(items: Sequence[RecordItem]) -> Values:
        turns = [[t.text for t in item.record.turns if t.role in roles] for item in items]
        tokens = count([text.replace(IMAGE_TAG, "") for texts in turns for text in texts])
        sums = np.concatenate([[0], np.cumsum(tokens)])
        ends = np.cumsum([len(texts) for texts in turns])
        starts = ends - [len(texts) for texts in turns]
        return Values({column: (sums[ends] - sums[starts]).astype(np.int32)}, [None] * len(items))

    return measure

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

from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.losses import load_conversation
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

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

        def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
            asked = [questions(collate, one) for one in conversations]
            flat = [question for some in asked for question in some]
            given = iter(own_answers(vlm, collate, flat, self.new_tokens))
            quality = [
                np.mean(
                    [
                        agreement(next(given), turn.text)
                        for turn in one.turns
                        if turn.role == "assistant"
                    ]
                )
                for one in conversations
            ]
            return {"answer_quality": np.array(quality, np.float32)}

        def measure(items: Sequence[RecordItem]) -> Values:
            return measure_in_batches(
                items, load_conversation, compute, self.columns, 0, self.batch_size
            )

        return measure


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

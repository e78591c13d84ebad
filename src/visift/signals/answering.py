"""What signals that have a model answer questions share: what it costs, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.losses import load_conversation
from visift.signals.signal import Column, Measure, RecordItem, Values

if TYPE_CHECKING:
    from visift.models.batch import Conversation

#: Gives the columns of some conversations, (n, *shape) each, from the answers to each of them.
Judge = Callable[[Sequence["Conversation"], Sequence[Sequence[str]]], dict[str, NDArray[Any]]]


def answering_cost(
    model: ModelRef | None,
    columns: Sequence[Column],
    load: Load,
    new_tokens: int,
    asked_tokens: int = 0,
) -> Cost:
    """Return what records cost: reading them, and a step for every token that may be written.

    Operations are those of reading; steps of generation are left out of forwards.

    Args:
        model: that answers.
        columns: of the signal.
        load: the records.
        new_tokens: most tokens of an answer.
        asked_tokens: of what a record is asked beside its own text.
    """
    facts = read_facts(model)
    tokens = load.text_tokens + load.images * facts.image_tokens + load.items * asked_tokens
    return Cost(
        forwards_full=load.items,
        blocks=load.items * (facts.blocks or 0),
        tokens=None if model is None else tokens,
        bytes_stored=load.items * (value_bytes(columns, None) or 0),
        flops=facts.reading_flops(load.images, tokens, load.items * new_tokens),
    )


def open_answering(
    model: ModelRef | None,
    device: str,
    columns: Sequence[Column],
    judge: Judge,
    *,
    new_tokens: int,
    batch_size: int,
    turns: int | None = None,
) -> Measure:
    """Load a model and return what has it answer the questions of records, greedily.

    Args:
        model: that answers.
        device: to load it onto.
        columns: of the signal.
        judge: makes them of the answers.
        new_tokens: most tokens of an answer.
        batch_size: records asked at once.
        turns: of a record's questions the first so many; all by default.
    """
    with needs_models():
        from visift.models.asking import own_answers, questions
        from visift.models.batch import Collator
        from visift.models.vlm import VLM

    assert model is not None, "identity() asks for it before"
    vlm = VLM.load(model, device)
    collate = Collator.of(vlm)

    def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
        asked = [questions(collate, one)[:turns] for one in conversations]
        flat = [question for some in asked for question in some]
        given = iter(own_answers(vlm, collate, flat, new_tokens))
        return judge(conversations, [[next(given) for _ in some] for some in asked])

    def measure(items: Sequence[RecordItem]) -> Values:
        return measure_in_batches(items, load_conversation, compute, columns, 0, batch_size)

    return measure

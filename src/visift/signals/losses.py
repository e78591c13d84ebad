"""How well a model predicts the answers of a record, asked with its images and questions or less.

Used by MLLM-Selector, perplexity, IFD, PreSel and the visual-necessity gain. A loss is the mean of
-log p over all answer tokens of a record, its turns pooled; the mean times `answer_tokens` is their
sum. The end of a turn is an answer token, as in training. All in float32 from the logits on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.errors import VisiftError
from visift.models.conditions import Condition, asked_as, effective
from visift.models.conversation import ConversationError
from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import ItemsAtFault, measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.lengths import batches_by_length, estimate, image_tokens
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

if TYPE_CHECKING:
    from torch import Tensor

    from visift.models.answers import Packing
    from visift.models.batch import Batch, Collator, Conversation
    from visift.models.vlm import VLM

NO_ANSWER = "no answer tokens"

_NAMES: dict[Condition, str] = {
    "given": "nll",
    "no_question": "nll_no_question",
    "no_image": "nll_no_image",
    "answer_only": "nll_answer_only",
}

# Of the tokens of texts, those of answers, where a cost is stated [ours].
ANSWER_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class AnswerLoss:
    """Mean loss of a record's answers under each of some conditions.

    What a record loses at the cut under one condition, its last answer tokens, it loses under all,
    so that losses compare the same tokens.

    Attributes:
        model: which model.
        conditions: what the answers are asked with, see `models.conditions`.
        turns: of how many answers the sums are stored; the last of these takes all further ones.
        max_tokens: longer conversations are cut there, as in training; a record has no loss where
            that would go through its images, or leaves no answer token.
        joined: without questions, all answers of a record are asked for in one turn.
        batch_tokens: estimated tokens a forward pass reads, of the longest condition; a field
            because another number may change last bits.
    """

    version: ClassVar[int] = 2
    unit: ClassVar[Unit] = "record"

    model: ModelRef | None
    conditions: tuple[Condition, ...] = ("given",)
    turns: int = 0
    max_tokens: int = 2048
    joined: bool = False
    batch_tokens: int = 4096

    @property
    def columns(self) -> tuple[Column, ...]:
        """A mean for each condition, and what it is the mean of."""
        names = [_NAMES[condition] for condition in self.conditions]
        columns = [Column(name, "float32") for name in names]
        columns.append(Column("answer_tokens", "int32", extra=True))
        if self.turns:
            shape = (self.turns,)
            columns += [Column(f"{name}_turns", "float32", shape, extra=True) for name in names]
            columns.append(Column("answer_tokens_turns", "int32", shape, extra=True))
        return tuple(columns)

    def cost(self, load: Load) -> Cost:
        """Return what records cost where conditions share what they have in common.

        Half of the text is taken for answers; without questions it is all there is of it.
        """
        facts = read_facts(self.model)
        whole = {"given", "no_image"} & set(self.conditions)
        shown = {"given", "no_question"} & set(self.conditions)
        answers = int(load.text_tokens * ANSWER_SHARE)
        text = len(whole) * load.text_tokens + (len(self.conditions) - len(whole)) * answers
        images = load.images if shown else 0
        tokens = images * facts.image_tokens + text
        return Cost(
            forwards_full=load.items * len(self.conditions),
            blocks=load.items * len(self.conditions) * (facts.blocks or 0),
            tokens=None if self.model is None else tokens,
            bytes_stored=load.items * (value_bytes(self.columns, None) or 0),
            flops=facts.reading_flops(images, tokens, answers * len(self.conditions)),
        )

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        with needs_models():
            from visift.models.answers import why_not_packed
            from visift.models.batch import Collator
            from visift.models.vlm import VLM

        assert self.model is not None, "identity() asks for it before"
        vlm = VLM.load(self.model, device)
        collate = Collator.of(vlm)
        packs = len(self.conditions) > 1 and why_not_packed(vlm, collate) is None
        packing: Packing = "if less work" if packs else "never"
        per_image = image_tokens(vlm)

        def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
            answers = _ask(self, vlm, collate, packing, conversations)
            return values(self, [_alike(some) for some in answers])

        def measure(items: Sequence[RecordItem]) -> Values:
            lengths = [min(estimate(item, per_image), self.max_tokens) for item in items]
            batches = batches_by_length(lengths, self.batch_tokens)
            return measure_in_batches(
                items, load_conversation, compute, self.columns, 0, 1, batches
            )

        return measure


def conversation_of(item: RecordItem) -> Conversation:
    """Return a record with its images decoded; raises `ImageError`."""
    from visift.models.batch import Conversation

    return Conversation(item.record.turns, tuple(image.load() for image in item.images))


def load_conversation(item: RecordItem) -> Conversation:
    """Return a record with its images decoded; raises `VisiftError` for one without an answer."""
    if not any(turn.role == "assistant" for turn in item.record.turns):
        raise ConversationError(NO_ANSWER)
    return conversation_of(item)


# --- asking --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer tokens of a conversation, as asked for in one way.

    Attributes:
        losses: (t,) float32, -log p of each.
        turns: (t,) which answer each belongs to, from 0 on.
        lost: further ones that were cut off.
    """

    losses: NDArray[np.float32]
    turns: NDArray[np.int64]
    lost: int

    def without_last(self, lost: int) -> Answers:
        """Return them with so many lost altogether, but never all."""
        kept = max(len(self.losses) + self.lost - lost, 1)
        return Answers(self.losses[:kept], self.turns[:kept], lost)


def _ask(
    signal: AnswerLoss,
    vlm: VLM,
    collate: Collator,
    packing: Packing,
    conversations: Sequence[Conversation],
) -> list[list[Answers]]:
    """Return the answers of every conversation under every condition."""
    from visift.models.answers import Asked, answer_losses, asking

    ways: dict[Condition, list[int]] = {}
    for condition in signal.conditions:
        for number, one in enumerate(conversations):
            rows = ways.setdefault(effective(condition, one), [])
            rows += [number] * (number not in rows)
    with asking(vlm):
        batches = {
            way: collated(
                collate, {n: asked_as(conversations[n], way, signal.joined) for n in rows}
            )
            for way, rows in ways.items()
        }
        refuse(signal.max_tokens, [(ways[way], batch) for way, batch in batches.items()])
        asked = [
            Asked(batch.cut(signal.max_tokens), tuple(ways[way])) for way, batch in batches.items()
        ]
        losses = answer_losses(vlm, asked, packing)
    found = {
        (way, number): _answers(tokens, batch.turns[row])
        for (way, batch), some in zip(batches.items(), losses, strict=True)
        for row, (number, tokens) in enumerate(zip(ways[way], some, strict=True))
    }
    return [
        [found[effective(condition, one), number] for condition in signal.conditions]
        for number, one in enumerate(conversations)
    ]


def collated(collate: Collator, conversations: Mapping[int, Conversation]) -> Batch:
    """Return inputs of some conversations by number; raises `ItemsAtFault` where it knows which."""
    try:
        return collate(list(conversations.values()))
    except ConversationError:
        errors: dict[int, VisiftError] = {}
        for number, one in conversations.items():
            try:
                collate.rendering(one)
            except ConversationError as error:
                errors[number] = error
        if errors:
            raise ItemsAtFault(errors) from None
        raise


def refuse(max_tokens: int, batches: Sequence[tuple[Sequence[int], Batch]]) -> None:
    """Raise where conversations have no loss under one of the conditions.

    Args:
        max_tokens: where conversations are cut.
        batches: of every condition: which conversations, and their inputs.

    Raises:
        ItemsAtFault: names them.
    """
    from visift.models.batch import beyond

    errors: dict[int, VisiftError] = {}
    for numbers, batch in batches:
        answered = batch.answers[:, 1:max_tokens].any(dim=1)
        through = batch.cut_off(max_tokens)
        for row, number in enumerate(numbers):
            if bool(through[row]):
                errors[number] = ConversationError(beyond(max_tokens))
            elif not bool(answered[row]):
                errors.setdefault(number, ConversationError(NO_ANSWER))
    if errors:
        raise ItemsAtFault(errors)


def _answers(losses: Tensor, turns: Tensor) -> Answers:
    """Return answers from the losses of the tokens kept, and the turns of all tokens of a row."""
    marked = turns[1:][turns[1:] >= 0].numpy()
    return Answers(losses.numpy(), marked[: len(losses)], len(marked) - len(losses))


# --- values --------------------------------------------------------------------------------------


def _alike(some: Sequence[Answers]) -> list[Answers]:
    """Return the answers of one record under all conditions, the same last ones lost of each."""
    lost = max(one.lost for one in some)
    return [one.without_last(lost) for one in some]


def values(signal: AnswerLoss, records: Sequence[Sequence[Answers]]) -> dict[str, NDArray[Any]]:
    """Return the columns of some records, from their answers under each condition."""
    arrays: dict[str, NDArray[Any]] = {"answer_tokens": _counts([some[0] for some in records])}
    for number, condition in enumerate(signal.conditions):
        means = [some[number].losses.mean(dtype=np.float64) for some in records]
        arrays[_NAMES[condition]] = np.array(means, np.float32)
    if signal.turns:
        for number, condition in enumerate(signal.conditions):
            sums = [by_turn(some[number], signal.turns, some[number].losses) for some in records]
            arrays[f"{_NAMES[condition]}_turns"] = np.array(sums, np.float32)
        ones = [by_turn(some[0], signal.turns, np.ones(len(some[0].turns))) for some in records]
        arrays["answer_tokens_turns"] = np.array(ones, np.int32)
    return arrays


def _counts(answers: Sequence[Answers]) -> NDArray[np.int32]:
    return np.array([len(one.losses) for one in answers], np.int32)


def by_turn(answers: Answers, turns: int, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return (turns,) sums of what each answer token weighs; the last takes all further answers."""
    slots = np.minimum(answers.turns, turns - 1)
    return np.asarray(np.bincount(slots, weights, minlength=turns), np.float64)

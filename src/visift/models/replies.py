"""How a model's own template and tokenizer write one of a few short replies, and what ends them.

Found by writing them: nothing is taken from the name of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from visift.models.batch import Batch, Collator, Conversation
from visift.models.remembering import replaced
from visift.models.vlm import VLM, import_transformers
from visift.pool.record import Turn

_QUESTION = Turn("user", "Which one?")


@dataclass(frozen=True, slots=True)
class Replies:
    """Replies that differ in one token.

    Attributes:
        texts: r replies.
        lead: tokens between the prompt and the one that differs: a blank in some templates.
        tokens: (r,) the one that differs.
        offset: where it stands, counted from the first token of the answer in a `Batch`.
        written: the r replies to a question without images, as inputs.
    """

    texts: tuple[str, ...]
    lead: tuple[int, ...]
    tokens: tuple[int, ...]
    offset: int
    written: Batch

    def spots(self, batch: Batch) -> Tensor:
        """Return (n,) where in each row the token stands that tells replies apart."""
        return batch.answers.int().argmax(dim=1) + self.offset

    def stands(self, batch: Batch) -> Tensor:
        """Return (n,) bool, whether the first reply is written in each row as it is here."""
        steps = torch.arange(-len(self.lead), 1)
        there = (self.spots(batch).unsqueeze(1) + steps).clamp(0, batch.turns.shape[1] - 1)
        found = batch.inputs["input_ids"].gather(1, there)
        return (found == torch.tensor([*self.lead, self.tokens[0]])).all(dim=1)


def replied(conversation: Conversation, text: str) -> Conversation:
    """Return a conversation with a reply at its end."""
    return Conversation((*conversation.turns, Turn("assistant", text)), conversation.images)


def find_replies(collate: Collator, texts: Sequence[str]) -> Replies | None:
    """Return how a model writes some replies; None where they differ in more than a token.

    Or where the prompt does not begin the whole conversation token by token, so that what is
    generated from it is written otherwise than in training.

    Args:
        collate: of the model.
        texts: at least two replies.
    """
    tokenizer = collate.processor.tokenizer
    talks = [replied(Conversation((_QUESTION,)), text) for text in texts]
    (prompt,) = collate.template.prompts(talks[0].turns)
    head = _rows(collate.tensors(tokenizer, [prompt]))[0]
    batch = collate(talks)
    rows = _rows(batch.inputs)
    if any(row[: len(head)] != head for row in rows):
        return None
    tails = [row[len(head) :] for row in rows]
    spot = next((i for i, some in enumerate(zip(*tails, strict=False)) if len(set(some)) > 1), None)
    if spot is None or len({tuple(tail[spot + 1 :]) for tail in tails}) > 1:
        return None
    lead, tokens = tuple(tails[0][:spot]), tuple(tail[spot] for tail in tails)
    said = [tokenizer.decode([*lead, token], skip_special_tokens=True).strip() for token in tokens]
    starts = set(batch.answers.int().argmax(dim=1).tolist())
    if said != list(texts) or len(starts) > 1:
        return None
    return Replies(tuple(texts), lead, tokens, len(head) + spot - starts.pop(), batch)


def _rows(inputs: dict[str, Tensor]) -> list[list[int]]:
    """Return the tokens of each row, padding left out."""
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return [row[:n] for row, n in zip(inputs["input_ids"].tolist(), lengths, strict=True)]


def ends_of_turn(vlm: VLM, collate: Collator) -> frozenset[int]:
    """Return the tokens that end a reply: the model's own, and what its template writes there."""
    batch = collate([replied(Conversation((_QUESTION,)), "Yes")])
    written = int(batch.inputs["input_ids"][batch.answers][-1])
    own = vlm.model.generation_config.eos_token_id
    return frozenset({written, *([] if own is None else [own] if isinstance(own, int) else own)})


@contextmanager
def plain_greedy(vlm: VLM, ends: frozenset[int]) -> Iterator[None]:
    """While it lasts, generation is the likeliest token each time, up to one of some ends.

    What else a model's files ask of generation, a penalty for what was said before for example,
    does not count: it would forbid a digit that the question names.
    """
    words = vlm.processor.tokenizer
    config = import_transformers().GenerationConfig(
        eos_token_id=sorted(ends),
        pad_token_id=min(ends) if words.pad_token_id is None else words.pad_token_id,
        bos_token_id=words.bos_token_id,
    )
    with replaced(vlm.model, "generation_config", config):
        yield

"""What a model makes of a whole record: its last hidden states, averaged over all tokens.

Used by RDS+ (arXiv 2503.01807). Later tokens have seen more and weigh more: the t-th of T tokens
weighs t. Tokens of images count like those of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.models.conversation import ConversationError
from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import ItemsAtFault, measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.lengths import batches_by_length, estimate, image_tokens
from visift.signals.losses import collated, conversation_of
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

if TYPE_CHECKING:
    from torch import Tensor

    from visift.models.batch import Batch, Collator, Conversation
    from visift.models.vlm import VLM

HIDDEN = "hidden_mean"


@dataclass(frozen=True, slots=True)
class HiddenMean:
    """h = sum over t of t h_t / sum of t, t = 1 to T: the mean of what comes out of the last norm.

    Attributes:
        model: which model.
        max_tokens: longer conversations are cut there; a record has no value where that would go
            through its images.
        batch_tokens: estimated tokens a forward pass reads; a field because another number may
            change last bits.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (Column(HIDDEN, "float16", (None,), scaled=True),)

    model: ModelRef | None
    max_tokens: int = 2048
    batch_tokens: int = 4096

    def cost(self, load: Load) -> Cost:
        """Return what records cost: a forward pass each, no logits."""
        facts = read_facts(self.model)
        tokens = load.images * facts.image_tokens + load.text_tokens
        width = value_bytes(self.columns, facts.width)
        return Cost(
            forwards_full=load.items,
            blocks=load.items * (facts.blocks or 0),
            tokens=None if self.model is None else tokens,
            bytes_stored=None if width is None else load.items * width,
            flops=facts.reading_flops(load.images, tokens, 0),
        )

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        with needs_models():
            from visift.models.batch import Collator
            from visift.models.vlm import VLM

        assert self.model is not None, "identity() asks for it before"
        vlm = VLM.load(self.model, device)
        collate, per_image = Collator.of(vlm), image_tokens(vlm)

        def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
            batch = _cut(collate, conversations, self.max_tokens)
            return {HIDDEN: hidden_means(vlm, batch)}

        def measure(items: Sequence[RecordItem]) -> Values:
            lengths = [min(estimate(item, per_image), self.max_tokens) for item in items]
            batches = batches_by_length(lengths, self.batch_tokens)
            return measure_in_batches(
                items, conversation_of, compute, self.columns, vlm.width, 1, batches
            )

        return measure


def _cut(collate: Collator, conversations: Sequence[Conversation], max_tokens: int) -> Batch:
    """Return the inputs of some conversations, cut; raises `ItemsAtFault` where it knows which."""
    from visift.models.batch import beyond

    batch = collated(collate, dict(enumerate(conversations)))
    too_long = np.flatnonzero(batch.cut_off(max_tokens).numpy()).tolist()
    if too_long:
        raise ItemsAtFault({number: ConversationError(beyond(max_tokens)) for number in too_long})
    return batch.cut(max_tokens)


def hidden_means(vlm: VLM, batch: Batch) -> NDArray[np.float32]:
    """Return h, (n, d) float32, of n conversations.

    Args:
        vlm: the model.
        batch: their inputs.
    """
    import torch

    from visift.models.vlm import one_cpu_thread

    states = vlm.hidden_states(batch.inputs, len(vlm.blocks))
    there = batch.inputs["attention_mask"].bool()
    means = np.empty((len(states), states.shape[-1]), np.float32)
    with torch.inference_mode(), one_cpu_thread():
        final = vlm.receiver(len(vlm.blocks))(states)
        for mean, sequence, mask in zip(means, final, there, strict=True):
            mean[:] = weighted_mean(sequence[mask.to(sequence.device)]).cpu().numpy()
    return means


def weighted_mean(states: Tensor) -> Tensor:
    """Return (d,) float32, the mean of (T, d) hidden states; the t-th weighs t."""
    import torch

    weights = torch.arange(1, len(states) + 1, dtype=torch.float32, device=states.device)
    return (weights @ states.float()) / weights.sum()

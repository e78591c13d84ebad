"""The gradient of a record's own loss over the low-rank factors of a tuned model.

Used by TIVE (arXiv 2403.09559), GraNd, LESS and ICONS. The loss is that of the answer tokens, ends
of turn included, given images and questions, as in training; nothing is dropped out. No state of
an optimiser enters, unless `adam` says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError, ModelError
from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.lengths import batches_by_length, estimate, image_tokens
from visift.signals.losses import ANSWER_SHARE, collated, load_conversation, refuse
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

if TYPE_CHECKING:
    from visift.models.batch import Batch, Collator, Conversation
    from visift.models.gradients import RecordGradients
    from visift.models.projection import Projection

Reduction = Literal["mean", "sum"]
Kind = Literal["sparse", "rademacher", "none"]

#: Entries up to which whole gradients are stored.
MOST_WHOLE = 65_536

#: Tokens of a batch on a processor: more leave its caches, and long records are padded for nothing.
MOST_CPU_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class LoraGradient:
    """Norm and projected direction of a record's gradient.

    `grad_projection` is P g / |g|, so that times `grad_norm` it is the published P g, with P of
    signs and no factor 1/sqrt(k): its entries are about 1 whatever the gradient, which float16
    holds. Inner products of two of them, divided by k, are the cosine of the gradients up to the
    error of the projection; those of whole gradients, whose entries are scaled by sqrt(D), are it
    exactly. The direction of a gradient that is zero is zero.

    Attributes:
        model: an adapter in peft's format on its base, or a model tuned here with LoRA.
        params: a regular expression that is found in the names of the layers whose factors count.
        reduction: `mean` over the answer tokens, as published, favours short answers; or `sum`.
        projection: `sparse` (one sign in a column of P [ours]), `rademacher` (signs throughout, as
            published; much more work for the same error), or `none`: norms alone.
        proj_dim: k; 0 stores whole gradients where they have at most `MOST_WHOLE` entries.
        proj_seed: of P.
        max_tokens: longer conversations are cut there, see `losses.AnswerLoss`.
        batch_tokens: estimated tokens of a batch; a field because another number may change last
            bits.
        checkpoint: of several that the training kept, which one, from 1 on; 0 is the model as it
            is named.
        adam: in place of a gradient the step that Adam would take on it, in the state that the
            training kept [paper: LESS].
    """

    version: ClassVar[int] = 2
    unit: ClassVar[Unit] = "record"

    model: ModelRef | None
    params: str = "self_attn"
    reduction: Reduction = "mean"
    projection: Kind = "sparse"
    proj_dim: int = 8192
    proj_seed: int = 0
    max_tokens: int = 2048
    batch_tokens: int = 2048
    checkpoint: int = 0
    adam: bool = False

    def __post_init__(self) -> None:
        for name, options in (("reduction", Reduction), ("projection", Kind)):
            if getattr(self, name) not in get_args(options):
                raise InputError(
                    f'unknown {name} "{getattr(self, name)}".',
                    fix=f"One of: {', '.join(get_args(options))}.",
                )
        if self.proj_dim < 0:
            raise InputError(f"proj_dim is {self.proj_dim}: a number from 0 on was expected.")
        try:
            re.compile(self.params)
        except re.error as error:
            raise InputError(f'params "{self.params}" is no regular expression: {error}.') from None

    @property
    def columns(self) -> tuple[Column, ...]:
        """Norm, direction unless there is no projection, and how many tokens were predicted."""
        norm = Column("grad_norm", "float32")
        direction = Column("grad_projection", "float16", (self.proj_dim or None,))
        count = Column("answer_tokens", "int32", extra=True)
        return (norm, count) if self.projection == "none" else (norm, direction, count)

    def cost(self, load: Load) -> Cost:
        """Return what records cost: a forward and a backward pass each.

        Frozen weights have no gradients, so that backward is as much as forward. What the factors
        and the projection add is left out: a few in a hundred, but for `rademacher`.
        """
        facts = read_facts(self.model)
        tokens = load.images * facts.image_tokens + load.text_tokens
        answers = int(load.text_tokens * ANSWER_SHARE)
        forward = facts.reading_flops(load.images, tokens, answers)
        back = facts.reading_flops(0, tokens, answers)
        size = value_bytes(self.columns, None)
        return Cost(
            forwards_full=load.items,
            backwards=load.items,
            blocks=load.items * (facts.blocks or 0),
            tokens=None if self.model is None else tokens,
            bytes_stored=None if size is None else load.items * size,
            flops=None if forward is None or back is None else forward + back,
        )

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`.

        Raises:
            ModelError: the model has no low-rank factors of that name, or its training kept no such
                checkpoint.
            InputError: whole gradients are wanted that are too long.
        """
        with needs_models():
            from visift.models.batch import Collator
            from visift.models.gradients import Factors, record_gradients
            from visift.models.kept import Adam
            from visift.models.vlm import VLM

        model = self._opened()
        vlm = VLM.load(model, device, merge=False)
        factors = Factors.find(vlm, self.params)
        factors.merge_others(vlm)
        projection = self._projection(factors.sizes(), device)
        adam = Adam.read(model.folder(), factors.sizes(), device) if self.adam else None
        collate, per_image = Collator.of(vlm), image_tokens(vlm)
        most = self.batch_tokens
        if device == "cpu" and self.projection != "rademacher":  # which is drawn for every batch
            most = min(most, MOST_CPU_TOKENS)
        width = 0 if projection is None else projection.width

        def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
            batch = _batch(self, collate, conversations)
            found = record_gradients(vlm, factors, batch, self.reduction, projection, adam)
            return self._arrays(batch, found, width)

        def measure(items: Sequence[RecordItem]) -> Values:
            lengths = [min(estimate(item, per_image), self.max_tokens) for item in items]
            batches = batches_by_length(lengths, most)
            return measure_in_batches(
                items, load_conversation, compute, self.columns, width, 1, batches
            )

        return measure

    def _opened(self) -> ModelRef:
        """Return the model, or that of its checkpoints that is wanted."""
        from visift.models.kept import kept_in

        model = self.model
        assert model is not None, "identity() asks for it before"
        if not self.checkpoint:
            return model
        folder = kept_in(model.folder(), self.checkpoint)
        if not folder.is_dir():
            raise ModelError(
                f"kept no checkpoint {self.checkpoint} of its training.",
                where=model.name,
                fix="Tune it in more steps, or ask for fewer checkpoints.",
            )
        return ModelRef(
            str(folder),
            dtype=model.dtype,
            device=model.device,
            trust_remote_code=model.trust_remote_code,
        )

    def _arrays(self, batch: Batch, found: RecordGradients, width: int) -> dict[str, NDArray[Any]]:
        """Return all columns of a batch."""
        counts = batch.answers[:, 1:].sum(dim=1).numpy()
        arrays: dict[str, NDArray[Any]] = {"grad_norm": found.norms, "answer_tokens": counts}
        if found.directions is not None:
            scale = width**0.5 if self.proj_dim == 0 else 1.0
            arrays["grad_projection"] = found.directions * np.float32(scale)
        return arrays

    def _projection(self, sizes: dict[str, int], device: str) -> Projection | None:
        from visift.models.projection import Rademacher, Sparse, Whole

        if self.projection == "none":
            return None
        if self.proj_dim == 0:
            if (entries := sum(sizes.values())) > MOST_WHOLE:
                raise InputError(
                    f"whole gradients have {entries:,} entries here, more than {MOST_WHOLE:,}.",
                    fix="Project them, with proj_dim 8192 for example.",
                )
            return Whole.of(sizes)
        if self.projection == "rademacher":
            return Rademacher(self.proj_dim, self.proj_seed)
        return Sparse.draw(sizes, self.proj_dim, self.proj_seed, device)


def _batch(signal: LoraGradient, collate: Collator, conversations: Sequence[Conversation]) -> Batch:
    """Return the inputs of some records; raises `ItemsAtFault` for those without a gradient."""
    whole = collated(collate, dict(enumerate(conversations)))
    refuse(signal.max_tokens, [(range(len(conversations)), whole)])
    return whole.cut(signal.max_tokens)

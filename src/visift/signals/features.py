"""The MLLM's own visual features: what an early block receives, averaged over image tokens.

Used by PRISM (arXiv 2502.12119). The image stands first in a fixed prompt without a question, so
a value depends on the image and the model's system prompt alone [ours].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.signal import Column, ImageItem, Measure, Unit, Values

if TYPE_CHECKING:
    from visift.models.vlm import VLM

Pooling = Literal["mean", "last"]


@dataclass(frozen=True, slots=True)
class VisualFeatures:
    """F_i: hidden states of the visual tokens of image i at the input of a block, pooled.

    Attributes:
        model: which model.
        layer: 0 is the input of the language model, L what its final norm receives; the forward
            pass stops there.
        pool: `mean` over the image tokens, or the `last` of them.
        batch_size: images a forward pass; a field because another one may change last bits.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "image"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("visual_feature", "float16", (None,), scaled=True),
    )

    model: ModelRef | None
    layer: int = 2
    pool: Pooling = "mean"
    batch_size: int = 16

    def cost(self, load: Load) -> Cost:
        """Return what images cost: vision tower, projector and the first `layer` blocks."""
        facts = read_facts(self.model)
        whole = facts.blocks == self.layer
        one = Cost(
            forwards_partial=int(not whole),
            forwards_full=int(whole),
            blocks=self.layer,
            tokens=None if self.model is None else facts.image_tokens,
            bytes_stored=value_bytes(self.columns, facts.width),
            flops=facts.forward_flops(self.layer),
        )
        return one.times(load.items)

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of images; see `signal.Signal`."""
        with needs_models():
            from visift.models.vlm import VLM

        assert self.model is not None, "identity() asks for it before"
        vlm = VLM.load(self.model, device)
        vlm.receiver(self.layer)

        def compute(images: list[Image.Image]) -> dict[str, NDArray[Any]]:
            return {"visual_feature": visual_features(vlm, images, self.layer, self.pool)}

        def measure(items: Sequence[ImageItem]) -> Values:
            return measure_in_batches(
                items, _load, compute, self.columns, vlm.width, self.batch_size
            )

        return measure


def _load(item: ImageItem) -> Image.Image:
    return item.load()


def visual_features(
    vlm: VLM, images: Sequence[Image.Image], layer: int, pool: Pooling
) -> NDArray[np.float32]:
    """Return F, (n, d) float32, for n images.

    Args:
        vlm: the model.
        images: n RGB images of any sizes.
        layer: index of the block whose input is read.
        pool: `mean` over image tokens, or the `last` one.

    Raises:
        ModelError: the model has no such layer.
    """
    from visift.models.vlm import one_cpu_thread

    inputs = vlm.image_inputs(images)
    positions = vlm.image_positions(inputs)
    states = vlm.hidden_states(inputs, layer)
    features = np.empty((len(images), states.shape[-1]), np.float32)
    with one_cpu_thread():
        for feature, sequence, mask in zip(features, states, positions, strict=True):
            tokens = sequence[mask.to(states.device)].float()
            feature[:] = (tokens.mean(dim=0) if pool == "mean" else tokens[-1]).cpu().numpy()
    return features

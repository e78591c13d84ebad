"""Embeddings of images by an encoder that looks at images alone.

One unit vector an image: DINOv2-base's class token after the final norm unless another encoder is
named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from numpy.typing import NDArray
from PIL import Image

from visift.errors import InputError
from visift.models.devices import needs_models
from visift.models.encoder_facts import DINOV2_BASE, Pooling, read_encoder_facts
from visift.models.ref import BUILTIN_TINY, ModelRef
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.signal import Column, ImageItem, Measure, Unit, Values

EMBEDDING = "image_embedding"
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ImageEmbedding:
    """The unit vector of each image.

    Attributes:
        model: which encoder, see `encoder_for`.
        pooling: what of its output is the vector, see `ImageEncoder.load`.
        batch_size: images a forward pass; a field because another one may change last bits.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "image"
    columns: ClassVar[tuple[Column, ...]] = (Column(EMBEDDING, "float16", (None,)),)

    model: ModelRef | None
    pooling: Pooling = "auto"
    batch_size: int = 16

    def cost(self, load: Load) -> Cost:
        """Return what images cost: one pass through the encoder each."""
        facts = read_encoder_facts(self.model)
        stored = value_bytes(self.columns, facts.width)
        one = Cost(forwards_full=1, bytes_stored=stored, flops=facts.flops)
        return one.times(load.items)

    def open(self, device: str) -> Measure:
        """Load the encoder and return what measures a list of images; see `signal.Signal`."""
        with needs_models():
            from visift.models.encoders import ImageEncoder

        assert self.model is not None, "identity() asks for it before"
        encoder = ImageEncoder.load(self.model, device, self.pooling)

        def compute(images: list[Image.Image]) -> dict[str, NDArray[Any]]:
            return {EMBEDDING: encoder.embed(images)}

        def measure(items: Sequence[ImageItem]) -> Values:
            return measure_in_batches(
                items, _load, compute, self.columns, encoder.width, self.batch_size
            )

        return measure


def _load(item: ImageItem) -> Image.Image:
    return item.load()


def encoder_for(encoder: str, model: ModelRef | None) -> ModelRef:
    """Return the encoder that a parameter names.

    Args:
        encoder: a folder, a hub id (`name@revision`) or `builtin:tiny`; `auto` is DINOv2-base, and
            beside the bundled toy model that model's own vision tower.
        model: the vision-language model of the run, whose device is taken.

    Raises:
        InputError: the toy's tower beside another model: then nothing would say that the ranking
            means nothing.
    """
    toy = model is not None and model.is_toy
    name = encoder if encoder != AUTO else BUILTIN_TINY if toy else DINOV2_BASE
    found = ModelRef.parse(name)
    if found.is_toy and not toy:
        raise InputError(
            f"the encoder {BUILTIN_TINY} is the tower of the bundled toy model.",
            fix=f"Name a real one (--set encoder={DINOV2_BASE}), or try it with that model: "
            f"--model {BUILTIN_TINY}",
        )
    return found if model is None else replace(found, device=model.device)

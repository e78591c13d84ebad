"""Any image encoder of transformers: one vector an image.

Loaded through `AutoModel` and `AutoImageProcessor`, so that no family needs code of its own here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from visift.errors import ModelError
from visift.models.encoder_facts import Pooling
from visift.models.ref import ModelRef
from visift.models.vlm import import_transformers, one_cpu_thread

#: What architectures call the parameters of tokens that stand before the patches.
_CLASS_TOKEN = "cls_token"
_FIRST_TOKENS = (_CLASS_TOKEN, "class_embedding", "distillation_token", "register_tokens")
_FIX = "Name an image encoder: facebook/dinov2-base, or a ViT, CLIP or SigLIP."


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """A loaded encoder and its image processor.

    Attributes:
        name: as the user gave it.
        model: in evaluation mode, on its device; of a model of images and text, its vision part.
        processor: of images.
        pooling: what of its output is the vector of an image, see `load`; never `auto`.
        width: d.
    """

    name: str
    model: Any
    processor: Any
    pooling: Pooling
    width: int

    @classmethod
    def load(cls, ref: ModelRef, device: str, pooling: Pooling = "auto") -> ImageEncoder:
        """Load an encoder onto a device and see that it takes an image.

        Args:
            ref: an encoder (DINOv2, ViT, ...), a model of images and text with an encoder that
                stands for itself (CLIP, SigLIP), or `builtin:tiny`, whose vision tower is taken.
            device: `cpu`, `cuda:0`, `mps`.
            pooling: `cls`: the class token after the final norm; `pooled`: the model's own
                `pooler_output`; `mean`: the mean of all patches. `auto` is `cls` where there is a
                class token of that name (DINOv2, DINOv3, ViT), `mean` for the tower of
                `builtin:tiny`, which learnt with patches alone, and `pooled` for all others (CLIP,
                SigLIP, Swin, ConvNeXt).

        Raises:
            ModelError: the folder holds no image encoder that transformers can load, some of the
                weights it needs are missing, or it gives no such output.
        """
        model, processor, missing = _from_pretrained(ref)
        pooling = _settled(ref, model, pooling)
        needed = [key for key in missing if pooling == "pooled" or not _is_pooler(key)]
        if needed:
            raise ModelError(
                f"its files lack the weights of {len(needed)} tensors, {needed[0]} among them.",
                where=ref.name,
                fix="Random numbers would stand for them: download or save the model again"
                + (", or: --set pooling=cls" if all(map(_is_pooler, needed)) else "."),
            )
        encoder = cls(ref.name, model.to(device).eval(), processor, pooling, 0)
        try:
            (gray,) = encoder.embed([Image.new("RGB", (64, 64), "gray")])
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"cannot encode an image ({type(error).__name__}: {error}).",
                where=ref.name,
                fix=_FIX,
            ) from error
        return cls(ref.name, encoder.model, processor, pooling, len(gray))

    def embed(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return (n, d) float32, unit vectors; NaN where a vector has no direction.

        Args:
            images: n RGB images of any sizes.
        """
        with torch.inference_mode(), one_cpu_thread():
            inputs = self.processor(images=list(images), return_tensors="pt")
            outputs = self.model(**inputs.to(self.model.device, dtype=self.model.dtype))
            vectors = self._vectors(outputs).float()
            unit = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
            return np.asarray(unit.cpu().numpy())

    def _vectors(self, outputs: Mapping[str, Any]) -> Tensor:
        """Return (n, d), what `pooling` says of a model's outputs."""
        wanted = "pooler_output" if self.pooling == "pooled" else "last_hidden_state"
        found: Tensor | None = outputs.get(wanted)
        if found is None:
            raise ModelError(
                f"gives no {wanted}.", where=self.name, fix="Try another: --set pooling=mean"
            )
        if self.pooling == "pooled":
            return torch.flatten(found, 1)
        if found.ndim == 4:  # (n, d, height, width), as convolutional networks give it
            found = found.flatten(2).transpose(1, 2)
        first = _first_tokens(self.model)
        return found[:, 0] if self.pooling == "cls" else found[:, first:].mean(dim=1)


def _from_pretrained(ref: ModelRef) -> tuple[Any, Any, list[str]]:
    """Return an encoder, on the CPU, its processor, and what its files lack of it.

    Raises:
        ModelError: it cannot be loaded, or encodes no images by itself.
    """
    transformers, folder = import_transformers(), ref.folder()
    options: dict[str, Any] = {"trust_remote_code": ref.trust_remote_code}
    dtype: torch.dtype = getattr(torch, ref.resolved_dtype())
    try:
        whole, found = transformers.AutoModel.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **options
        )
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **options)
    except Exception as error:  # a folder of any content meets any part of transformers
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(
            f"cannot be loaded as an image encoder ({type(error).__name__}: {reason}).",
            where=ref.name,
            fix="It needs a config.json, weights and an image processor in transformers' format.",
        ) from error
    part = "vision_tower" if ref.is_toy else "vision_model"
    inside = isinstance(getattr(whole, part, None), nn.Module)
    model = getattr(whole, part) if inside else whole
    if getattr(model, "main_input_name", "") != "pixel_values":
        raise ModelError(
            f"is no image encoder: a {type(whole).__name__} reads more than images.",
            where=ref.name,
            fix=_FIX,
        )
    if getattr(model.config, "mask_ratio", 0):
        raise ModelError("hides parts of an image at random.", where=ref.name, fix=_FIX)
    prefix = f"{part}." if inside else ""
    missing = sorted(key for key in found["missing_keys"] if key.startswith(prefix))
    return model, processor, [key.removeprefix(prefix) for key in missing]


def _settled(ref: ModelRef, model: nn.Module, pooling: Pooling) -> Pooling:
    """Return what `auto` stands for; see `ImageEncoder.load`."""
    has_class = any(name.endswith(_CLASS_TOKEN) for name, _ in model.named_parameters())
    if pooling == "cls" and not (has_class or _first_tokens(model)):
        raise ModelError(
            "has no class token.", where=ref.name, fix="Try another: --set pooling=mean"
        )
    if pooling != "auto":
        return pooling
    if ref.is_toy:
        return "mean"
    return "cls" if has_class else "pooled"


def _first_tokens(model: nn.Module) -> int:
    """Return how many tokens stand before the patches: class, distillation, registers."""
    return sum(
        parameter.numel() // parameter.shape[-1]
        for name, parameter in model.named_parameters()
        if name.endswith(_FIRST_TOKENS)
    )


def _is_pooler(key: str) -> bool:
    return "pooler" in key.split(".")

"""Any vision-language model of transformers, as signals need it.

Loaded through `AutoModelForImageTextToText` and `AutoProcessor`; what architectures share is found
by looking (image positions, decoder blocks), so that no family needs code of its own here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from visift.errors import ModelError
from visift.models.loading import from_pretrained
from visift.models.loading import import_transformers as import_transformers
from visift.models.ref import ModelRef

# What architectures call the list of their blocks, and the norm after the last of them.
_BLOCKS = ("layers", "blocks", "h")
_FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "embedding_norm")
_FIX = "Choose a model that reads images as tokens: LLaVA, Qwen-VL, SmolVLM, ..."


class Stop(Exception):
    """Ends a forward pass where nothing after it is wanted."""


@dataclass(frozen=True, slots=True)
class VLM:
    """A loaded model and its processor.

    Attributes:
        name: as the user gave it.
        model: in evaluation mode, on its device.
        processor: tokenizer and image processor in one.
    """

    name: str
    model: Any
    processor: Any

    @classmethod
    def load(cls, ref: ModelRef, device: str, *, merge: bool = True) -> VLM:
        """Load a model onto a device and see that it takes an image.

        Args:
            ref: a model, or an adapter of one.
            device: `cpu`, `cuda:0`, `mps`.
            merge: whether the low-rank factors of an adapter become part of the weights; otherwise
                they stay beside them, in float32.

        Raises:
            ModelError: the folder holds no image-text model that transformers can load, some of
                its weights are missing, or its template drops images.
        """
        model, processor = from_pretrained(ref, merge=merge)
        vlm = cls(ref.name, model.to(device).eval(), processor)
        vlm._must_take_an_image()
        return vlm

    def _must_take_an_image(self) -> None:
        """Find out before the first item whether prompts come with image tokens at all."""
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise ModelError(
                "has an encoder and a decoder: it reads images and questions apart from answers.",
                where=self.name,
                fix=_FIX,
            )
        self.receiver(len(self.blocks))
        try:
            inputs = self.image_inputs([Image.new("RGB", (64, 64), "gray")])
        except Exception as error:
            raise ModelError(
                f"its processor refuses a prompt with one image ({type(error).__name__}: {error}).",
                where=self.name,
                fix="See that its chat template writes an image token for every image.",
            ) from error
        self.image_positions(inputs)

    # --- the decoder ---------------------------------------------------------------------------

    @property
    def decoder(self) -> nn.Module:
        """The language model inside: blocks and final norm."""
        found: nn.Module = self.model.get_decoder()
        # Llama 4 answers with a language model that still has its head on.
        return found if _find(found, _BLOCKS) else getattr(found, "model", found)

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder's L blocks."""
        found = _find(self.decoder, _BLOCKS)
        if not isinstance(found, nn.ModuleList):
            raise ModelError("its decoder blocks were not found.", where=self.name)
        return found

    @property
    def width(self) -> int:
        """Width d of the hidden states between blocks."""
        return int(self.model.config.get_text_config().hidden_size)

    def receiver(self, layer: int) -> nn.Module:
        """Return what F(layer) is the input of: block `layer`, or for layer = L the final norm.

        Raises:
            ModelError: the model has fewer blocks.
        """
        count = len(self.blocks)
        if not 0 <= layer <= count:
            raise ModelError(
                f"layer {layer} of a model with {count} blocks.",
                where=self.name,
                fix=f"Choose a layer from 0 to {count}.",
            )
        if layer < count:
            return self.blocks[layer]
        norm = _find(self.decoder, _FINAL_NORMS)
        if norm is None:
            raise ModelError("its final norm was not found.", where=self.name)
        return norm

    # --- inputs --------------------------------------------------------------------------------

    @property
    def image_token(self) -> int:
        """Id that marks image positions in `input_ids`, which the processor has expanded."""
        for owner in (self.model.config, self.processor):
            for name in ("image_token_id", "image_token_index"):
                token = getattr(owner, name, None)
                if token is not None:
                    return int(token)
        raise ModelError("its configuration names no image token.", where=self.name)

    def image_prompt(self) -> str:
        """Return the question-free prompt with one image first, in the model's own template."""
        if self.processor.chat_template is None:
            return f"{self.processor.image_token}\n"
        message = [{"role": "user", "content": [{"type": "image"}]}]
        return str(self.processor.apply_chat_template(message, tokenize=False))

    def image_inputs(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Return model inputs for n images, one a sequence, padded on the right, on the CPU."""
        prompt = self.image_prompt()
        options: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
        begin = self.processor.tokenizer.bos_token
        if begin and prompt.startswith(begin):
            # Written by the template: the tokenizer must not put it there once more.
            options["add_special_tokens"] = False
        with one_cpu_thread():
            inputs = self.processor(
                images=[[image] for image in images], text=[prompt] * len(images), **options
            )
        return dict(inputs)

    # --- forward -------------------------------------------------------------------------------

    def moved(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """Return inputs on the model's device, floats in its dtype."""
        device, dtype = self.model.device, self.model.dtype
        return {name: _moved(value, device, dtype) for name, value in inputs.items()}

    def hidden_states(self, inputs: dict[str, Tensor], layer: int) -> Tensor:
        """Return what block `layer` receives, (n, length, d); no later block runs.

        Args:
            inputs: of n sequences.
            layer: 0 is the input of the language model, L what the final norm receives.
        """
        seen: list[Tensor] = []

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append(args[0] if args else kwargs["hidden_states"])
            raise Stop

        hook = self.receiver(layer).register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with torch.inference_mode(), one_cpu_thread():
                self.model(**self.moved(inputs), use_cache=False)
        except Stop:
            return seen[0]
        finally:
            hook.remove()
        raise ModelError(f"layer {layer} was never reached.", where=self.name)

    def image_positions(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return (n, length) bool, True where a token stands for a part of an image.

        Raises:
            ModelError: a sequence holds no image token (the template drops images), or one that
                stands for no features: the decoder looks at images by cross-attention.
        """
        if "cross_attention_mask" in inputs:
            raise ModelError(
                "looks at images by cross-attention, so no token stands for a part of one.",
                where=self.name,
                fix=_FIX,
            )
        mask = inputs["input_ids"] == self.image_token
        if not bool(mask.any(dim=1).all()):
            raise ModelError(
                "its chat template gave a prompt without image tokens.",
                where=self.name,
                fix="See that it writes an image token for every image.",
            )
        return mask


@contextmanager
def one_cpu_thread() -> Iterator[None]:
    """Compute with one thread, so that values do not depend on how many workers share the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _moved(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Move one input, or a list of them: images of several sizes without a batch axis."""
    if isinstance(value, (list, tuple)):
        return [_moved(one, device, dtype) for one in value]
    if not isinstance(value, Tensor):
        return value
    return value.to(device, dtype) if value.is_floating_point() else value.to(device)


def _find(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    parts = (getattr(module, name, None) for name in names)
    return next((part for part in parts if isinstance(part, nn.Module)), None)

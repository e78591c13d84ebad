"""Any vision-language model of transformers, as signals need it.

Loaded through `AutoModelForImageTextToText` and `AutoProcessor`; what architectures share is found
by looking (image positions, decoder blocks), so that no family needs code of its own here.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from visift.errors import ModelError
from visift.models.ref import ModelRef

_MAX_MISSING_OPS = 8


class _Stop(Exception):
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
    def load(cls, ref: ModelRef, device: str) -> VLM:
        """Load a model onto a device.

        Raises:
            ModelError: the folder holds no image-text model that transformers can load.
        """
        _quiet_libraries()
        _tolerate_torchvision_without_ops()
        from transformers import AutoModelForImageTextToText, AutoProcessor

        folder = ref.folder()
        options: dict[str, Any] = {"trust_remote_code": ref.trust_remote_code}
        try:
            processor = AutoProcessor.from_pretrained(folder, **options)
            model = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=getattr(torch, ref.identity()["dtype"]), **options
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"cannot be loaded as an image-text model ({type(error).__name__}: {reason}).",
                where=ref.name,
                fix="It needs a config.json, weights and a processor in transformers' format.",
            ) from error
        _set_padding(ref.name, processor)
        return cls(ref.name, model.to(device).eval(), processor)

    # --- the decoder ---------------------------------------------------------------------------

    @property
    def decoder(self) -> nn.Module:
        """The language model inside: blocks and final norm."""
        decoder: nn.Module = self.model.get_decoder()
        return decoder

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder's L blocks."""
        for name in ("layers", "blocks", "h"):
            found = getattr(self.decoder, name, None)
            if isinstance(found, nn.ModuleList):
                return found
        raise ModelError("its decoder blocks were not found.", where=self.name)

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
        for name in ("norm", "final_layernorm", "ln_f", "final_layer_norm"):
            found = getattr(self.decoder, name, None)
            if isinstance(found, nn.Module):
                return found
        raise ModelError("its final norm was not found.", where=self.name)

    # --- inputs --------------------------------------------------------------------------------

    @property
    def image_token(self) -> int:
        """Id that marks image positions in `input_ids`, which the processor has expanded."""
        config = self.model.config
        for name in ("image_token_id", "image_token_index"):
            token = getattr(config, name, None)
            if token is not None:
                return int(token)
        raise ModelError("its configuration names no image token.", where=self.name)

    def image_prompt(self) -> str:
        """Return the question-free prompt with one image first, in the model's own template."""
        if self.processor.chat_template is None:
            return f"{self.processor.image_token}\n"
        message = [{"role": "user", "content": [{"type": "image"}]}]
        return str(self.processor.apply_chat_template(message))

    def image_inputs(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Return model inputs for n images, one a sequence, padded on the right, on the CPU."""
        text = [self.image_prompt()] * len(images)
        nested = [[image] for image in images]
        inputs = self.processor(images=nested, text=text, padding=True, return_tensors="pt")
        return dict(inputs)

    # --- forward -------------------------------------------------------------------------------

    def hidden_states(self, inputs: dict[str, Tensor], layer: int) -> Tensor:
        """Return what block `layer` receives, (n, length, d); no later block runs.

        Args:
            inputs: of n sequences.
            layer: 0 is the input of the language model, L what the final norm receives.
        """
        seen: list[Tensor] = []

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append(args[0] if args else kwargs["hidden_states"])
            raise _Stop

        hook = self.receiver(layer).register_forward_pre_hook(stop, with_kwargs=True)
        device, dtype = self.model.device, self.model.dtype
        moved = {
            name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
            for name, value in inputs.items()
        }
        try:
            with torch.inference_mode(), one_cpu_thread():
                self.model(**moved, use_cache=False)
        except _Stop:
            return seen[0]
        finally:
            hook.remove()
        raise ModelError(f"layer {layer} was never reached.", where=self.name)

    def image_positions(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return (n, length) bool, True where a token stands for a part of an image.

        Raises:
            ModelError: a sequence holds no image token (the template drops images).
        """
        mask = inputs["input_ids"] == self.image_token
        if not bool(mask.any(dim=1).all()):
            raise ModelError("its template gave a prompt without image tokens.", where=self.name)
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


def _set_padding(name: str, processor: Any) -> None:
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise ModelError("its processor has no tokenizer.", where=name)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def _quiet_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module=r"(transformers|huggingface_hub|torch)\b.*")


def _tolerate_torchvision_without_ops() -> None:
    """Let a torchvision that was built for another torch be imported.

    Its compiled operators are missing then, and its import fails where it describes one of them,
    which takes all of transformers down. Image processors need none of these operators, so the
    missing names are declared, without a kernel, until the import goes through.
    """
    for _ in range(_MAX_MISSING_OPS):
        try:
            importlib.import_module("torchvision")
        except ImportError:
            return
        except RuntimeError as error:
            missing = re.search(r"operator (torchvision::\w+) does not exist", str(error))
            if missing is None:
                raise
            torch.library.define(missing.group(1), "(Tensor a, Tensor b, float c) -> Tensor")
        else:
            return

"""What a model's files say of its size: read from headers and configuration, nothing is loaded."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from visift.models.ref import ModelRef

#: Tokens an image becomes where the configuration does not say: LLaVA-1.5's number [ours].
ASSUMED_IMAGE_TOKENS = 576

#: Models that cut an image into as many tiles as its shape asks for, whatever is configured.
_TILING = ("llava_next", "llava_next_video", "llava_onevision")

_PARTS = {
    "projector": re.compile(r"projector|connector|merger|aligner|resampler"),
    "vision": re.compile(r"vision|visual|image_encoder"),
    "blocks": re.compile(r"(?:^|\.)(?:layers|blocks|h)\.(\d+)\."),
    "head": re.compile(r"lm_head|embed_out"),
    "embedding": re.compile(r"embed_tokens|wte|tok_embeddings|embed_in"),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of a vision-language model; None where its files do not say.

    Attributes:
        blocks: L, blocks of the language model.
        width: d, of the hidden states between them.
        image_tokens: tokens an image becomes in the language model.
        assumed: whether `image_tokens` is `ASSUMED_IMAGE_TOKENS`.
        patches: tokens an image becomes in the vision tower.
        vision: parameters of the vision tower.
        projector: parameters between it and the language model.
        language: parameters of all blocks of the language model.
        head: parameters of the output layer.
    """

    blocks: int | None = None
    width: int | None = None
    image_tokens: int = ASSUMED_IMAGE_TOKENS
    assumed: bool = True
    patches: int | None = None
    vision: int | None = None
    projector: int | None = None
    language: int | None = None
    head: int | None = None

    def forward_flops(self, layer: int) -> int | None:
        """Return the operations of one image on its way to the input of block `layer`."""
        if self.language is None or not self.blocks or self.projector is None:
            return None
        seen = (self.vision or 0) * (self.patches or self.image_tokens)
        read = (self.projector + self.language * layer // self.blocks) * self.image_tokens
        return 2 * (seen + read)

    def reading_flops(self, images: int, tokens: int, predicted: int) -> int | None:
        """Return the operations of a pass to the end.

        Args:
            images: that are encoded.
            tokens: that go through the language model, those of images among them.
            predicted: tokens whose logits are made.
        """
        encoded = self.forward_flops(0)
        if self.language is None or encoded is None:
            return None
        return images * encoded + 2 * (self.language * tokens + (self.head or 0) * predicted)

    def training_flops(self, tokens: int) -> int | None:
        """Return the operations of training the language model on tokens: 6 for a parameter."""
        if self.language is None:
            return None
        return 6 * (self.language + (self.head or 0)) * tokens


def read_facts(ref: ModelRef | None) -> ModelFacts:
    """Return what a model's files say; nothing of a model that was not named.

    Of a hub id whose weights are not here only the configuration is fetched.

    Raises:
        ModelError: there is no such model.
    """
    if ref is None:
        return ModelFacts()
    folder = ref.config_folder()
    config, text = _configurations(folder)
    sizes, blocks, width = _parameters(folder)
    patches = _patches(config.get("vision_config"))
    tokens = config.get("image_seq_length")
    if tokens is None and config.get("model_type") == "llava":
        tokens = patches
    if config.get("model_type") in _TILING:
        tokens = None
    return ModelFacts(
        blocks=blocks or _whole(text, "num_hidden_layers"),
        width=width or _whole(text, "hidden_size"),
        image_tokens=tokens if isinstance(tokens, int) else ASSUMED_IMAGE_TOKENS,
        assumed=not isinstance(tokens, int),
        patches=patches,
        vision=sizes["vision"] if sizes else None,
        projector=sizes["projector"] if sizes else None,
        language=sizes["blocks"] if sizes else None,
        head=(sizes["head"] or sizes["embedding"]) if sizes else None,
    )


def context_tokens(ref: ModelRef | None) -> int | None:
    """Return the longest input a model was made for; None where its configuration does not say.

    Raises:
        ModelError: there is no such model.
    """
    if ref is None:
        return None
    return _whole(_configurations(ref.config_folder())[1], "max_position_embeddings")


def _configurations(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return the configuration of a model, and that of its language model."""
    config = _json_object(folder / "config.json")
    return config, next((config[k] for k in ("text_config", "llm_config") if k in config), config)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # loading says what is wrong with it
    return plain if isinstance(plain, dict) else {}


def _whole(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name) if isinstance(config, dict) else None
    return value if isinstance(value, int) else None


def _patches(vision: Any) -> int | None:
    image, patch = _whole(vision, "image_size"), _whole(vision, "patch_size")
    return (image // patch) ** 2 if image and patch else None


def _parameters(folder: Path) -> tuple[Counter[str], int | None, int | None]:
    """Return parameters by part (none without safetensors), and blocks and width where seen."""
    sizes: Counter[str] = Counter()
    blocks: set[str] = set()
    width = None
    for name, shape in _tensors(folder):
        part, found = _part_of(name)
        sizes[part] += prod(shape)
        if part == "blocks" and found is not None:
            blocks.add(found.group(1))
        if part == "embedding" and len(shape) == 2:
            width = shape[1]
    return (sizes if blocks else Counter()), len(blocks) or None, width


def _part_of(name: str) -> tuple[str, re.Match[str] | None]:
    for part, pattern in _PARTS.items():
        found = pattern.search(name)
        if found is not None:
            return part, found
    return "other", None


def _weight_files(folder: Path) -> list[Path]:
    """Return the files that loading reads: others, such as a copy in one piece, are left alone."""
    whole = folder / "model.safetensors"
    if whole.is_file():
        return [whole]
    index = _json_object(folder / "model.safetensors.index.json").get("weight_map")
    if isinstance(index, dict):
        return sorted({folder / str(name) for name in index.values()})
    return sorted(folder.glob("*.safetensors"))


def _tensors(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield name and shape of every tensor of a model's safetensors files, from their headers."""
    for path in _weight_files(folder):
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(min(length, path.stat().st_size)))
        except (OSError, ValueError, struct.error):
            continue  # loading says what is wrong with it
        entries = header.items() if isinstance(header, dict) else ()
        yield from ((name, entry["shape"]) for name, entry in entries if "shape" in entry)

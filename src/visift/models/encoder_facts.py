"""What an image encoder's files say of its size: read from configuration, nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from visift.models.ref import ModelRef

#: What of an encoder's output is the vector of an image, see `ImageEncoder.load`.
Pooling = Literal["auto", "cls", "pooled", "mean"]

DINOV2_BASE = "facebook/dinov2-base"
#: As its configuration and processor on the hub say, so that planning asks no hub for the default.
_DINOV2_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "mlp_ratio": 4, "patch_size": 14}
_DINOV2_BASE_SIDE = 224

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """Sizes of an image encoder; None where its files do not say.

    Attributes:
        width: d, of its vectors.
        tokens: patches of an image, and the class token.
        parameters: of its blocks: attention and the two layers after it.
    """

    width: int | None = None
    tokens: int | None = None
    parameters: int | None = None

    @property
    def flops(self) -> int | None:
        """Operations of one image."""
        if self.tokens is None or self.parameters is None:
            return None
        return 2 * self.parameters * self.tokens


def read_encoder_facts(ref: ModelRef | None) -> EncoderFacts:
    """Return what an encoder's files say; nothing of one that was not named.

    Of a hub id whose weights are not here only the configuration is fetched, of the default not
    even that.

    Raises:
        ModelError: there is no such model.
    """
    if ref is None:
        return EncoderFacts()
    folder = ref.here()
    if folder is None and ref.name == DINOV2_BASE:
        return _facts(_DINOV2_BASE, _DINOV2_BASE_SIDE)
    folder = folder or ref.config_folder()
    config = _json_object(folder / "config.json")
    vision = config.get("vision_config")
    vision = vision if isinstance(vision, dict) else config
    return _facts(vision, _side(folder) or _whole(vision, "image_size"))


def _facts(config: Mapping[str, Any], side: int | None) -> EncoderFacts:
    width, blocks = _whole(config, "hidden_size"), _whole(config, "num_hidden_layers")
    patch = _whole(config, "patch_size")
    inner = _whole(config, "intermediate_size")
    if inner is None and width and isinstance(config.get("mlp_ratio"), int | float):
        inner = int(width * config["mlp_ratio"])
    parameters = blocks * width * (4 * width + 2 * inner) if blocks and width and inner else None
    tokens = (side // patch) ** 2 + 1 if side and patch else None
    return EncoderFacts(width, tokens, parameters)


def _side(folder: Path) -> int | None:
    """Return the side in pixels to which an encoder's processor brings images."""
    for name in _PROCESSORS:
        said = _json_object(folder / name)
        said = said.get("image_processor", said)
        for size in (said.get("crop_size"), said.get("size")):
            side = _whole(size, "height") if isinstance(size, dict) else size
            if isinstance(side, int):
                return side
    return None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # loading says what is wrong with it
    return plain if isinstance(plain, dict) else {}


def _whole(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) else None

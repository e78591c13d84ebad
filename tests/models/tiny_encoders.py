"""Tiny random image encoders of real families, saved as folders that transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.parts import torch
from visift.models.vlm import import_transformers

transformers = import_transformers()

SIDE, PATCH, WIDTH = 28, 7, 32
_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
_IMAGES = {"image_size": SIDE, "patch_size": PATCH}
_VISION = {**_SIZES, **_IMAGES, "intermediate_size": 64}
_TEXT = {**_SIZES, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 20}

#: name -> (model class, configuration class, its sizes, image processor class).
ENCODERS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "dinov2": ("Dinov2Model", "Dinov2Config", {**_SIZES, **_IMAGES}, "BitImageProcessor"),
    "dinov2_registers": (
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersConfig",
        {**_SIZES, **_IMAGES, "num_register_tokens": 3},
        "BitImageProcessor",
    ),
    "dinov3": ("DINOv3ViTModel", "DINOv3ViTConfig", _VISION, "DINOv3ViTImageProcessor"),
    "vit": ("ViTModel", "ViTConfig", _VISION, "ViTImageProcessor"),
    "vit_classifier": ("ViTForImageClassification", "ViTConfig", _VISION, "ViTImageProcessor"),
    "vit_msn": ("ViTMSNModel", "ViTMSNConfig", _VISION, "ViTImageProcessor"),
    "vit_mae": ("ViTMAEModel", "ViTMAEConfig", _VISION, "ViTImageProcessor"),
    "clip_vision": ("CLIPVisionModel", "CLIPVisionConfig", _VISION, "CLIPImageProcessor"),
    "siglip_vision": ("SiglipVisionModel", "SiglipVisionConfig", _VISION, "SiglipImageProcessor"),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {"vision_config": _VISION, "text_config": _TEXT, "projection_dim": 8},
        "CLIPImageProcessor",
    ),
    "siglip": (
        "SiglipModel",
        "SiglipConfig",
        {"vision_config": _VISION, "text_config": _TEXT},
        "SiglipImageProcessor",
    ),
    "convnext": (
        "ConvNextModel",
        "ConvNextConfig",
        {"hidden_sizes": [8, 8, 16, WIDTH], "depths": [1, 1, 1, 1]},
        "ConvNextImageProcessor",
    ),
}  # fmt: skip


def save_encoder(name: str, folder: Path) -> Path:
    """Save the tiny encoder of a family with its processor."""
    kind, config, sizes, processor = ENCODERS[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**sizes))
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    options: dict[str, Any] = {"size": size}
    if processor in ("BitImageProcessor", "CLIPImageProcessor"):
        options = {"size": {"shortest_edge": SIDE + 4}, "crop_size": size}
    if processor == "ConvNextImageProcessor":
        options = {"size": {"shortest_edge": 2 * SIDE}, "crop_pct": 1.0}
    getattr(transformers, processor)(**options).save_pretrained(folder)
    return folder

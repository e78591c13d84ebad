"""Adapters of the tiny models of all families: random factors, A and B, saved as training does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from models.parts import torch
from visift.models.ref import ModelRef
from visift.models.vlm import VLM
from visift.training.recipe import TINY_LORA
from visift.training.saving import save_model
from visift.training.weights import mark

RECIPE = dataclasses.replace(TINY_LORA, projector=False, lora_rank=4, lora_alpha=4)


def save_adapter(base: Path | str, folder: Path) -> ModelRef:
    """Save low-rank factors of a model, none of them zero, and name them."""
    ref = ModelRef(str(base), dtype="float32")
    torch.manual_seed(1)
    trained = mark(VLM.load(ref, "cpu"), RECIPE)
    with torch.no_grad():
        for name, weight in trained.named().items():
            weight.normal_(std=0.1 if ".lora_B." in name else 0.3)
    save_model(trained, ref, folder)
    return ModelRef(str(folder), dtype="float32")

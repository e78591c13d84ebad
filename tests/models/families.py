"""Tiny random models of real families, saved as folders that transformers loads.

Only sizes differ from the originals: architecture, processor, special tokens and the shape of the
chat template are the family's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models import llava_families, other_families, qwen_families
from models.parts import BLOCKS, torch

__all__ = ["BLOCKS", "FAMILIES", "WITHOUT_IMAGE_TOKENS", "Family", "save"]


@dataclass(frozen=True)
class Family:
    """How to build one model, and the packages its processor cannot do without."""

    build: Callable[[], tuple[Any, Any]]
    needs: tuple[str, ...] = ()


FAMILIES = {
    "llava": Family(llava_families.llava),
    "llava_next": Family(llava_families.llava_next),
    "llava_onevision": Family(llava_families.llava_onevision, ("torchvision",)),
    "qwen2_vl": Family(qwen_families.qwen2_vl, ("torchvision",)),
    "qwen2_5_vl": Family(qwen_families.qwen2_5_vl, ("torchvision",)),
    "qwen3_vl": Family(qwen_families.qwen3_vl, ("torchvision",)),
    "idefics3": Family(other_families.idefics3),
    "smolvlm": Family(other_families.smolvlm, ("torchvision", "num2words")),
    "internvl": Family(llava_families.internvl, ("torchvision",)),
    "paligemma": Family(other_families.paligemma),
    "gemma3": Family(other_families.gemma3),
}

#: Reads images by cross-attention: image tokens stand for no features.
WITHOUT_IMAGE_TOKENS = {"mllama": Family(other_families.mllama)}


def save(name: str, folder: Path) -> Path:
    """Save the tiny model of a family with its processor; skip the test where that cannot be."""
    family = (FAMILIES | WITHOUT_IMAGE_TOKENS)[name]
    for package in family.needs:
        _require(name, package)
    torch.manual_seed(0)
    model, processor = family.build()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _require(name: str, package: str) -> None:
    """Skip the test unless a package that the family's processor needs is there."""
    try:
        importlib.import_module(package)
    except ImportError:
        pytest.skip(f"the processor of {name} needs {package}, which is not installed")

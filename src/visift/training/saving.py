"""What a finished training leaves: folders that load like any model, or adapter."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from visift.models.kept import OPTIMIZER
from visift.models.ref import ModelRef
from visift.models.vlm import import_transformers
from visift.training.job import Moment
from visift.training.recipe import Recipe
from visift.training.weights import Trained, moments


def save_model(trained: Trained, base: ModelRef, folder: Path) -> None:
    """Write a tuned model: its factors and what else is trained, or all of it, and its processor.

    An adapter names its base as the user did, unless that is a folder, by its path.
    """
    folder.mkdir(parents=True)
    if trained.adapter is None:
        trained.model.save_pretrained(folder)
        # Training changes it: no cache of keys and values, for example.
        shutil.copyfile(base.parts()[0] / "config.json", folder / "config.json")
    else:
        is_folder = Path(base.name).is_dir()
        config = trained.adapter.peft_config["default"]
        config.base_model_name_or_path = os.path.abspath(base.name) if is_folder else base.name  # noqa: PTH100
        config.revision = base.resolved_revision()
        # Embeddings are never trained here; peft would ask the hub whether they were.
        trained.adapter.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # a card without anything in it
    processor = import_transformers().AutoProcessor.from_pretrained(
        base.parts()[0], trust_remote_code=base.trust_remote_code
    )
    processor.save_pretrained(folder)


def save_state(
    trained: Trained, optimizer: torch.optim.Optimizer, base: ModelRef, folder: Path
) -> None:
    """Write a tuned model with the state of its optimiser; whole or not there."""
    part = folder.with_name(f"{folder.name}.part")
    for left in (part, folder):
        shutil.rmtree(left, ignore_errors=True)
    save_model(trained, base, part)
    save_file(moments(trained, optimizer), part / OPTIMIZER)
    sync_tree(part)
    part.rename(folder)


def moments_of_rates(kept: Sequence[int], steps: int, recipe: Recipe) -> tuple[Moment, ...]:
    """Return the learning rates at the checkpoints that are kept.

    Args:
        kept: steps after which they were taken, ascending.
        steps: of the whole training.
        recipe: with the schedule.
    """
    rates = [recipe.rate * recipe.rate_share(step, steps) for step in range(steps)]
    found, before = [], 0
    for step in kept:
        mean = sum(rates[before:step]) / (step - before)
        found.append(Moment(step, rates[step - 1], mean))
        before = step
    return tuple(found)


def sync_tree(folder: Path) -> None:
    """Have the disk hold all files below a folder, and the names of all of them."""
    for path, _, files in os.walk(folder):
        for name in [*files, "."]:
            _sync(Path(path) / name)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def versions() -> dict[str, Any]:
    """Return the versions of the libraries that training goes through."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")}

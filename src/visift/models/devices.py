"""What this machine can compute on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from visift.errors import ModelError

#: Packages that `visift[models]` brings and the core does without.
_MODEL_PACKAGES = (
    "torch",
    "transformers",
    "huggingface_hub",
    "safetensors",
    "tokenizers",
    "peft",
    "accelerate",
)


@contextmanager
def needs_models() -> Iterator[None]:
    """Around imports of torch, transformers and huggingface_hub, which a bare install lacks.

    Raises:
        ModelError: one of them is not installed, with what to do.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _MODEL_PACKAGES:
            raise
        raise ModelError(
            "this needs torch and transformers.", fix='pip install "visift[models]"'
        ) from error


def available(preference: str = "auto") -> tuple[str, ...]:
    """Return the devices to measure on, one a worker in turn.

    Args:
        preference: `auto` (all CUDA devices, else MPS, else the CPU), `cuda` (all of them),
            `cuda:N`, `mps` or `cpu`.

    Raises:
        ModelError: the preferred device is not there, or torch is not installed.
    """
    with needs_models():
        import torch

    cuda = tuple(f"cuda:{n}" for n in range(torch.cuda.device_count()))
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    known = {"auto": cuda or mps or ("cpu",), "cuda": cuda, "mps": mps, "cpu": ("cpu",)}
    known |= {name: (name,) for name in cuda}
    if not known.get(preference):
        here = ", ".join((*cuda, *mps, "cpu"))
        raise ModelError(f'no device "{preference}" on this machine.', fix=f"There are: {here}.")
    return known[preference]


def default_dtype(preference: str) -> str:
    """Return the dtype that `auto` stands for: bfloat16 on CUDA, else float32."""
    return "bfloat16" if available(preference)[0].startswith("cuda") else "float32"


def cpu_count() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

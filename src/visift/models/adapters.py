"""Adapters: what fine-tuning adds to a model, saved beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visift.errors import ModelError
from visift.models.devices import needs_models


def with_adapter(model: Any, folder: Path, *, merge: bool) -> Any:
    """Return a model with an adapter on it.

    Args:
        model: of transformers, as the adapter's base comes; it is changed.
        folder: of the adapter, in peft's format.
        merge: whether low-rank factors are added to the weights, or stay beside them.

    Raises:
        ModelError: the adapter does not fit, or peft is not installed.
    """
    with needs_models():
        import peft
    try:
        # A whole module that was trained keeps its own dtype.
        adapted = peft.PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)
        return adapted.merge_and_unload() if merge else adapted.get_base_model()
    except Exception as error:  # an adapter of any content meets a model of any kind
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(
            f"does not fit onto its base ({type(error).__name__}: {reason}).",
            where=str(folder),
            fix="Name the folder that peft saved, with the base it was trained on.",
        ) from error

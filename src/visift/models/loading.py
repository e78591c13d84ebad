"""Models out of folders in transformers' format, with adapters in peft's on them."""

from __future__ import annotations

import importlib
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from visift.errors import ModelError
from visift.models.devices import needs_models
from visift.models.ref import ModelRef

_MAX_MISSING_OPS = 8


def pass_over_renamed() -> None:
    """Show no warning that what peft asks a model is called otherwise in newer transformers.

    To be called where warnings are caught.
    """
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")


def import_transformers() -> Any:
    """Import transformers, quietly, and also beside a torchvision that lacks its operators."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _tolerate_torchvision_without_ops()
    with needs_models():
        transformers = importlib.import_module("transformers")
    transformers.logging.disable_progress_bar()
    return transformers


def from_pretrained(ref: ModelRef, *, merge: bool) -> tuple[Any, Any]:
    """Return a model, on the CPU, and its processor, which pads on the right.

    Raises:
        ModelError: the folder holds no image-text model that transformers can load, some of its
            weights are missing, or an adapter does not fit.
    """
    transformers, (folder, *adapters) = import_transformers(), ref.parts()
    wanted: torch.dtype = getattr(torch, ref.resolved_dtype())
    dtype = torch.float32 if adapters and merge else wanted  # sums of weights and factors
    options: dict[str, Any] = {"trust_remote_code": ref.trust_remote_code}
    try:
        model, found = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **options
        )
        processor = transformers.AutoProcessor.from_pretrained(folder, **options)
    except Exception as error:  # a folder of any content meets any part of transformers
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(
            f"cannot be loaded as an image-text model ({type(error).__name__}: {reason}).",
            where=ref.name,
            fix="It needs a config.json, weights and a processor in transformers' format.",
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"its files lack the weights of {len(missing)} tensors, {missing[0]} among them.",
            where=ref.name,
            fix="Random numbers would stand for them: download or save the model again.",
        )
    for adapter in adapters:
        model = _with_adapter(model, adapter, merge=merge)
    _set_padding(ref.name, processor)
    return (model.to(wanted) if adapters and merge else model), processor


def _with_adapter(model: Any, folder: Path, *, merge: bool) -> Any:
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
        with warnings.catch_warnings():
            # Random numbers would stand for them.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            pass_over_renamed()
            adapted = peft.PeftModel.from_pretrained(model, folder)
        return adapted.merge_and_unload() if merge else adapted.get_base_model()
    except Exception as error:  # an adapter of any content meets a model of any kind
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(
            f"does not fit onto its base ({type(error).__name__}: {reason}).",
            where=str(folder),
            fix="Name the folder that peft saved, with the base it was trained on.",
        ) from error


def _set_padding(name: str, processor: Any) -> None:
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise ModelError("its processor has no tokenizer.", where=name)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


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

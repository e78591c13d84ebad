"""A LLaVA-1.5 put together from the parts its checkpoint before instruction tuning comes in.

A language model, a CLIP vision tower and a projector between them become one folder that
transformers loads. Nothing is trained and no published number is changed: every tensor keeps its
values and its dtype, and only the rows of added tokens are new.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visift.amounts import data_size
from visift.errors import InputError, ModelError, StorageError
from visift.files import disk_errors
from visift.models.composed_card import composed_card
from visift.models.composed_config import (
    IMAGE_TOKEN,
    PAD_TOKEN,
    configured,
    text_config,
    vision_config,
)
from visift.models.parts import (
    EMBEDDING,
    HEAD,
    Part,
    check_weights,
    check_widths,
    language_part,
    projector_part,
    vision_part,
    wanted_shapes,
)
from visift.models.ref import ModelRef, digest
from visift.models.weights import (
    SHARD_BYTES,
    Stored,
    tensors_of_file,
    tensors_of_folder,
    write_shards,
)

NOTE = "composed.json"

_ROWS_AT_ONCE = 1024
_DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Parts:
    """A language model, a vision tower and a projector that fit together; no tensor is read yet.

    Attributes:
        names: of the three as the user gave them.
        language: tensors of the language model.
        vision: tensors of the vision tower.
        projector: tensors between them.
        config: of the LLaVA they make.
        processor: of the LLaVA, the added tokens among its own.
        known_rows: of the language model's own embedding.
    """

    names: tuple[str, str, str]
    language: Part
    vision: Part
    projector: Part
    config: Any
    processor: Any
    known_rows: int

    @classmethod
    def read(cls, llm: str, vision: str, projector: Path) -> Parts:
        """Find the parts and see that they fit.

        Args:
            llm: folder or hub id (or `name@revision`) of a language model.
            vision: folder or hub id of a CLIP, or of its vision tower.
            projector: file of plain tensors, as torch or safetensors write it.

        Raises:
            ModelError: one of them is not what it is named as, or they do not fit.
        """
        if not projector.is_file():
            raise ModelError(
                "is no file.", where=str(projector), fix="Name the mm_projector.bin itself."
            )
        between = projector_part(projector, tensors_of_file(projector))
        homes = _folder(llm, "--llm"), _folder(vision, "--vision")
        text, tower = text_config(homes[0]), vision_config(homes[1])
        check_widths(between, tower.hidden_size, text.hidden_size)
        rows, tied = text.vocab_size, text.tie_word_embeddings
        parts = cls(
            (llm, vision, projector.name),
            language_part(homes[0], tensors_of_folder(homes[0]), tied=tied),
            vision_part(homes[1], tensors_of_folder(homes[1])),
            between,
            *configured(homes, text, tower),
            rows,
        )
        wanted = wanted_shapes(parts.config)
        short = {name: (rows, *wanted[name][1:]) for name in (EMBEDDING, HEAD) if name in wanted}
        check_weights(parts.language, {**wanted, **short}, text.num_hidden_layers)
        check_weights(parts.vision, wanted, tower.num_hidden_layers)
        return parts

    def tensors(self) -> dict[str, Stored]:
        """Return all tensors of the checkpoint, the rows of added tokens among them."""
        found = {**self.language.tensors, **self.vision.tensors, **self.projector.tensors}
        rows: int = self.config.text_config.vocab_size
        return found | {
            name: _lengthened(found[name], rows) for name in (EMBEDDING, HEAD) if name in found
        }


@dataclass(frozen=True, slots=True)
class Composed:
    """What was written.

    Attributes:
        folder: the checkpoint.
        files: with tensors in them.
        n_bytes: of all tensors.
    """

    folder: Path
    files: tuple[Path, ...]
    n_bytes: int


def compose(
    parts: Parts, output: Path, *, overwrite: bool = False, shard_bytes: int = SHARD_BYTES
) -> Composed:
    """Write a folder that `AutoModelForImageTextToText` and `AutoProcessor` load.

    It is whole or not there, and no more than one tensor is in memory at a time.

    Args:
        parts: that fit together.
        output: the folder; it must not be there yet.
        overwrite: replace a folder that was written by this.
        shard_bytes: of one file of tensors, except where one tensor is larger.

    Raises:
        InputError: the folder is there.
        StorageError: the disk is full, or cannot be written.
    """
    check_output(output, overwrite=overwrite)
    tensors = parts.tensors()
    n_bytes = sum(stored.n_bytes for stored in tensors.values())
    with disk_errors(output), _whole_or_not_there(output) as folder:
        _must_have_room(folder, n_bytes)
        parts.config.dtype = _DTYPE_NAMES[tensors[EMBEDDING].dtype]
        parts.config.save_pretrained(folder)
        parts.processor.save_pretrained(folder)
        files = write_shards(tensors, folder, shard_bytes)
        note = _note(parts, len(tensors))
        (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(_card(parts), encoding="utf-8")
    return Composed(output, tuple(output / file.name for file in files), n_bytes)


def check_output(output: Path, *, overwrite: bool) -> None:
    """See that a folder may be written, before anything takes time.

    Raises:
        InputError: it is there, and is not to be replaced.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / NOTE).is_file():
        raise InputError(
            "holds other files." if output.is_dir() else "is a file.",
            where=str(output),
            fix="Choose another --output.",
        )
    if not overwrite:
        raise InputError(
            "holds a composed model already.",
            where=str(output),
            fix="Choose another --output, or replace it with --overwrite.",
        )


def _folder(name: str, flag: str) -> Path:
    try:
        return ModelRef.parse(name).folder()
    except ModelError as error:
        fix = (error.fix or "").replace("--model", flag)
        raise ModelError(error.what, where=f"{flag} {error.where}", fix=fix) from error


# --- rows of added tokens -------------------------------------------------------------------------


def _lengthened(stored: Stored, rows: int) -> Stored:
    if stored.shape[0] == rows:
        return stored
    return replace(
        stored, shape=(rows, *stored.shape[1:]), read=partial(_with_mean_rows, stored.read, rows)
    )


def _with_mean_rows(read: Callable[[], Tensor], rows: int) -> Tensor:
    """Return an embedding with the mean of its rows for every added one [ours].

    No draw, so that the same parts make the same bytes. What an image token's row holds is never
    seen: the image's features stand there.
    """
    known = read()
    total = torch.zeros(known.shape[1], dtype=torch.float64)
    for start in range(0, len(known), _ROWS_AT_ONCE):
        total += known[start : start + _ROWS_AT_ONCE].double().sum(dim=0)
    mean = (total / len(known)).to(known.dtype)
    return torch.cat([known, mean.expand(rows - len(known), -1)])


# --- the folder -----------------------------------------------------------------------------------


@contextmanager
def _whole_or_not_there(output: Path) -> Iterator[Path]:
    """Give a folder beside the output that takes its place when all went well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.parent / f".{output.name}.{uuid.uuid4().hex}.tmp"
    beside.mkdir()
    before = beside.with_suffix(".before")
    try:
        yield beside
        if output.exists():
            output.rename(before)
        beside.rename(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def _must_have_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise StorageError(
            f"{data_size(n_bytes)} are needed, and {data_size(free)} are free.",
            where=str(folder.parent),
            fix="Free some space, or choose another --output.",
        )


def _note(parts: Parts, tensors: int) -> Mapping[str, Any]:
    """Return what the folder is made of, without names: the same parts make the same note."""
    tokenizer = parts.processor.tokenizer
    with parts.projector.path.open("rb") as file:
        projector = hashlib.file_digest(file, "sha256").hexdigest()
    known = tokenizer.get_vocab()
    return {
        "llm": {"digest": digest(parts.language.path)},
        "vision": {"digest": digest(parts.vision.path)},
        "projector": {"sha256": projector},
        "tensors": tensors,
        "tokens": {name: known[name] for name in (IMAGE_TOKEN, PAD_TOKEN) if name in known},
        "rows": {"language_model": parts.known_rows, "here": parts.config.text_config.vocab_size},
        "new_rows": "mean of the language model's own",
    }


def _card(parts: Parts) -> str:
    homes = (parts.language.path, parts.vision.path, parts.projector.path.parent)
    return composed_card(parts.names, homes)

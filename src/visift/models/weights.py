"""Tensors in files: found without being read, read one at a time, written as safetensors shards.

No more than one tensor is in memory at once, whatever the size of the model: published files are
mapped, and shards are written in the order of their header.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from visift.errors import ModelError

#: Bytes of a written shard, except where one tensor is larger.
SHARD_BYTES = 4 * 10**9

# Names of dtypes in safetensors files.
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# A header starts at byte 8 and ends where tensors may start: at a multiple of eight.
_ALIGNMENT = 8
_CANDIDATES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_AGAIN = "Download it again, and compare its size with the published one."


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file.

    Attributes:
        dtype: as safetensors calls it: F16, BF16, F32, F64; any other name is none of a weight.
        shape: of the tensor.
        read: reads it.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def is_float(self) -> bool:
        """Whether it may be a weight that was not quantised."""
        return self.dtype in _BYTES

    @property
    def n_bytes(self) -> int:
        """Bytes it takes in a file, if its numbers are floats."""
        return prod(self.shape) * _BYTES[self.dtype]


def tensors_of_folder(folder: Path) -> dict[str, Stored]:
    """Return the tensors of a model folder by name, from safetensors files where there are any.

    Raises:
        ModelError: there are none, a shard is missing, or a file cannot be read safely.
    """
    found = next((folder / name for name in _CANDIDATES if (folder / name).is_file()), None)
    if found is None:
        raise ModelError(
            "holds no weights.", where=str(folder), fix=f"One of these is needed: {_listed()}."
        )
    files = _shards(found) if found.suffix == ".json" else [found]
    tensors: dict[str, Stored] = {}
    for file in files:
        if not file.is_file():
            raise ModelError(f"is missing: {found.name} names it.", where=str(file), fix=_AGAIN)
        tensors |= tensors_of_file(file)
    return tensors


def tensors_of_file(path: Path) -> dict[str, Stored]:
    """Return the tensors of a safetensors file, or of one that torch saved, by name.

    A file of torch may hold tensors only: nothing in it is run.

    Raises:
        ModelError: it is neither, or holds something else.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror}).", where=str(path)) from error
    return _of_safetensors(path) if path.suffix == ".safetensors" else _of_torch(path)


def write_shards(
    tensors: Mapping[str, Stored], folder: Path, shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Write tensors as `model.safetensors`, or as numbered shards and their index.

    The same tensors make the same bytes.

    Returns:
        The files with tensors in them, in order.
    """
    shards = list(_cut(tensors, shard_bytes))
    names = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    else:
        held = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(stored.n_bytes for stored in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(held.items()))}
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for name, shard in zip(names, shards, strict=True):
        _write(shard, folder / name)
    return [folder / name for name in names]


# --- reading --------------------------------------------------------------------------------------


def _listed() -> str:
    return ", ".join(_CANDIDATES)


def _shards(index: Path) -> list[Path]:
    """Return the files an index names, which lie beside it."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("its shards lie elsewhere")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("is no index of weights.", where=str(index), fix=_AGAIN) from error
    return [index.parent / name for name in sorted(names)]


def _of_safetensors(path: Path) -> dict[str, Stored]:
    try:
        file: Any = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ModelError(
            f"is no safetensors file ({error}).", where=str(path), fix=_AGAIN
        ) from error
    return {
        name: Stored(part.get_dtype(), tuple(part.get_shape()), partial(file.get_tensor, name))
        for name, part in slices.items()
    }


def _of_torch(path: Path) -> dict[str, Stored]:
    try:
        # Files of old versions of torch cannot be mapped.
        held: Any = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        raise ModelError(
            "holds more than tensors, or is no file of torch: it was not loaded, because loading "
            "it could run code.",
            where=str(path),
            fix="Use the published file, or one saved as safetensors.",
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(
            f"cannot be read as a file of torch ({reason}).", where=str(path), fix=_AGAIN
        ) from error
    if not isinstance(held, dict) or not all(isinstance(x, Tensor) for x in held.values()):
        raise ModelError("is no table of names and tensors.", where=str(path), fix=_AGAIN)
    return {
        str(name): Stored(
            _DTYPES.get(tensor.dtype, str(tensor.dtype)),
            tuple(tensor.shape),
            partial(_itself, tensor),
        )
        for name, tensor in held.items()
    }


def _itself(tensor: Tensor) -> Tensor:
    return tensor


# --- writing --------------------------------------------------------------------------------------


def _cut(tensors: Mapping[str, Stored], shard_bytes: int) -> Iterator[dict[str, Stored]]:
    """Yield tensors in the order of their names, as many at a time as fit a shard."""
    shard: dict[str, Stored] = {}
    size = 0
    for name, stored in sorted(tensors.items()):
        if shard and size + stored.n_bytes > shard_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = stored
        size += stored.n_bytes
    yield shard


def _write(tensors: Mapping[str, Stored], path: Path) -> None:
    """Write one safetensors file: length of the header, header, then every tensor in its order."""
    # Wide numbers first: each tensor then starts at a multiple of its own width.
    order = sorted(tensors.items(), key=lambda item: (-_BYTES[item[1].dtype], item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, stored in order:
        end = start + stored.n_bytes
        header[name] = {"dtype": stored.dtype, "shape": stored.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for _, stored in order:
            file.write(stored.read().contiguous().view(-1).view(torch.uint8).numpy().data)

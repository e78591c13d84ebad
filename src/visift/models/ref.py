"""Which model, exactly: a name a user types, and an identity that does not depend on names.

Nothing here imports torch until a dtype must be chosen for this machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b, sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from visift.errors import InputError, ModelError
from visift.models.devices import default_dtype, needs_models

BUILTIN_TINY = "builtin:tiny"
_BUILTIN = "builtin:"
DTYPES = ("auto", "float32", "bfloat16", "float16")

_CONFIG, _ADAPTER = "config.json", "adapter_config.json"
_FILES = (".json", ".jinja", ".model", ".txt", ".py", ".safetensors", ".bin")
_WEIGHTS = (".safetensors", ".bin")
#: What huggingface_hub raises where it could ask nobody.
_UNASKED = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectionError", "ConnectError")
_WHAT_A_MODEL_IS = (
    "Name a folder with a config.json, weights and a processor in transformers' format."
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model by name.

    Attributes:
        name: a folder in transformers' format, a hub id, or `builtin:tiny`.
        revision: branch, tag or commit of a hub id; pin a commit for a run that can be repeated.
        dtype: of the weights; `auto` is bfloat16 on CUDA and float32 elsewhere.
        device: `auto`, `cpu`, `mps`, `cuda` or `cuda:N`; no part of the identity.
        trust_remote_code: run code that comes with the model.
    """

    name: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f'unknown dtype "{self.dtype}".', fix=f"One of: {', '.join(DTYPES)}.")
        if self.name.startswith(_BUILTIN) and not self.is_toy:
            raise ModelError(
                "no built-in model of that name.", where=self.name, fix=f"There is {BUILTIN_TINY}."
            )

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read `NAME` or `NAME@REVISION` (a folder whose name holds an @ is taken as it is)."""
        name, at, revision = text.rpartition("@")
        if not at or text == BUILTIN_TINY or Path(text).exists():
            return cls(text)
        return cls(name, revision)

    @property
    def is_toy(self) -> bool:
        """Whether a ranking by this model means nothing outside demo and tests."""
        return self.name == BUILTIN_TINY

    def folder(self) -> Path:
        """Return the folder with the model's files, downloading a hub id if it is not there yet.

        Raises:
            ModelError: a folder without a model, or no folder, and the hub does not give it (or
                cannot be reached).
        """
        if self.is_toy:
            return Path(__file__).parent / "tiny" / "checkpoint"
        path = Path(self.name)
        if path.is_dir():
            return _with_a_model(path)
        if not _may_be_hub_id(self.name):
            raise ModelError("no such folder.", where=self.name, fix="Check --model.")
        wanted = [*(f"*{suffix}" for suffix in _FILES), "README.md"]
        return _download(self.name, self.revision, wanted)

    def parts(self) -> tuple[Path, ...]:
        """Return the folder of a whole model, and those of adapters that go onto it, in order.

        Raises:
            ModelError: see `folder`; the base of an adapter is not there, or not named.
        """
        folder = self.folder()
        said = _base_of(folder)
        if said is None:
            return (folder,)
        try:
            base = replace(self, **said)
            if base.folder().resolve() == folder.resolve():
                raise ModelError("that is itself.")
            return (*base.parts(), folder)
        except ModelError as error:
            raise ModelError(
                f"is an adapter of {said['name']}, which is not to be had: {error.what}",
                where=str(folder),
                fix=f"Correct base_model_name_or_path in its {_ADAPTER}.",
            ) from error

    def config_folder(self) -> Path:
        """Return a folder that holds at least the model's configuration; no weights are fetched.

        Raises:
            ModelError: see `folder`.
        """
        here = self.here()
        if here is not None or not _may_be_hub_id(self.name):
            return self.parts()[0]
        found = _download(self.name, self.revision, (_CONFIG, _ADAPTER))
        said = _base_of(found)
        return found if said is None else replace(self, **said).config_folder()

    def here(self) -> Path | None:
        """Return the folder with the model's weights if it is on this machine; asks no hub."""
        if self.is_toy or Path(self.name).is_dir():
            return self.folder()
        if not _may_be_hub_id(self.name) or find_spec("huggingface_hub") is None:
            return None
        from huggingface_hub import snapshot_download

        try:
            found = Path(
                snapshot_download(self.name, revision=self.revision, local_files_only=True)
            )
        except Exception:  # of its own kinds for a name it cannot take and for what is not there
            return None
        weights = (path for path in found.iterdir() if path.suffix in _WEIGHTS)
        return found if any(weights) else None

    def resolved_revision(self) -> str | None:
        """Return the commit that a hub id and its revision stand for; None for a folder."""
        local = self.is_toy or Path(self.name).is_dir()
        return None if local else self.folder().name  # snapshots are named by their commit

    def identity(self) -> dict[str, Any]:
        """Return what decides this model's values.

        A digest of its files, its dtype, and the library that scales images: where torchvision is
        installed transformers uses it, and values differ by more than rounding.
        """
        return {
            "digest": _joint_digest(self.parts()),
            "dtype": self.resolved_dtype(),
            "images": "torchvision" if find_spec("torchvision") else "pillow",
        }

    def resolved_dtype(self) -> str:
        """Return the dtype with `auto` settled for this machine."""
        return default_dtype(self.device) if self.dtype == "auto" else self.dtype


def _with_a_model(folder: Path) -> Path:
    if not any((folder / name).is_file() for name in (_CONFIG, _ADAPTER)):
        raise ModelError(
            "holds no model: there is no config.json.", where=str(folder), fix=_WHAT_A_MODEL_IS
        )
    return folder


def _base_of(folder: Path) -> dict[str, Any] | None:
    """Return name and revision of what an adapter goes onto, None for a whole model.

    Raises:
        ModelError: the adapter does not say.
    """
    if (folder / _CONFIG).is_file() or not (folder / _ADAPTER).is_file():
        return None
    try:
        said = json.loads((folder / _ADAPTER).read_bytes())
        name, revision = said["base_model_name_or_path"], said.get("revision")
    except (OSError, ValueError, KeyError, TypeError):
        name = revision = None
    if not isinstance(name, str) or not isinstance(revision, str | None):
        raise ModelError(
            f"its {_ADAPTER} does not say what it is an adapter of.", where=str(folder)
        )
    return {"name": name, "revision": revision}


def _may_be_hub_id(name: str) -> bool:
    return not (Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1)


def _download(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    if Path(name).is_file():
        raise ModelError("is a file.", where=name, fix=_WHAT_A_MODEL_IS)
    with needs_models():
        from huggingface_hub import snapshot_download
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:
        pin = f" at {revision}" if revision else ""
        unasked = type(error).__name__ in _UNASKED
        hub = "cannot be reached" if unasked else f"gave no model of that name{pin}"
        raise ModelError(
            f"is no folder here, and the hub {hub} ({type(error).__name__}).",
            where=name,
            fix="Check the name, or name a folder that holds the model.",
        ) from error


def _joint_digest(folders: Sequence[Path]) -> str:
    """Return the digest of a model, or of a model and its adapters."""
    digests = [digest(folder) for folder in folders]
    if len(digests) == 1:
        return digests[0]
    return blake2b("\x1e".join(digests).encode(), digest_size=16).hexdigest()


def digest(folder: Path) -> str:
    """Return one digest of a model folder: weights, configuration, processor and template.

    Files of a hub snapshot are links to blobs named by their SHA-256, which is then taken as it
    is; others are read. Where weights are there as safetensors, other weight files do not count.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix in _FILES and p.is_file())
    safe = any(p.suffix == ".safetensors" for p in files)
    total = blake2b(digest_size=16)
    for path in files:
        if not (safe and path.suffix == ".bin"):
            total.update(f"{path.name}\x1f{_file_digest(path)}\x1e".encode())
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    blob = path.resolve().name
    if path.is_symlink() and _SHA256.fullmatch(blob):
        return blob
    stat = path.stat()
    return _content_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _content_digest(path: Path, size: int, changed: int) -> str:
    """Return the digest of a file that was not changed since; weights take long to read."""
    content = sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            content.update(block)
    return content.hexdigest()

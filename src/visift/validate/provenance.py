"""What a validation can be repeated by: files, models, libraries, machine, a hash of it all."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visift.errors import ModelError
from visift.models.devices import available, cpu_count
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.rundir import fingerprint, versions
from visift.validate.request import Request

if TYPE_CHECKING:
    from visift.validate.loop import Validated

#: Where files lie, which changes nothing.
_PLACES = ("image_folder", "question_images")


def provenance(done: Validated) -> dict[str, Any]:
    """Return what a validation can be repeated by, as plain data."""
    request = done.request
    files = {
        "pool": _files(done.pool),
        "questions": _files(done.questions.pool) if request.questions else [],
        "signals": [_file(path) for path in request.signals],
        "labels": [_file(path) for path in request.labels],
    }
    models = [model for model in (request.model, request.tuned) if model is not None]
    return {
        "configuration": _configuration(request, files),
        **files,
        "models": [{"name": one.name, "commit": _commit(one)} for one in models],
        "versions": versions(models=True),
        "machine": _machine(request),
    }


def surroundings(request: Request) -> str:
    """Return libraries and machine on one line."""
    names, found = ("visift", "torch", "transformers", "python"), versions(models=True)
    there = [f"{name} {found[name]}" for name in names if name in found]
    machine = _machine(request)
    return f"{', '.join(there)} on {machine['system']} {machine['processor']}, {machine['device']}"


def _configuration(request: Request, files: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides the outcome, wherever the files lie."""
    said = json.loads(json.dumps(request.result()))
    asked = {name: value for name, value in said.items() if name not in (*_PLACES, *files)}
    asked["pool"] = {
        name: value for name, value in said["pool"].items() if isinstance(value, bool | None | str)
    }
    asked["pool"].pop("image_folder", None)
    text = json.dumps([asked, files], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _files(pool: Pool) -> list[dict[str, Any]]:
    return [{**fingerprint(file.reader), "role": file.role} for file in pool.files]


def _file(path: str | Path) -> dict[str, Any]:
    data = Path(path).read_bytes()
    digest = blake2b(data, digest_size=16).hexdigest()
    return {"file": Path(path).name, "bytes": len(data), "blake2b": digest}


def _commit(model: ModelRef) -> str | None:
    with suppress(ModelError):
        return model.resolved_revision()
    return None


def _machine(request: Request) -> dict[str, Any]:
    base = request.base
    device = _device("auto" if base is None else base.device)
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": cpu_count(),
        "device": device,
    }


def _device(preference: str) -> str:
    """Return what is trained on: the name of a GPU, or `cpu`."""
    with suppress(ModelError):
        found = available(preference)
        if found[0].startswith("cuda"):
            import torch

            return f"{len(found)} x {_only(map(torch.cuda.get_device_name, found))}"
        return found[0]
    return "cpu"


def _only(names: Iterable[str]) -> str:
    return " and ".join(sorted(set(names)))

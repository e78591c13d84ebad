"""What a validation can be repeated by: files, models, libraries, machine, a hash of it all."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from visift.errors import InputError, ModelError
from visift.files import file_facts
from visift.models.devices import available, cpu_count
from visift.models.ref import ModelRef
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.rundir import fingerprint, versions
from visift.validate.request import Request

#: What of a model says where it is, or where it runs.
_OF_A_PLACE = ("name", "revision", "device")
#: Likewise of a request; files are known by their content.
_PLACES = ("pool", "questions", "question_images", "signals", "labels", "model", "tuned")


@dataclass(frozen=True, slots=True)
class Sources:
    """What was read, by content: looked at before anything is chosen, as it is then.

    Attributes:
        pool: its files.
        questions: theirs; none where some of the pool is held out.
        signals: files of numbers measured elsewhere.
        labels: files of a teacher's labels, those beside the output too.
        models: name, commit and digest of what measures, and of what is tuned if it is another.
    """

    pool: Sequence[Mapping[str, Any]] = ()
    questions: Sequence[Mapping[str, Any]] = ()
    signals: Sequence[Mapping[str, Any]] = ()
    labels: Sequence[Mapping[str, Any]] = ()
    models: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, request: Request, pool: Pool, questions: Pool, teacher: TeacherLabels) -> Sources:
        """Look at everything that a validation reads, but for images.

        Raises:
            InputError: a file is gone.
            ModelError: so is a model.
        """
        models = [model for model in (request.model, request.tuned) if model is not None]
        names = ("file", "bytes", "blake2b")
        return cls(
            _files(pool),
            _files(questions) if request.questions else (),
            [_file(Path(path)) for path in request.signals],
            [{name: one[name] for name in names} for one in teacher.files],
            [_model(model) for model in models],
        )

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        names = ("pool", "questions", "signals", "labels", "models")
        return {name: [dict(one) for one in getattr(self, name)] for name in names}


def provenance(request: Request, sources: Sources) -> dict[str, Any]:
    """Return what a validation can be repeated by, as plain data."""
    return {
        "configuration": _configuration(request, sources),
        **sources.plain(),
        "versions": versions(models=True),
        "machine": _machine(request),
    }


def surroundings(request: Request) -> str:
    """Return libraries and machine on one line."""
    names, found = ("visift", "torch", "transformers", "python"), versions(models=True)
    there = [f"{name} {found[name]}" for name in names if name in found]
    machine = _machine(request)
    return f"{', '.join(there)} on {machine['system']} {machine['processor']}, {machine['device']}"


def _configuration(request: Request, sources: Sources) -> str:
    """Return a hash of what was asked, and of what was read, wherever that lies."""
    said = json.loads(json.dumps(request.result()))
    asked = {name: value for name, value in said.items() if name not in _PLACES}
    for name in ("model", "tuned"):
        there = said[name] or {}
        asked[name] = {key: value for key, value in there.items() if key not in _OF_A_PLACE}
    opened = said["pool"]
    asked["pool"] = {name: opened[name] for name in ("task_field", "source_field", "hash_images")}
    read = sources.plain()
    read["models"] = [one["digest"] for one in read["models"]]
    text = json.dumps([asked, read], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _files(pool: Pool) -> list[dict[str, Any]]:
    return [{**fingerprint(file.reader), "role": file.role} for file in pool.files]


def _file(path: Path) -> dict[str, Any]:
    try:
        return file_facts(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}).", where=str(path)) from None


def _model(model: ModelRef) -> dict[str, Any]:
    commit = model.resolved_revision()
    return {"name": model.name, "commit": commit, "digest": model.identity()["digest"]}


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

"""What the process that asks for a model and the one that trains it hand to each other: files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visift.errors import InputError
from visift.files import disk_errors, write_atomically
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.pool.record import Turn
from visift.training.recipe import Recipe
from visift.training.tuned import OUTCOME, TunedRef

#: Checkpoints for going on that one training writes, unless told otherwise [ours].
SAVES = 20

#: Where the finished model is left, inside the folder of a job.
RESULT = "result"

_JOB = "job.json"
_EXAMPLES = "examples.jsonl"
#: What `Pool.open` takes that names files.
_FILES = ("files", "keep", "have", "target")


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to train on.

    Attributes:
        row: of the pool.
        key: its identity, 32 hexadecimal digits: content of the record, and of its target.
        turns: stand in for those of the record.
    """

    row: int
    key: str
    turns: tuple[Turn, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How far a training is; `loss` is the mean over the answer tokens of the step."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One of the checkpoints that are kept.

    Attributes:
        step: after which it was taken.
        rate: learning rate of that step.
        mean_rate: mean of the learning rates of the steps since the checkpoint before.
    """

    step: int
    rate: float
    mean_rate: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a training.

    Attributes:
        examples: how many it was trained on.
        steps: of the optimiser.
        losses: one a step.
        seconds: it took, without what was lost where it was killed.
        tokens: of all passes, as far as they were not cut off.
        left_out: by key, why an example could not be trained on.
        checkpoints: those that are kept, the last one at the end.
        memory: the most bytes held by the process that ended it, see `models.memory`.
    """

    examples: int
    steps: int
    losses: tuple[float, ...]
    seconds: float
    tokens: int
    left_out: Mapping[str, str]
    checkpoints: tuple[Moment, ...]
    memory: int | None = None


def outcome_of(tuned: TunedRef) -> Outcome | None:
    """Return what became of a training, None where there is no finished one."""
    path = tuned.path / OUTCOME
    return read_outcome(path) if path.is_file() else None


def read_outcome(path: Path) -> Outcome:
    """Read what `write_outcome` wrote."""
    said = json.loads(path.read_bytes())
    fields = {one.name: said[one.name] for one in dataclasses.fields(Outcome) if one.name in said}
    moments = tuple(Moment(**one) for one in said["checkpoints"])
    return Outcome(**{**fields, "losses": tuple(said["losses"]), "checkpoints": moments})


def write_outcome(path: Path, outcome: Outcome, **beside: Any) -> None:
    """Write an outcome, and what else is worth knowing, as JSON for people."""
    said = {**dataclasses.asdict(outcome), **beside}
    write_atomically(path, (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode())


@dataclass(frozen=True, slots=True)
class Job:
    """One training, as the processes that do it read it.

    Attributes:
        model: what is tuned.
        recipe: how.
        pool: what the pool was opened with.
        device: `cpu`, `cuda` or `mps`.
        processes: that share the work, one a device.
        loaders: processes beside each of them that read and decode.
        saves: about how many checkpoints for going on are written.
        examples: with the content hash of their records.
    """

    model: ModelRef
    recipe: Recipe
    pool: Mapping[str, Any]
    device: str
    processes: int
    loaders: int
    saves: int
    examples: tuple[tuple[Example, str], ...]

    def write(self, folder: Path) -> None:
        """Write the job into its folder."""
        plain = {
            "model": dataclasses.asdict(self.model),
            "recipe": dataclasses.asdict(self.recipe),
            "pool": dict(self.pool),
            "device": self.device,
            "processes": self.processes,
            "loaders": self.loaders,
            "saves": self.saves,
        }
        lines = [json.dumps(_plain(example, hashed)) + "\n" for example, hashed in self.examples]
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / _EXAMPLES, "".join(lines).encode())
            write_atomically(folder / _JOB, json.dumps(plain, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read a job that was written into a folder."""
        said = json.loads((folder / _JOB).read_bytes())
        lines = (folder / _EXAMPLES).read_bytes().splitlines()
        said["model"] = ModelRef(**said["model"])
        said["recipe"] = Recipe(**said["recipe"])
        return cls(**said, examples=tuple(_example(json.loads(line)) for line in lines))

    def open_pool(self) -> Pool:
        """Open the pool again."""
        said = dict(self.pool)
        return Pool.open(said.pop("files"), **said)


def how_opened(pool: Pool) -> dict[str, Any]:
    """Return how another process opens a pool, whatever its working folder.

    Raises:
        InputError: it was not opened from files.
    """
    if "files" not in pool.opened:
        raise InputError("a pool that was not opened from files cannot be trained on.")
    said = dict(pool.opened)
    for name in _FILES:
        said[name] = [os.path.abspath(path) for path in said.get(name, ())]  # noqa: PTH100
    if said.get("image_folder") is not None:
        said["image_folder"] = os.path.abspath(said["image_folder"])  # noqa: PTH100
    return said


def plain_ref(model: ModelRef) -> ModelRef:
    """Return a model by a name that another process understands: of a tuned one its folder."""
    if not isinstance(model, TunedRef):
        return model
    return ModelRef(
        str(model.folder()),
        dtype=model.dtype,
        device=model.device,
        trust_remote_code=model.trust_remote_code,
    )


def _plain(example: Example, hashed: str) -> dict[str, Any]:
    turns: Sequence[Turn] | None = example.turns
    said = None if turns is None else [[turn.role, turn.text] for turn in turns]
    return {"row": example.row, "key": example.key, "hash": hashed, "turns": said}


def _example(said: dict[str, Any]) -> tuple[Example, str]:
    turns = said["turns"]
    told = None if turns is None else tuple(Turn(role, text) for role, text in turns)
    return Example(said["row"], said["key"], told), said["hash"]

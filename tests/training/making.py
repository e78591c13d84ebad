"""Small trainings, in this process or as they are really done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from safetensors.torch import load_file  # noqa: E402

from helpers import open_records, png, talk  # noqa: E402
from visift.engine.items import Items  # noqa: E402
from visift.engine.store import item_keys  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.pool.pool import Pool  # noqa: E402
from visift.pool.record import Turn  # noqa: E402
from visift.training.finetune import Example, Outcome, Step, finetune  # noqa: E402
from visift.training.recipe import TINY, TINY_LORA, Recipe  # noqa: E402
from visift.training.tuned import TunedRef  # noqa: E402
from visift.training.worker import train  # noqa: E402

#: Two steps over four examples, low-rank factors and projector.
SHORT = dataclasses.replace(TINY_LORA, epochs=1, batch_size=2, micro_batch=1, lora_rank=4)
SHORT_FULL = dataclasses.replace(TINY, epochs=1, batch_size=2, micro_batch=1)

#: With one image, with two, with two turns, and text alone.
RECORDS: list[dict[str, Any]] = [
    talk("<image>\nwhat is it?", "a red cat.", image="0.png"),
    talk("<image>\nand <image>\nwhich?", "the first one.", image=["1.png", "2.png"]),
    {**talk("what?", "that."), "image": "3.png"},
    talk("2 and 2?", "it is 4."),
]
RECORDS[2]["conversations"] += talk("why?", "because.")["conversations"]


def mixed_pool(folder: Path, records: Sequence[Any] = RECORDS) -> Pool:
    """Open a pool of records with images 0.png to 3.png beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(60 * number, (40, 30)))
    return open_records(folder, records)


def examples_of(pool: Pool, targets: Mapping[int, tuple[Turn, ...]] | None = None) -> list[Example]:
    """Return all rows of a pool as a lab names them."""
    items = Items.of(pool, "record", pool.rows(), dict(targets or {}))
    keys = [f"{high:016x}{low:016x}" for high, low in item_keys(items.keys()).tolist()]
    pairs = zip(items.ids.tolist(), keys, strict=True)
    return [Example(row, key, (targets or {}).get(row)) for row, key in pairs]


def wanted(
    folder: Path, examples: Sequence[Example], recipe: Recipe, model: str = "builtin:tiny"
) -> TunedRef:
    """Return the model that some examples make, kept in a folder."""
    keys = "".join(sorted(one.key for one in examples))
    return TunedRef.of(ModelRef(model, dtype="float32"), recipe, keys, len(examples), folder)


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    """Undo what a training sets for its whole process."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def here(
    folder: Path, devices: Sequence[str], hear: Callable[[Step], None], handles: Sequence[int]
) -> None:
    """Do a job in this process, which spares the imports of another one."""
    with torch_as_it_was():
        train(folder, hear)


def make(
    folder: Path,
    pool: Pool,
    recipe: Recipe = SHORT,
    model: str = "builtin:tiny",
    *,
    examples: Sequence[Example] | None = None,
    **options: Any,
) -> tuple[TunedRef, Outcome]:
    """Train on a pool in this process."""
    chosen = examples_of(pool) if examples is None else examples
    tuned = wanted(folder, chosen, recipe, model)
    outcome = finetune(
        tuned, pool, chosen, ("cpu",), lambda _: None, **{"run": here, "saves": 1, **options}
    )
    return tuned, outcome


def tensors(folder: Path) -> dict[str, Any]:
    """Return all tensors saved in a folder."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def model_files(folder: Path) -> dict[str, bytes]:
    """Return all files of a checkpoint but its outcome, which holds times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "training.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}

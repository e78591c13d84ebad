"""Gradients of single records from batches, against a loop over records with autograd."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Measurement, best_of
from benchmarks.losses import BLOCKS, IMAGE_TOKENS, WIDTH, build_model, made_items
from benchmarks.table import Line

#: Rank and width have the ratio of LLaVA-1.5-7B's LoRA.
RANK, TINY_RANK = 24, 16
RECORDS, QUICK_RECORDS = 8, 2
TINY_RECORDS, QUICK_TINY_RECORDS = 192, 16
DEMO_RECORDS = 400
#: Of the small model: passes of the other one are long enough for one run to say.
RUNS = 2
DIMENSIONS = 8192
#: Records that are projected at once in the loop: signs are drawn once for all of them.
GROUP = 16

Found = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured.

    Attributes:
        size: in words.
        adapter: folder of the model.
        demo: folder of the demo pool the records come from; made ones, as long as those of
            LLaVA-665K, without.
        records: how many.
    """

    size: str
    adapter: str
    demo: str | None
    records: int

    def items(self) -> list[Any]:
        """Return the records, with their images, ready to be measured."""
        return made_items(self.records) if self.demo is None else demo_items(self)


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark, on adapters with random weights made for it."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for case in (_tiny(Path(work), quick), _llava_like(Path(work), quick)):
            yield from _lines(case, 1 if quick or case.demo is None else RUNS)


def _tiny(work: Path, quick: bool) -> Case:
    from visift.demo.generator import write_demo_pool

    adapter, demo = str(work / "tiny"), work / "demo"
    entries = save_adapter("builtin:tiny", adapter, TINY_RANK)
    write_demo_pool(demo, records=DEMO_RECORDS)
    records = QUICK_TINY_RECORDS if quick else TINY_RECORDS
    size = f"{records} records of the demo pool, builtin:tiny, {entries:,} entries"
    return Case(size, adapter, str(demo), records)


def _llava_like(work: Path, quick: bool) -> Case:
    base, adapter = work / "base", str(work / "adapter")
    build_model(base)
    entries = save_adapter(str(base), adapter, RANK)
    records = QUICK_RECORDS if quick else RECORDS
    shape = f"{IMAGE_TOKENS} image tokens, {BLOCKS} blocks of width {WIDTH}"
    return Case(f"{records} records, {shape}, {entries:,} entries", adapter, None, records)


def _lines(case: Case, runs: int) -> Iterator[Line]:
    """Yield the lines of one model; every ratio is to both loops."""
    loop = best_of(runs, run_loop, case, True)
    bare = best_of(runs, run_loop, case, False)
    yield Line.of(
        f"gradients: loop over records, signs for {GROUP} of them at once ({case.size})",
        loop,
        f"1 ({case.records / loop.seconds:.2f} a s)",
    )
    yield Line.of(
        "gradients: loop over records, not projected",
        bare,
        _times(case, bare, loop),
        *_norms(loop.value, bare.value),
    )
    rademacher = best_of(runs, run_signal, case, "rademacher")
    yield Line.of(
        "gradients: LoraGradient, rademacher",
        rademacher,
        _times(case, rademacher, loop, bare),
        *_directions(loop.value, rademacher.value),
    )
    sparse = best_of(runs, run_signal, case, "sparse")
    norms, difference = _norms(loop.value, sparse.value)
    yield Line.of(
        "gradients: LoraGradient, sparse",
        sparse,
        _times(case, sparse, loop, bare),
        f"{norms}; {_cosines(loop.value, sparse.value)}",
        difference,
    )


def _times(case: Case, one: Measurement, *others: Measurement) -> str:
    ratios = " and ".join(f"{other.seconds / one.seconds:.2f} x" for other in others)
    return f"{ratios} as fast ({case.records / one.seconds:.2f} a s)"


def _norms(one: Found, other: Found) -> tuple[str, float]:
    difference = float(np.abs(other[0] / one[0] - 1).max())
    return f"norms differ by {difference:.1e} at most", difference


def _directions(one: Found, other: Found) -> tuple[str, float]:
    """Compare projected directions, stored in half precision, as a share of their length."""
    apart = np.linalg.norm(one[1] - other[1], axis=1) / np.linalg.norm(one[1], axis=1)
    difference = max(float(apart.max()), _norms(one, other)[1])
    return f"directions differ by {difference:.1e} of their length at most", difference


def _cosines(one: Found, other: Found) -> str:
    """Compare cosines of all pairs under two projections, of which neither is exact."""
    pairs = np.triu_indices(len(one[0]), 1)
    difference = (_unit(one[1]) - _unit(other[1]))[pairs]
    return f"cosines differ by {math.sqrt(float(np.mean(difference**2))):.4f} (root mean square)"


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def demo_items(case: Case) -> list[Any]:
    """Return the first records of a demo pool that have an answer and sound images."""
    from visift.engine.items import Items
    from visift.errors import VisiftError
    from visift.pool.pool import Pool

    folder = Path(str(case.demo))
    pool = Pool.open(folder / "pool.json", image_folder=folder / "images")
    every = Items.of(pool, "record", np.arange(len(pool)))
    found: list[Any] = []
    for item in every.load(np.arange(len(every))):
        try:
            for image in item.images:
                image.load()
        except VisiftError:
            continue  # the pool has damaged images on purpose
        if any(turn.role == "assistant" for turn in item.record.turns):
            found.append(item)
    return found[: case.records]


# --- jobs ----------------------------------------------------------------------------------------


def run_signal(case: Case, projection: Any) -> Generator[None, None, Found]:
    """As a job: norms and directions by the package's signal."""
    from visift.models.ref import ModelRef
    from visift.signals.gradients import LoraGradient

    ref = ModelRef(case.adapter, dtype="float32")
    signal = LoraGradient(ref, projection=projection, proj_dim=DIMENSIONS)
    measure, items = signal.open("cpu"), case.items()
    measure(items[:1])
    yield
    values = measure(items)
    yield
    assert not any(values.reasons), values.reasons
    norms, directions = values.columns["grad_norm"], values.columns["grad_projection"]
    return norms.astype(np.float64), directions.astype(np.float64)


def run_loop(case: Case, projected: bool) -> Generator[None, None, Found]:
    """As a job: the same, a backward pass a record, its gradient flattened."""
    from visift.models.vlm import one_cpu_thread

    gradient, project = _loop(case.adapter)
    items, records = case.items(), case.records
    norms, directions = np.empty(records), np.empty((records, DIMENSIONS))
    with one_cpu_thread():
        gradient(items[0])
        yield
        for start in range(0, records, GROUP):
            some = [gradient(item) for item in items[start : start + GROUP]]
            norms[start : start + len(some)] = [float(one.double().norm()) for one in some]
            if projected:
                directions[start : start + len(some)] = project(some)
        yield
    return norms, directions / norms[:, None]


def _loop(adapter: str) -> tuple[Callable[[Any], Any], Callable[[list[Any]], NDArray[Any]]]:
    """Return what gives the gradient of a record as one vector, and what projects some of them."""
    import torch

    from visift.models.batch import Collator, Conversation
    from visift.models.projection import Rademacher
    from visift.models.ref import ModelRef
    from visift.models.vlm import VLM

    vlm = VLM.load(ModelRef(adapter, dtype="float32"), "cpu", merge=False)
    collate = Collator.of(vlm)
    vlm.model.requires_grad_(False)
    named = {n: w for n, w in vlm.model.named_parameters() if "lora" in n and "self_attn" in n}
    for weight in named.values():
        weight.requires_grad_()

    def gradient(item: Any) -> Any:
        images = tuple(image.load() for image in item.images)
        batch = collate([Conversation(item.record.turns, images)])
        logits = vlm.model(**batch.inputs, use_cache=False).logits[:, :-1]
        marked = batch.answers[:, 1:]
        targets = batch.inputs["input_ids"][:, 1:][marked]
        loss = torch.nn.functional.cross_entropy(logits[marked], targets)
        found = torch.autograd.grad(loss, list(named.values()))
        return torch.cat([one.flatten() for one in found])

    def project(some: list[Any]) -> NDArray[Any]:
        signs, start = Rademacher(DIMENSIONS, 0), 0
        whole, total = torch.stack(some), torch.zeros(len(some), DIMENSIONS)
        for name, weight in named.items():
            part = whole[:, start : start + weight.numel()]
            signs.add(total, name.removesuffix(".default.weight"), part)
            start += weight.numel()
        return total.numpy()

    return gradient, project


def save_adapter(base: str, folder: str, rank: int) -> int:
    """Write factors of all linear layers, none of them zero; returns the entries in attention."""
    import dataclasses

    import torch

    from visift.models.ref import ModelRef
    from visift.models.vlm import VLM
    from visift.training.recipe import TINY_LORA
    from visift.training.saving import save_model
    from visift.training.weights import mark

    ref = ModelRef(base, dtype="float32")
    torch.manual_seed(0)
    vlm = VLM.load(ref, "cpu")
    trained = mark(vlm, dataclasses.replace(TINY_LORA, projector=False, lora_rank=rank))
    with torch.no_grad():
        for name, weight in trained.named().items():
            if ".lora_B." in name:
                weight.normal_(std=0.02)
    save_model(trained, ref, Path(folder))
    return sum(one.numel() for name, one in trained.named().items() if "self_attn" in name)

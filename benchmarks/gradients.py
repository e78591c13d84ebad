"""Gradients of single records from batches, against a loop over records with autograd."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Measurement, best_of
from benchmarks.losses import BLOCKS, IMAGE_TOKENS, WIDTH, build_model, made_items
from benchmarks.table import Line

#: Rank and width have the ratio of LLaVA-1.5-7B's LoRA.
RANK = 24
RECORDS, QUICK_RECORDS = 32, 4
#: Of `builtin:tiny`, where what a pass costs besides arithmetic counts.
TINY_RECORDS, QUICK_TINY_RECORDS = 256, 8
RUNS = 2
DIMENSIONS = 8192
#: Records that the published programs project at once: signs are drawn once for all of them.
GROUP = 16

Found = tuple[NDArray[np.float64], NDArray[np.float64]]


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark, on adapters with random weights made for it."""
    runs = 1 if quick else RUNS
    with tempfile.TemporaryDirectory(dir=folder) as work:
        build_model(Path(work) / "base")
        shapes = (
            (
                f"{IMAGE_TOKENS} image tokens, {BLOCKS} blocks of width {WIDTH}",
                str(Path(work) / "base"),
                QUICK_RECORDS if quick else RECORDS,
            ),
            ("builtin:tiny", "builtin:tiny", QUICK_TINY_RECORDS if quick else TINY_RECORDS),
        )
        for number, (name, base, records) in enumerate(shapes):
            adapter = str(Path(work) / f"adapter-{number}")
            entries = save_adapter(base, adapter)
            yield from _lines(
                f"{records} records, {name}, {entries:,} entries", adapter, records, runs
            )


def _lines(size: str, adapter: str, records: int, runs: int) -> Iterator[Line]:
    loop = best_of(runs, run_loop, adapter, records, True)
    bare = best_of(runs, run_loop, adapter, records, False)
    rademacher = best_of(runs, run_signal, adapter, records, "rademacher")
    sparse = best_of(runs, run_signal, adapter, records, "sparse")
    yield Line.of(
        f"gradients: one record at a time, signs for {GROUP} of them ({size})",
        loop,
        f"1 ({records / loop.seconds:.2f} a s)",
    )
    yield Line.of(
        "gradients: one record at a time, not projected",
        bare,
        _times(records, bare, loop),
        *_norms(loop.value, bare.value),
    )
    yield Line.of(
        "gradients: LoraGradient, rademacher",
        rademacher,
        _times(records, rademacher, loop, bare),
        *_directions(loop.value, rademacher.value),
    )
    yield Line.of(
        "gradients: LoraGradient, sparse",
        sparse,
        _times(records, sparse, loop, bare),
        f"{_norms(loop.value, sparse.value)[0]}; {_cosines(loop.value, sparse.value)}",
        _norms(loop.value, sparse.value)[1],
    )


def _times(records: int, one: Measurement, *others: Measurement) -> str:
    ratios = " and ".join(f"{other.seconds / one.seconds:.2f} x" for other in others)
    return f"{ratios} as fast ({records / one.seconds:.2f} a s)"


def _norms(one: Found, other: Found) -> tuple[str, float]:
    difference = float(np.abs(other[0] / one[0] - 1).max())
    return f"norms differ by {difference:.1e} at most", difference


def _directions(one: Found, other: Found) -> tuple[str, float]:
    """Compare projected directions, which are stored in half precision, as a share of their length."""
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


# --- jobs ----------------------------------------------------------------------------------------


def run_signal(adapter: str, records: int, projection: Any) -> Generator[None, None, Found]:
    """As a job: norms and directions by the package's signal."""
    from visift.models.ref import ModelRef
    from visift.signals.gradients import LoraGradient

    ref = ModelRef(adapter, dtype="float32")
    signal = LoraGradient(ref, projection=projection, proj_dim=DIMENSIONS)
    measure, items = signal.open("cpu"), made_items(records)
    measure(items[:1])
    yield
    values = measure(items)
    yield
    assert not any(values.reasons), values.reasons
    norms, directions = values.columns["grad_norm"], values.columns["grad_projection"]
    return norms.astype(np.float64), directions.astype(np.float64)


def run_loop(adapter: str, records: int, projected: bool) -> Generator[None, None, Found]:
    """As a job: the same, a backward pass a record, its gradient flattened."""
    from visift.models.vlm import one_cpu_thread

    gradient, project = _loop(adapter)
    items = made_items(records)
    norms, directions = np.empty(records), np.empty((records, DIMENSIONS))
    with one_cpu_thread():
        gradient(items[0])
        yield
        for start in range(0, records, GROUP):
            some = [gradient(item) for item in items[start : start + GROUP]]
            norms[start : start + len(some)] = [float(one.norm()) for one in some]
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


def save_adapter(base: str, folder: str) -> int:
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
    trained = mark(vlm, dataclasses.replace(TINY_LORA, projector=False, lora_rank=RANK))
    with torch.no_grad():
        for name, weight in trained.named().items():
            if ".lora_B." in name:
                weight.normal_(std=0.02)
    save_model(trained, ref, Path(folder))
    return sum(one.numel() for name, one in trained.named().items() if "self_attn" in name)

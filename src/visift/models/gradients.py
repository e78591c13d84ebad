"""Gradients of single records in a batch, over low-rank factors: one forward and one backward.

The weights of a linear layer have the gradient u^T x, with x what the layer reads and u the
gradient of what it gives, one row a token. Both keep records apart where the sum over a batch does
not. So each layer's gradients are formed while the backward pass goes through it, handed to a
projection and let go: the gradient of a record over all layers is never in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visift.errors import ModelError
from visift.models.answers import MOST_LOGITS, Asked, decoded, logits_of, one_token
from visift.models.batch import Batch
from visift.models.kept import Adam
from visift.models.projection import Projection
from visift.models.vlm import VLM, one_cpu_thread

Reduction = Literal["mean", "sum"]

# What peft calls the factors of a layer.
_PAIR = {"lora_A", "lora_B"}

#: Takes the name of a factor, (n, length, in) what it reads, (n, length, out) gradients.
_Take = Callable[[str, Tensor, Tensor], None]


@dataclass(frozen=True, slots=True)
class Factors:
    """Low-rank factors A and B beside linear layers: what gradients are taken of.

    Attributes:
        layers: by name in the model, what holds A and B of one linear layer.
    """

    layers: Mapping[str, Any]

    @classmethod
    def find(cls, vlm: VLM, params: str) -> Factors:
        """Return those of the layers in whose name a regular expression is found.

        Raises:
            ModelError: the model has none, none of that name, or some of another kind.
        """
        every = _with_factors(vlm)
        if not every:
            raise ModelError(
                "has no low-rank factors to take gradients of.",
                where=vlm.name,
                fix="Name an adapter that peft saved, or let the method tune one.",
            )
        layers = {name: one for name, one in every.items() if re.search(params, name)}
        if not layers:
            raise ModelError(
                f'has low-rank factors, but none of a layer "{params}".',
                where=vlm.name,
                fix=f"It has them at {_kinds(every)}.",
            )
        for name, layer in layers.items():
            _must_be_plain(vlm.name, name, layer)
        return cls(layers)

    def merge_others(self, vlm: VLM) -> None:
        """Make all other factors of the model part of its weights, where these are float32.

        They cost as much as those that are asked about: beside matrices of width 768 a third of
        the time. Weights of lower precision would lose what a short training has changed.
        """
        for name, layer in _with_factors(vlm).items():
            if name not in self.layers and layer.get_base_layer().weight.dtype == torch.float32:
                layer.merge()

    def sizes(self) -> dict[str, int]:
        """Return how many entries each factor has, A before B of each layer, in model order."""
        named = ((name, *_pair(layer)) for name, layer in self.layers.items())
        sizes = dict[str, int]()
        for name, down, up in named:
            sizes[f"{name}.lora_A"] = down.weight.numel()
            sizes[f"{name}.lora_B"] = up.weight.numel()
        return sizes


def _with_factors(vlm: VLM) -> dict[str, Any]:
    named = vlm.model.named_modules()
    return {
        name: module
        for name, module in named
        if {part for part, _ in module.named_children()} >= _PAIR
    }


def _kinds(names: Mapping[str, Any]) -> str:
    parts = {".".join(name.rsplit(".", 2)[-2:]) for name in names}
    return ", ".join(sorted(parts))


def _must_be_plain(model: str, name: str, layer: Any) -> None:
    """Raise unless a layer adds B A x to what it computes, of one pair of matrices."""
    pairs = [list(one.values()) for one in (layer.lora_A, layer.lora_B)]
    plain = all(len(some) == 1 and type(some[0]) is nn.Linear for some in pairs)
    if not plain or getattr(layer, "lora_variant", None):
        raise ModelError(
            f"its factors at {name} are not one plain pair of matrices A and B.",
            where=model,
            fix="Tune it with plain LoRA: no DoRA, no second adapter, no convolutions.",
        )


def _pair(layer: Any) -> tuple[nn.Linear, nn.Linear]:
    (down,), (up,) = layer.lora_A.values(), layer.lora_B.values()
    return down, up


# --- gradients -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordGradients:
    """Gradients of n records.

    Attributes:
        norms: (n,) float32, of the whole gradients.
        directions: (n, k) float32, P g / |g|; 0 where the gradient is. None without a projection.
    """

    norms: NDArray[np.float32]
    directions: NDArray[np.float32] | None


def record_gradients(
    vlm: VLM,
    factors: Factors,
    batch: Batch,
    reduction: Reduction,
    projection: Projection | None,
    adam: Adam | None = None,
) -> RecordGradients:
    """Return the gradient of every record's own loss on its answer tokens.

    Args:
        vlm: in evaluation mode: nothing is dropped out; its weights stop requiring gradients.
        factors: whose gradients are taken.
        batch: n records, each with answer tokens.
        reduction: of the losses of a record's tokens.
        projection: what is kept of a gradient beside its norm.
        adam: whose steps on these gradients stand for them.

    Raises:
        ModelError: a layer sees the tokens of several records as one, or is used twice.
    """
    records, device = len(batch.turns), vlm.model.device
    norms = list[Tensor]()
    width = 0 if projection is None else projection.width
    total = torch.zeros(records, width, device=device)

    def take(name: str, inputs: Tensor, outputs: Tensor) -> None:
        products = torch.bmm(outputs.float().transpose(1, 2), inputs.float())
        if adam is not None:
            products = adam.step(name, products)
        norms.append(lengths(products))
        if projection is not None:
            projection.add(total, name, products.flatten(1))

    vlm.model.requires_grad_(False)
    with one_cpu_thread(), torch.enable_grad():
        with _watched(vlm.name, factors, records, take):
            states, output = _answer_states(vlm, batch)
        if states.requires_grad:  # else there is nothing before the answers that factors change
            gradients = _loss_gradients(vlm, batch, states, output, reduction)
            torch.autograd.backward(states, gradients)
    return _gathered(norms, total, projection)


def lengths(matrices: Tensor) -> Tensor:
    """Return (n,) norms of n matrices: of their rows first, one long sum would lose digits."""
    rows = torch.linalg.vector_norm(matrices, dim=2)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norms


def _gathered(
    norms: Sequence[Tensor], total: Tensor, projection: Projection | None
) -> RecordGradients:
    parts = torch.stack(list(norms)) if norms else total.new_zeros(1, len(total))
    whole = np.linalg.norm(parts.cpu().numpy().astype(np.float64), axis=0)
    if projection is None:
        return RecordGradients(whole.astype(np.float32), None)
    scale = np.where(whole == 0, 1.0, whole)
    with np.errstate(invalid="ignore"):  # what is not finite has no value, see `batching`
        directions = total.cpu().numpy() / scale[:, None]
    return RecordGradients(whole.astype(np.float32), directions.astype(np.float32))


@contextmanager
def _watched(model: str, factors: Factors, records: int, take: _Take) -> Iterator[None]:
    """Have `take` told of every factor in the backward pass of what is computed in here."""
    used = set[str]()

    def watch(name: str, inputs: Tensor, output: Any) -> None:
        if name in used or inputs.ndim != 3 or len(inputs) != records:
            raise ModelError(
                f"{name} is used twice, or sees the tokens of several records as one: their "
                "gradients cannot be told apart.",
                where=model,
                fix='Leave such layers out, with params="self_attn" for example.',
            )
        used.add(name)
        if not output.requires_grad:
            output.requires_grad_()  # the first one: nothing before it has a gradient
        output.register_hook(lambda gradient: take(name, inputs, gradient))

    with ExitStack() as stack:
        for name, layer in factors.layers.items():
            for hook in _hooks(name, layer, watch):
                stack.callback(hook.remove)
        yield


def _hooks(name: str, layer: Any, watch: _Take) -> list[Any]:
    """Return the hooks on one layer; see `_watched`."""
    seen = list[Tensor]()

    def before(_: nn.Module, args: tuple[Any, ...]) -> None:
        # What A reads is a copy of this in its own precision, one for every layer that reads it.
        seen[:] = [args[0]]

    def after_down(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        watch(f"{name}.lora_A", seen.pop().detach(), output)

    def after_up(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        watch(f"{name}.lora_B", args[0].detach(), output)

    down, up = _pair(layer)
    return [
        layer.register_forward_pre_hook(before),
        down.register_forward_hook(after_down),
        up.register_forward_hook(after_up),
    ]


def _answer_states(vlm: VLM, batch: Batch) -> tuple[Tensor, Any]:
    """Return (t, d) states that answer tokens are predicted from, and what the decoder gave."""
    output = decoded(vlm, batch.inputs)
    rows, before = batch.answers[:, 1:].nonzero(as_tuple=True)
    last = output.last_hidden_state
    return last[rows.to(last.device), before.to(last.device)], output


def _loss_gradients(
    vlm: VLM, batch: Batch, states: Tensor, output: Any, reduction: Reduction
) -> Tensor:
    """Return (t, d) gradients of the sum of the records' losses by the states of their tokens.

    Logits are made and let go some tokens at a time.
    """
    marked = batch.answers[:, 1:]
    counts = marked.sum(dim=1, keepdim=True)
    shares = torch.ones_like(counts) if reduction == "sum" else 1 / counts
    weights = shares.expand(marked.shape)[marked].to(states.device)
    targets = batch.inputs["input_ids"][:, 1:][marked].to(states.device)
    inputs = one_token([Asked(batch, tuple(range(len(marked))))])
    leaves = states.detach().requires_grad_()
    most = max(1, MOST_LOGITS // vlm.model.config.get_text_config().vocab_size)
    for start in range(0, len(leaves), most):
        some = slice(start, start + most)
        logits = logits_of(vlm, inputs, output, leaves[some]).float()
        losses = nn.functional.cross_entropy(logits, targets[some], reduction="none")
        torch.autograd.backward((losses * weights[some]).sum())
    assert leaves.grad is not None
    return leaves.grad

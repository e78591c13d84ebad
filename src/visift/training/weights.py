"""Which weights of a model are trained: low-rank factors or all, projector, vision tower."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from visift.errors import ModelError
from visift.models.loading import pass_over_renamed
from visift.models.vlm import VLM
from visift.training.recipe import Recipe

#: What architectures call the part between vision tower and language model, and the tower itself.
PROJECTOR = re.compile(r"projector|connector|merger|aligner|resampler")
VISION = re.compile(r"vision|visual|image_encoder")

#: What peft puts between the name of a module and those of its parts.
_ADAPTER = re.compile(r"\.modules_to_save\.default(?=\.|$)|\.default(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Trained:
    """A model whose weights are marked: those that are trained require gradients.

    Attributes:
        model: of transformers, with the factors in it.
        adapter: what saves the trained weights beside the model; None where all of it is saved.
        projector: names of its modules, as the model came.
        vision: likewise; the projector may lie inside.
    """

    model: Any
    adapter: Any
    projector: tuple[str, ...]
    vision: tuple[str, ...] = ()

    def named(self) -> dict[str, nn.Parameter]:
        """Return the trained weights by name."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Return what the optimiser is given: weights with their rates and decays.

        Projector and vision tower may have rates of their own. Biases and norms do not decay.
        """
        rates = {"projector": recipe.projector_rate, "vision": recipe.vision_rate}
        groups = [
            {"params": weights, "lr": rate, "weight_decay": decay}
            for side in ("", "projector", "vision")
            for rate in (recipe.rate if rates.get(side) is None else rates[side],)
            for decay, weights in (
                (recipe.weight_decay, self._weights(side, matrices=True)),
                (0.0, self._weights(side, matrices=False)),
            )
        ]
        return [group for group in groups if group["params"]]

    def _weights(self, side: str, *, matrices: bool) -> list[nn.Parameter]:
        return [
            weight
            for name, weight in self.named().items()
            if self._side(plain_name(name)) == side and (weight.ndim > 1) == matrices
        ]

    def _side(self, name: str) -> str:
        if _inside(name, self.projector):
            return "projector"
        return "vision" if _inside(name, self.vision) else ""


def plain_name(name: str) -> str:
    """Return the name of a weight as a saved adapter knows it."""
    return _ADAPTER.sub("", name)


def mark(vlm: VLM, recipe: Recipe) -> Trained:
    """Return a loaded model with the weights of a recipe ready to be trained, in float32.

    New weights come from torch's generator.

    Raises:
        ModelError: what the recipe trains is not found in the model.
    """
    model, language = vlm.model, _name_of(vlm.model, vlm.decoder)
    projector = find_parts(model, PROJECTOR, language)
    vision = tuple(set(find_parts(model, VISION, language)) - set(projector))
    for wanted, found, what in (
        (recipe.projector, projector, "projector"),
        (recipe.vision, vision, "vision tower"),
    ):
        if wanted and not found:
            flag = "projector" if what == "projector" else "vision"
            raise ModelError(
                f"its {what} was not found among its modules.",
                where=vlm.name,
                fix=f"Leave it as it is: {flag}:false in the recipe.",
            )
    sides = dict.fromkeys(vision, recipe.vision) | dict.fromkeys(projector, recipe.projector)
    if recipe.tune == "full":
        adapter = None
        _switch(model, {"": True, **sides})
    else:
        whole = _outermost(name for name, wanted in sides.items() if wanted)
        adapter = _with_factors(vlm, recipe, language, whole)
        # One that lies inside a tower was copied along with it.
        _switch(model, {name: False for name, wanted in sides.items() if not wanted})
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return Trained(model, adapter, projector, vision)


def _switch(model: Any, switches: Mapping[str, bool]) -> None:
    """Set whether the weights under some names are trained; longer names are more exact."""
    for name in sorted(switches, key=len):
        for one, weight in model.named_parameters():
            if _inside(plain_name(one), [name]):
                weight.requires_grad_(switches[name])


def find_parts(model: nn.Module, pattern: re.Pattern[str], language: str) -> tuple[str, ...]:
    """Return the names of the outermost modules that are called so, outside the language model.

    Lists of modules are not called: their members stand for them.
    """
    found = [
        name
        for name, _ in model.named_modules()
        if pattern.search(name.rpartition(".")[2]) and not _inside(name, [language])
    ]
    return tuple(one for name in _outermost(found) for one in _members(model, name))


def _members(model: nn.Module, name: str) -> Iterator[str]:
    module = model.get_submodule(name)
    if not isinstance(module, nn.ModuleList):
        yield name
        return
    for number in range(len(module)):
        yield from _members(model, f"{name}.{number}")


def _outermost(names: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for name in sorted(names):
        if not _inside(name, kept):
            kept.append(name)
    return kept


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(one == "" or name == one or name.startswith(f"{one}.") for one in modules)


def _name_of(model: Any, module: nn.Module) -> str:
    names = (name for name, one in model.named_modules() if one is module)
    return str(next(names))


def _with_factors(vlm: VLM, recipe: Recipe, language: str, whole: list[str]) -> Any:
    """Put low-rank factors beside all linear layers of the language model.

    Args:
        vlm: the model, which is changed.
        recipe: rank, alpha, dropout.
        language: name of the language model inside it.
        whole: names of modules that are trained as they are.
    """
    import peft

    head = vlm.model.get_output_embeddings()
    linear = {
        name
        for name, module in vlm.decoder.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    if not linear:
        raise ModelError(
            "its language model has no linear layers to put low-rank factors beside.",
            where=vlm.name,
            fix="Train all its weights: tune:full in the recipe.",
        )
    # A pattern, not names: what is written into the adapter's configuration has one order.
    kinds = "|".join(sorted({re.escape(name.rpartition(".")[2]) for name in linear}))
    config = peft.LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,  # type: ignore[arg-type,unused-ignore]  # any number will do
        lora_dropout=recipe.lora_dropout,
        target_modules=rf"{re.escape(language)}\.(?:.*\.)?(?:{kinds})",
        modules_to_save=whole or None,
    )
    with warnings.catch_warnings():
        pass_over_renamed()
        adapter = peft.get_peft_model(vlm.model, config)
    without = linear - {name.removeprefix(f"{language}.") for name in adapter.targeted_module_names}
    if without:
        raise ModelError(
            f"{len(without)} of its linear layers take no low-rank factors, {min(without)} "
            "among them.",
            where=vlm.name,
            fix="Train all its weights: tune:full in the recipe.",
        )
    return adapter


def moments(trained: Trained, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's two moments of every trained weight.

    Named `<name of the weight>.exp_avg` and `<name of the weight>.exp_avg_sq`.
    """
    return {
        f"{plain_name(name)}.{kind}": optimizer.state[weight][kind].detach().cpu().contiguous()
        for name, weight in trained.named().items()
        for kind in ("exp_avg", "exp_avg_sq")
        if kind in optimizer.state.get(weight, {})
    }

"""How a model is fine-tuned: every number that decides the weights, each with its origin.

Nothing here imports torch. All fields are part of the name of what is trained, see
`training.tuned`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from visift.errors import InputError, did_you_mean
from visift.models.ref import DTYPES, ModelRef

Tune = Literal["lora", "full"]
Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One fine-tuning; the defaults are LLaVA-1.5's second stage with LoRA.

    They are those of the script that its authors published (`finetune_lora.sh`) and of the
    arguments it leaves at their defaults; what is [ours] says so.

    Attributes:
        tune: `lora` trains low-rank factors of all linear layers of the language model, `full` all
            its weights.
        lora_rank: r.
        lora_alpha: updates are scaled by alpha/r.
        lora_dropout: on the input of the factors.
        projector: whether the projector is trained too, all its weights.
        vision: whether the vision tower is trained too, all its weights.
        epochs: passes over the examples.
        batch_size: examples an optimiser step.
        micro_batch: examples a forward pass on one device; the rest is accumulated.
        rate: peak learning rate.
        projector_rate: that of the projector; None for `rate`.
        vision_rate: that of the vision tower, likewise.
        weight_decay: of AdamW.
        warmup: share of the steps in which the rate rises.
        schedule: how it falls afterwards.
        clip: largest norm of a gradient.
        max_tokens: longer conversations are cut there.
        by_modality: whether batches hold examples with images or without, not both.
        checkpointing: whether activations are computed again instead of kept.
        dtype: of the computation: `auto` is that of the model; weights that are trained are kept
            in float32 [ours].
        checkpoints: how many checkpoints, evenly spread over the steps, are kept with the state of
            the optimiser [ours]; 1 keeps the last one, without it.
        seed: of the order of the examples, new weights and dropout.
    """

    tune: Tune = "lora"
    lora_rank: int = 128
    lora_alpha: float = 256
    lora_dropout: float = 0.05
    projector: bool = True
    vision: bool = False
    epochs: int = 1
    batch_size: int = 128
    micro_batch: int = 16
    rate: float = 2e-4
    projector_rate: float | None = 2e-5
    vision_rate: float | None = None
    weight_decay: float = 0.0
    warmup: float = 0.03
    schedule: Schedule = "cosine"
    clip: float = 1.0
    max_tokens: int = 2048
    by_modality: bool = True
    checkpointing: bool = True
    dtype: str = "auto"
    checkpoints: int = 1
    seed: int = 0

    def steps(self, examples: int) -> int:
        """Return the optimiser steps that so many examples take."""
        return self.epochs * math.ceil(examples / self.batch_size)

    def rate_share(self, step: int, steps: int) -> float:
        """Return the learning rate of a step as a share of the peak: a rise, then the schedule.

        A rise takes at most all steps but the last: a training of one step has the whole rate
        [ours].

        Args:
            step: from 0 on.
            steps: of the whole training.
        """
        rising = min(math.ceil(self.warmup * steps), steps - 1)
        if step < rising:
            return step / rising
        gone = (step - rising) / max(steps - rising, 1)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(gone, 1.0)))
        return max(1 - gone, 0.0) if self.schedule == "linear" else 1.0


#: LLaVA-1.5's second stage with LoRA, as published.
LLAVA = Recipe()

#: What `builtin:tiny` learns its tasks by: every weight, see `models.tiny.check` [ours].
TINY = Recipe(
    tune="full",
    vision=True,
    epochs=4,
    batch_size=32,
    micro_batch=32,
    rate=1e-3,
    projector_rate=None,
    weight_decay=0.01,
    warmup=0.0,
    by_modality=False,
    checkpointing=False,
)

#: Low-rank factors for `builtin:tiny`, whose width is 128 [ours].
TINY_LORA = dataclasses.replace(
    TINY, tune="lora", vision=False, lora_rank=16, lora_alpha=32, lora_dropout=0.0
)

#: mmSSR's scorer, as its released script tunes it; `micro_batch`, `clip` and `by_modality` are
#: [ours], as it says nothing of them.
MMSSR = Recipe(
    tune="full",
    vision=True,
    vision_rate=2e-6,
    batch_size=256,
    micro_batch=1,
    rate=1e-5,
    projector_rate=None,
    max_tokens=32768,
)

RECIPES = {"llava": LLAVA, "tiny": TINY, "tiny-lora": TINY_LORA, "mmssr": MMSSR}

#: The recipe that fits the model: LLaVA-1.5's, or that of the toy model.
AUTO = "auto"


def read_recipe(
    said: str | Mapping[str, Any], model: ModelRef | None, seed: int = 0, *, lora: bool = False
) -> Recipe:
    """Return a recipe as a user says it: `auto`, `llava`, or `llava,epochs:2,rate:1e-4`.

    Args:
        said: a name and changes to it; a mapping names it as `recipe`.
        model: what is to be tuned, which `auto` looks at.
        seed: unless said otherwise.
        lora: whether `auto` must give low-rank factors.

    Raises:
        InputError: an unknown name, or a value that does not fit.
    """
    name, changes = _said(said)
    if name not in (AUTO, *RECIPES):
        raise InputError(
            f'there is no recipe "{name}".{did_you_mean(name, RECIPES)}',
            fix=f"Recipes: {AUTO}, {', '.join(RECIPES)}; change one with name,epochs:2,rate:1e-4.",
        )
    toy = "tiny-lora" if lora else "tiny"
    fitting = toy if model is not None and model.is_toy else "llava"
    recipe = RECIPES[fitting if name == AUTO else name]
    values = {key: _value(key, value) for key, value in changes.items()}
    recipe = dataclasses.replace(recipe, **{"seed": seed, **values})
    _must_make_sense(recipe)
    return recipe


def _said(said: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(said, Mapping):
        changes = dict(said)
        return str(changes.pop("recipe", AUTO)), changes
    parts = [part.strip() for part in said.split(",")]
    name = AUTO if ":" in parts[0] else parts.pop(0)
    changes = {}
    for part in parts:
        key, colon, value = part.partition(":")
        if not colon:
            raise InputError(f'"{part}" in a recipe: name:value was expected.')
        changes[key.strip()] = value.strip()
    return name, changes


def _value(name: str, given: Any) -> Any:
    """Return the value of a field in its type."""
    kinds = get_type_hints(Recipe)
    if name not in kinds:
        raise InputError(
            f'a recipe has no "{name}".{did_you_mean(name, kinds)}', fix=f"It has {_names(kinds)}."
        )
    kind, text = kinds[name], str(given).lower()
    options = [option for option in get_args(kind) or (kind,) if option is not type(None)]
    if text == "none" and len(options) < len(get_args(kind)):
        return None
    for option in options:
        if option is bool and text in ("true", "false"):
            return text == "true"
        if option is str or text == option:
            return text
        if option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    wanted = " or ".join(words.get(option, str(option)) for option in options)
    raise InputError(f"{name}:{given} in a recipe: {wanted} was expected.")


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(fields)


_AT_LEAST_ONE = ("lora_rank", "epochs", "batch_size", "micro_batch", "max_tokens", "checkpoints")


def _must_make_sense(recipe: Recipe) -> None:
    numbers = [v for v in dataclasses.asdict(recipe).values() if isinstance(v, float)]
    wrong = next((name for name in _AT_LEAST_ONE if getattr(recipe, name) < 1), None)
    if wrong is not None:
        raise InputError(f"{wrong}:{getattr(recipe, wrong)} in a recipe: at least 1 was expected.")
    if any(not math.isfinite(number) or number < 0 for number in numbers):
        raise InputError("a recipe with a number below zero, or with none that is finite.")
    if recipe.dtype not in DTYPES:
        raise InputError(
            f"dtype:{recipe.dtype} in a recipe: one of {', '.join(DTYPES)} was expected."
        )
    if recipe.batch_size % recipe.micro_batch:
        raise InputError(
            f"batch_size:{recipe.batch_size} in a recipe is no multiple of "
            f"micro_batch:{recipe.micro_batch}."
        )

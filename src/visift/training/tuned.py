"""A model that is known before it is trained: its base, the recipe, and what it is trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from hashlib import blake2b
from json import dumps
from pathlib import Path
from typing import Any, ClassVar

from visift.errors import ModelError
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.cost import Cost, Load
from visift.signals.signal import Column, Measure, Unit
from visift.training.recipe import Recipe

#: Raised when another way of training gives other weights for the same recipe.
VERSION = 2

#: Written last into a finished checkpoint: what became of the training.
OUTCOME = "training.json"


@dataclass(frozen=True, slots=True)
class TunedRef(ModelRef):
    """A fine-tuned model; its `name` is for people, all that decides it stands beside.

    Attributes:
        base: what is tuned.
        recipe: how.
        examples: digest of the examples' content, in no order.
        count: number of them.
        checkpoints: folder of all checkpoints, `path` is that of this one.
        at: its `path` where that is worked out already: weights are read for it.
    """

    base: ModelRef = dataclasses.field(default=ModelRef("builtin:tiny"), kw_only=True)
    recipe: Recipe = dataclasses.field(default=Recipe(), kw_only=True)
    examples: str = dataclasses.field(default="", kw_only=True)
    count: int = dataclasses.field(default=0, kw_only=True)
    checkpoints: str = dataclasses.field(default="", kw_only=True, compare=False)
    at: str = dataclasses.field(default="", kw_only=True, compare=False)

    @classmethod
    def of(
        cls, base: ModelRef, recipe: Recipe, examples: str, count: int, checkpoints: Path
    ) -> TunedRef:
        """Return the model that some examples make of a base; see the attributes."""
        return cls(
            f"{base.name} tuned on {count:,} records",
            dtype=base.dtype,
            device=base.device,
            trust_remote_code=base.trust_remote_code,
            base=base,
            recipe=recipe,
            examples=examples,
            count=count,
            checkpoints=str(checkpoints),
        )

    @property
    def is_toy(self) -> bool:
        """See `ModelRef.is_toy`."""
        return self.base.is_toy

    @property
    def path(self) -> Path:
        """Where the checkpoint is, or will be."""
        if self.at:
            return Path(self.at)
        plain = dumps(self.identity(), sort_keys=True).encode()
        return Path(self.checkpoints) / blake2b(plain, digest_size=12).hexdigest()

    @property
    def is_trained(self) -> bool:
        """Whether the checkpoint is there; `cache clear` leaves its outcome and takes the rest."""
        path = self.path
        return (path / OUTCOME).is_file() and any(path.glob("*.safetensors"))

    def located(self) -> TunedRef:
        """Return the same model with its path worked out, for those who open it elsewhere."""
        return dataclasses.replace(self, at=str(self.path))

    def identity(self) -> dict[str, Any]:
        """Return what decides this model's values; known before it is trained."""
        return {
            "base": self.base.identity(),
            "recipe": dataclasses.asdict(self.recipe),
            "examples": self.examples,
            "trained": VERSION,
        }

    def folder(self) -> Path:
        """Return the folder of the checkpoint; raises `ModelError` if it is not trained yet."""
        if not self.is_trained:
            raise ModelError("is not trained yet.", where=self.name)
        return self.path

    def parts(self) -> tuple[Path, ...]:
        """Return the folders of base and factors, or that of the whole model; see `ModelRef`."""
        folder = self.folder()
        return (folder,) if self.recipe.tune == "full" else (*self.base.parts(), folder)

    def config_folder(self) -> Path:
        """Return a folder with the configuration, which is that of the base."""
        return self.base.config_folder()

    def here(self) -> Path | None:
        """Return the folder of the base if it is here: the checkpoint follows from it."""
        return self.base.here()

    def resolved_revision(self) -> str | None:
        """Return the commit of the base."""
        return self.base.resolved_revision()


@dataclass(frozen=True, slots=True)
class FineTuning:
    """What training costs, in the shape of a signal without a value, for plan and ledger.

    Attributes:
        model: what is tuned.
        recipe: how.
    """

    version: ClassVar[int] = VERSION
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = ()

    model: ModelRef
    recipe: Recipe

    def cost(self, load: Load) -> Cost:
        """Return what training on some records costs; bytes of checkpoints are left out.

        With LoRA, no gradients of the frozen weights are formed: 4 operations for a parameter and
        token instead of 6.
        """
        facts, passes = read_facts(self.model), load.items * self.recipe.epochs
        tokens = (load.text_tokens + load.images * facts.image_tokens) * self.recipe.epochs
        full = facts.training_flops(tokens)
        share = 1 if self.recipe.tune == "full" else 2 / 3
        return Cost(
            forwards_full=passes,
            backwards=passes,
            training_steps=self.recipe.steps(load.items),
            blocks=passes * (facts.blocks or 0),
            tokens=tokens,
            flops=None if full is None else int(full * share),
        )

    def open(self, device: str) -> Measure:
        """Refuse: training is no measuring."""
        raise NotImplementedError

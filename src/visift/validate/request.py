"""What a validation is asked to do: everything that decides its outcome, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from visift.budget import Budget
from visift.config import PoolConfig, RunConfig, share
from visift.errors import InputError, did_you_mean
from visift.methods.method import METHODS, Method, build, method_class
from visift.models.ref import ModelRef
from visift.training.recipe import AUTO, Recipe, read_recipe
from visift.validate.arms import CONTROLS, RS2
from visift.validate.decontamination import NEAR_BITS
from visift.validate.equal import EQUALS
from visift.validate.evaluation import Evaluation
from visift.validate.evaluator import LmmsEval

#: Without these a "better" is never said.
DEFAULT_SEEDS = 5


@dataclass(frozen=True, slots=True)
class Seeds:
    """How often arms are drawn, and models trained on them.

    Attributes:
        selection: draws of each arm.
        training: trainings of each draw where the two are crossed; else one a draw, and a seed of
            its own for each.
        crossed: whether every draw is trained on with every training seed.
    """

    selection: int = DEFAULT_SEEDS
    training: int = DEFAULT_SEEDS
    crossed: bool = False

    @classmethod
    def read(cls, both: int | None, selection: int | None, training: int | None) -> Seeds:
        """Read what was asked for: one number for both in step, or two that are crossed.

        Raises:
            InputError: both ways at once, or less than one.
        """
        crossed = selection is not None or training is not None
        if crossed and both is not None:
            raise InputError(
                "--seeds contradicts --selection-seeds and --training-seeds.",
                fix="--seeds 5 draws and trains five times; the other two cross their numbers.",
            )
        usual = DEFAULT_SEEDS if both is None else both
        drawn = selection or 1 if crossed else usual
        trained = training or 1 if crossed else usual
        if min(drawn, trained) < 1 or 0 in (both, selection, training):
            raise InputError("a number of seeds is 1 or more.", fix="For example: --seeds 5")
        return cls(drawn, trained, crossed)

    def of(self, draw: int) -> list[int]:
        """Return the training seeds of a draw."""
        return list(range(self.training)) if self.crossed else [draw]


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides a validation.

    Attributes:
        pool: what is chosen from.
        model: that methods measure with, and that is tuned unless `tuned` names another.
        tuned: what is tuned on every arm.
        methods: arms beside the controls.
        settings: of methods: `METHOD.NAME`, or `NAME` where there is one method.
        budgets: as written.
        seeds: how often is drawn and trained.
        seed: of the first draw and the first training, and of what is held out.
        recipe: as written, see `training.recipe.read_recipe`.
        questions: files of records to ask about; none holds some of the pool's own out.
        question_images: their image folder.
        held_out: share of the records of every task that is held out, as written.
        most: records a task that are held out at most [ours].
        evaluation: how models are asked.
        ablations: whether parts of every method are arms of their own.
        rounds: in how many rounds every method chooses, as an arm of its own; 1 for none.
        equal: further random arms for every method, see `equal`.
        near_bits: see `decontamination`.
        keep_contaminated: whether questions that stand in the pool count all the same.
        evaluator: what evaluates the models on benchmarks, too; None for nothing.
        max_unusable: see `RunConfig`.
        signals: see `RunConfig`.
        labels: see `RunConfig`.
    """

    pool: PoolConfig = field(default_factory=PoolConfig)
    model: ModelRef | None = None
    tuned: ModelRef | None = None
    methods: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    budgets: tuple[str, ...] = ("15%",)
    seeds: Seeds = field(default_factory=Seeds)
    seed: int = 0
    recipe: str = AUTO
    questions: tuple[str, ...] = ()
    question_images: str | None = None
    held_out: str = "20%"
    most: int = 400
    evaluation: Evaluation = field(default_factory=Evaluation)
    ablations: bool = False
    rounds: int = 1
    equal: tuple[str, ...] = ()
    near_bits: int = NEAR_BITS
    keep_contaminated: bool = False
    evaluator: LmmsEval | None = None
    max_unusable: str = "1%"
    signals: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def checked(self) -> Request:
        """Return the request with absolute paths, having looked at all that can be looked at.

        Raises:
            InputError: something in it cannot be used.
        """
        run = RunConfig(
            pool=self.pool,
            model=self.model,
            max_unusable=self.max_unusable,
            signals=self.signals,
            labels=self.labels,
        ).checked()
        names = tuple(_known(name) for name in self.methods)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f'the method "{twice}" is named twice.')
        if self.base is None:
            raise InputError(
                "validating trains a model, and none was named.",
                fix="Name the checkpoint to tune: --model ./checkpoint",
            )
        for kind in self.equal:
            if kind not in EQUALS:
                raise InputError(
                    f"--equal {kind}: not known.{did_you_mean(kind, EQUALS)}",
                    fix=f"One of {', '.join(EQUALS)}, or both.",
                )
        for budget in self.budgets:
            Budget.parse(budget)
        share(self.max_unusable)
        if self.rounds < 1:
            raise InputError("a number of rounds is 1 or more.", fix="For example: --rounds 3")
        if self.most < 1 or not 0 < self.share < 1:
            raise InputError(
                f'"{self.held_out}" of the records, at most {self.most:,} a task, cannot be held '
                "out.",
                fix="For example: --held-out 20%",
            )
        if self.evaluator is not None and self.training(0).tune != "full":
            raise InputError(
                "lmms-eval reads whole models, and the recipe trains low-rank factors.",
                fix="Train all weights: --recipe llava,tune:full,rate:2e-5",
            )
        if "seed" in _named(self.recipe):
            raise InputError(
                f'"{self.recipe}": every training has a seed of its own.',
                fix="Leave seed out of the recipe, and say --seed for the first one.",
            )
        images = self.question_images
        request = replace(
            self,
            pool=run.pool,
            model=run.model,
            methods=names,
            signals=run.signals,
            labels=tuple(str(Path(file).absolute()) for file in self.labels),
            questions=tuple(str(Path(file).absolute()) for file in self.questions),
            question_images=None if images is None else str(Path(images).absolute()),
            tuned=None if self.tuned is None else _located(self.tuned),
            evaluator=None if self.evaluator is None else self.evaluator.located(),
        )
        for name in names:
            request.method(name, 0)
        request.training(0)
        return request

    @property
    def base(self) -> ModelRef | None:
        """What is tuned."""
        return self.tuned or self.model

    @property
    def share(self) -> Fraction:
        """Share of the records of a task that is held out."""
        return share(self.held_out)

    @property
    def allowed(self) -> Fraction:
        """Share of the records that may be set aside."""
        return share(self.max_unusable)

    def method(self, name: str, draw: int) -> Method:
        """Return a method with its parameters and the seed of a draw."""
        return build(name, self.settings_of(name), seed=self.seed + draw, model=self.model)

    def settings_of(self, name: str) -> dict[str, Any]:
        """Return the parameters of a method; raises `InputError` for those of none."""
        mine = {}
        for key, value in self.settings.items():
            owner, dot, rest = key.partition(".")
            if not dot and len(self.methods) != 1:
                raise InputError(
                    f"--set {key}: of which method?", fix=f"Say --set METHOD.{key}={value}"
                )
            if dot and owner not in self.methods:
                raise InputError(f'--set {key}: "{owner}" is not among --methods.')
            if not dot or owner == name:
                mine[rest if dot else key] = value
        return mine

    def training(self, seed: int) -> Recipe:
        """Return how models are tuned with a training seed."""
        recipe = read_recipe(self.recipe, self.base, self.seed + seed)
        return replace(recipe, seed=self.seed + seed)

    def result(self) -> dict[str, Any]:
        """Return what decides the outcome, as plain data."""
        plain: dict[str, Any] = _listed(dataclasses.asdict(self))
        del plain["max_unusable"]
        return plain

    def to_yaml(self) -> str:
        """Return the request as YAML, the same text for equal requests."""
        plain = _listed(dataclasses.asdict(self))
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _named(recipe: str) -> list[str]:
    """Return the names of the values that a recipe sets, as it is written."""
    return [part.partition(":")[0].strip() for part in recipe.split(",")]


def _located(model: ModelRef) -> ModelRef:
    """Return a model whose folder is found from anywhere."""
    there = Path(model.name).is_dir()
    return replace(model, name=str(Path(model.name).absolute())) if there else model


def _known(name: str) -> str:
    """Return a method's name, `mllm-selector` as `mllm_selector`; raises `InputError`."""
    plain = name.strip()
    plain = plain if plain in METHODS else plain.replace("-", "_")
    if plain in CONTROLS or plain == RS2:
        raise InputError(f"{plain} is among the controls, which always run.")
    method_class(plain if plain in METHODS or ":" in name else name.strip())
    return plain if plain in METHODS else name.strip()


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(inner) for key, inner in value.items()}
    return [_listed(inner) for inner in value] if isinstance(value, tuple | list) else value

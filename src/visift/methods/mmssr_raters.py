"""Who rates for mmSSR, and what was learnt from: `mmssr_asking` asks for all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visift.engine.measured import Measured
from visift.engine.trainings import Tuned
from visift.models.ref import ModelRef
from visift.pool.labelled import Labels
from visift.training.recipe import Recipe
from visift.training.tuned import TunedRef

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be rated, how, and by whom; see the parameters of mmssr.

    Attributes:
        picks: keys of those that pick.
        capabilities: keys of those learnt and rated; these among them.
        added: further ones, learnt on top of these.
        styles: the candidates.
        any_style: whether a teacher may have named others.
        model: the base.
        scorer: `train`, `zero-shot`, or a model.
        styler: the same, or `auto`.
        query: for ratings.
        style_query: for styles.
        recipe: of the scorer's training.
        styler_recipe: of the styler's.
        held_out: share of the labelled rows that nothing learns from.
        seed: of the draws.
        official: whether replies are read as the official code reads them.
    """

    picks: tuple[str, ...]
    capabilities: tuple[str, ...]
    added: tuple[str, ...]
    styles: tuple[str, ...]
    any_style: bool
    model: ModelRef | None
    scorer: str
    styler: str
    query: str
    style_query: str
    recipe: Recipe
    styler_recipe: Recipe
    held_out: float
    seed: int
    official: bool = False


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings in some capabilities, from one hand.

    Attributes:
        capabilities: which ones.
        values: (see `CapabilityRatings`).
        spread: those of which there are probabilities of every rating, too.
        handed_in: whether no model of ours gave them.
    """

    capabilities: tuple[str, ...]
    values: Measured
    spread: frozenset[str]
    handed_in: bool = False


@dataclass(frozen=True, slots=True)
class Teacher:
    """Labels of a teacher.

    Attributes:
        labels: all of them.
        rows: those of their rows that can be chosen, ascending: others are not learnt from.
        held: those of `rows` that nothing learns from, ascending.
    """

    labels: Labels
    rows: IntArray
    held: IntArray

    @property
    def learnt(self) -> IntArray:
        """The rows to learn from."""
        return np.setdiff1d(self.rows, self.held)


@dataclass(frozen=True, slots=True)
class Learner:
    """A model that learns from labels.

    Attributes:
        name: as it is spoken of.
        setting: the parameter that says how it learns.
        tuned: the model.
    """

    name: str
    setting: str
    tuned: Tuned

    @property
    def training(self) -> tuple[int, int]:
        """How many examples it is shown, and how many steps that takes."""
        model = self.tuned.model
        assert isinstance(model, TunedRef), "a learner without a model is refused before"
        return model.count, model.recipe.steps(model.count)


@dataclass(frozen=True, slots=True)
class Raters:
    """All that was asked for.

    Attributes:
        ratings: one for every hand they come from.
        styles: see `InteractionStyles`.
        teachers: whose labels were learnt from; several where capabilities were added.
        learners: the models that learnt.
        untrained: models that were asked as they are: `scorer`, `styler`.
        untaught: capabilities that were to be learnt, and that such a scorer is asked about.
    """

    ratings: tuple[Ratings, ...]
    styles: Measured
    teachers: tuple[Teacher, ...]
    learners: tuple[Learner, ...]
    untrained: tuple[str, ...]
    untaught: tuple[str, ...] = ()

    @property
    def capabilities(self) -> tuple[str, ...]:
        """All that records are rated in."""
        return tuple(key for one in self.ratings for key in one.capabilities)

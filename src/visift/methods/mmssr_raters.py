"""Who rates for mmSSR: numbers handed in, a model as it comes, or one trained for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.engine.trainings import Tuned
from visift.errors import InputError
from visift.methods.mmssr_labels import held_out, scorer_examples, styler_examples
from visift.models.ref import ModelRef
from visift.pool.labelled import Labels
from visift.pool.pool import Pool
from visift.signals.ratings import CapabilityRatings
from visift.signals.styles import InteractionStyles
from visift.training.recipe import Recipe

IntArray = NDArray[np.int64]

TRAIN, ZERO_SHOT, AUTO = "train", "zero-shot", "auto"
#: A new capability is learnt from so many of the rows that others are learnt from [ours].
_ADDED_PART = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be rated, how, and by whom; see the parameters of mmssr.

    Attributes:
        picks: keys of those that pick.
        capabilities: keys of those learnt and rated; these among them.
        added: further ones, learnt on top of these.
        styles: the candidates.
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
    """

    capabilities: tuple[str, ...]
    values: Measured
    spread: frozenset[str]


@dataclass(frozen=True, slots=True)
class Teacher:
    """Labels of a teacher, and which of them nothing learns from."""

    labels: Labels
    held: IntArray


@dataclass(frozen=True, slots=True)
class Raters:
    """All that was asked for.

    Attributes:
        ratings: one for every hand they come from.
        styles: see `InteractionStyles`.
        teachers: whose labels were learnt from; several where capabilities were added.
        trained: the models that learnt.
        untrained: models that were asked as they are: `scorer`, `styler`.
    """

    ratings: tuple[Ratings, ...]
    styles: Measured
    teachers: tuple[Teacher, ...]
    trained: tuple[Tuned, ...]
    untrained: tuple[str, ...]

    @property
    def capabilities(self) -> tuple[str, ...]:
        """All that records are rated in."""
        return tuple(key for one in self.ratings for key in one.capabilities)


def ask_raters(
    pool: Pool, lab: Lab, asked: Asked, rows: IntArray, drawn: Callable[[], IntArray]
) -> Raters:
    """Ask for ratings and styles of some rows, and for the models that give them.

    Args:
        pool: what rows refer to.
        lab: what is asked.
        asked: what to ask for.
        rows: (n,) rows.
        drawn: gives the rows that a teacher shall label, where one is needed.

    Raises:
        AnnotationNeeded: a teacher must label some rows first.
        InputError: there is no model to train.
    """
    return _Asking(pool, lab, asked, Examples(rows), drawn).raters()


@dataclass(frozen=True, slots=True)
class _Asking:
    pool: Pool
    lab: Lab
    asked: Asked
    all: Examples
    drawn: Callable[[], IntArray]

    def raters(self) -> Raters:
        asked = self.asked
        given = self._given((*asked.capabilities, *asked.added))
        wanted = asked.picks if set(asked.picks) <= set(given) else asked.capabilities
        given = tuple(key for key in given if key in (*wanted, *asked.added))
        first = tuple(key for key in wanted if key not in given)
        more = tuple(key for key in asked.added if key not in given)
        rates = bool(first or more)
        styled = self.lab.given("styles")
        styler = self._styler(rates) if not styled else ""
        learns = (asked.scorer == TRAIN and rates, styler == TRAIN)
        teachers, trained = list[Teacher](), list[Tuned]()
        if any(learns):
            base = asked.capabilities if learns[0] else ()
            teachers.append(self._teacher(self.drawn(), base, styles=learns[1]))
        scorer = self._named(asked.scorer)
        if learns[0]:
            trained.append(self._scorer(asked.model, teachers[0], asked.capabilities))
            scorer = trained[-1].model
        ratings = self._handed_in(given)
        if first:
            ratings.append(self._ratings(scorer, first))
        if more and learns[0]:
            rows = self.drawn()
            some = rows[: -(-len(rows) // _ADDED_PART)]
            teachers.append(self._teacher(some, more, styles=False))
            trained.append(self._scorer(scorer, teachers[-1], more))
            scorer = trained[-1].model
        if more:
            ratings.append(self._ratings(scorer, more))
        model = None if styled else self._named(styler)
        if learns[1]:
            trained.append(self._tuned_styler(teachers[0]))
            model = trained[-1].model
        untrained = [
            word
            for word, who, used in (("scorer", asked.scorer, rates), ("styler", styler, not styled))
            if used and who == ZERO_SHOT
        ]
        return Raters(
            tuple(ratings), self._styles(model), tuple(teachers), tuple(trained), tuple(untrained)
        )

    def _given(self, capabilities: Sequence[str]) -> tuple[str, ...]:
        return tuple(key for key in capabilities if self.lab.given(f"score.{key}"))

    def _handed_in(self, given: Sequence[str]) -> list[Ratings]:
        """Ask for what was handed in, added ones by themselves: they may be in files of their own.

        No model stands behind it: none shall step in where a file lacks something.
        """
        added = [(key,) for key in given if key in self.asked.added]
        others = tuple(key for key in given if key not in self.asked.added)
        groups = [*([others] if others else []), *added]
        return [self._ratings(None, keys, handed_in=True) for keys in groups]

    def _styler(self, rates: bool) -> str:
        scorer, styler = self.asked.scorer, self.asked.styler
        if styler != AUTO:
            return styler
        if scorer not in (TRAIN, ZERO_SHOT) and rates:
            raise InputError(
                f"--set scorer={scorer} names a scorer, and no styler was named.",
                fix=f"Name it: --set styler=PATH, or {TRAIN}, or {ZERO_SHOT}.",
            )
        return scorer if scorer in (TRAIN, ZERO_SHOT) else TRAIN

    def _named(self, who: str) -> ModelRef | None:
        """Return the model that a name stands for; the base for all that is no name."""
        base = self.asked.model
        if who in ("", TRAIN, ZERO_SHOT):
            return base
        named = ModelRef.parse(who)
        if base is None:
            return named
        return replace(
            named,
            dtype=base.dtype,
            device=base.device,
            trust_remote_code=base.trust_remote_code,
        )

    def _teacher(self, rows: IntArray, capabilities: Sequence[str], *, styles: bool) -> Teacher:
        asked = self.asked
        if asked.model is None:
            raise InputError(
                "a model is to learn from a teacher's labels, and none was named.",
                fix="Name it with --model (the one you will train, before its training), or hand "
                "in score.<capability> and styles with --signals FILE.",
            )
        labels = self.lab.labels(rows, capabilities, styles=styles)
        rated = np.intersect1d(labels.rows, self.all.rows)
        return Teacher(labels, held_out(self.pool, rated, asked.held_out, asked.seed))

    def _scorer(
        self, model: ModelRef | None, teacher: Teacher, capabilities: Sequence[str]
    ) -> Tuned:
        rows = self._learnt(teacher)
        examples = scorer_examples(self.pool, teacher.labels, rows, capabilities, self.asked.query)
        return self.lab.finetune(model, self.asked.recipe, examples)

    def _learnt(self, teacher: Teacher) -> IntArray:
        """Return the rows to learn from: candidates alone, whatever else somebody labelled."""
        return np.setdiff1d(np.intersect1d(teacher.labels.rows, self.all.rows), teacher.held)

    def _tuned_styler(self, teacher: Teacher) -> Tuned:
        asked = self.asked
        rows = self._learnt(teacher)
        examples = styler_examples(self.pool, teacher.labels, rows, asked.styles, asked.style_query)
        return self.lab.finetune(asked.model, asked.styler_recipe, examples)

    def _ratings(
        self, model: ModelRef | None, capabilities: tuple[str, ...], *, handed_in: bool = False
    ) -> Ratings:
        asked = self.asked
        signal = CapabilityRatings(
            model,
            capabilities,
            asked.query,
            official=asked.official,
            max_tokens=asked.recipe.max_tokens,
        )
        spread = (key for key in capabilities if not handed_in or self.lab.given(f"p.{key}"))
        return Ratings(capabilities, self.lab.measure(signal, self.all), frozenset(spread))

    def _styles(self, model: ModelRef | None) -> Measured:
        asked = self.asked
        signal = InteractionStyles(
            model, asked.styles, asked.style_query, max_tokens=asked.styler_recipe.max_tokens
        )
        return self.lab.measure(signal, self.all)

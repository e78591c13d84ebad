"""Asking for ratings and styles: handed in, of a model as it comes, or of one that learns first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.mmssr_labels import (
    held_out,
    more_often,
    must_be_candidates,
    scorer_examples,
    styler_examples,
    within_context,
)
from visift.methods.mmssr_raters import Asked, Learner, Raters, Ratings, Teacher
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.signals.ratings import CapabilityRatings
from visift.signals.styles import InteractionStyles
from visift.training.recipe import Recipe

IntArray = NDArray[np.int64]

TRAIN, ZERO_SHOT, AUTO = "train", "zero-shot", "auto"
#: A new capability is learnt from so many of the rows that others are learnt from [ours].
_ADDED_PART = 5


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
        InputError: there is no model to train, or nothing that it could learn from.
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
        given, first, more = self._split()
        styled, rates = self.lab.given("styles"), bool(first or more)
        styler = "" if styled else self._styler(rates)
        if rates or styler:
            self._must_be_said()
        scores = rates and self.asked.scorer == TRAIN
        teachers, learners = list[Teacher](), list[Learner]()
        if scores or styler == TRAIN:
            teachers.append(self._first_teacher(scores, styles=styler == TRAIN))
        scorer = self._named(self.asked.scorer)
        if scores:
            learners.append(self._scorer(teachers[0]))
            scorer = learners[-1].tuned.model
        ratings = self._handed_in(given)
        if first:
            ratings.append(self._ratings(scorer, first))
        untaught = more if self.asked.scorer == ZERO_SHOT else ()
        if more and not untaught:
            teachers.append(self._added_teacher(scorer, more, teachers))
            learners.append(self._added_scorer(scorer, teachers[-1], more))
            scorer = learners[-1].tuned.model
        if more:
            ratings.append(self._ratings(scorer, more))
        model = None if styled else self._named(styler)
        if styler == TRAIN:
            learners.append(self._tuned_styler(teachers[0]))
            model = learners[-1].tuned.model
        asked_of = (("scorer", rates, self.asked.scorer), ("styler", bool(styler), styler))
        untrained = tuple(name for name, used, who in asked_of if used and who == ZERO_SHOT)
        styles = self._styles(model)
        return Raters(
            tuple(ratings), styles, tuple(teachers), tuple(learners), untrained, tuple(untaught)
        )

    # --- what is there, and who is asked for the rest --------------------------------------------

    def _split(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return capabilities handed in, those to be rated, and added ones to be rated."""
        asked = self.asked
        given = [k for k in (*asked.capabilities, *asked.added) if self.lab.given(f"score.{k}")]
        wanted = asked.picks if set(asked.picks) <= set(given) else asked.capabilities
        return (
            tuple(key for key in given if key in (*wanted, *asked.added)),
            tuple(key for key in wanted if key not in given),
            tuple(key for key in asked.added if key not in given),
        )

    def _handed_in(self, given: Sequence[str]) -> list[Ratings]:
        """Ask for what was handed in: one by one what is added, and all where no file has them all.

        No model stands behind it: none shall step in where a file lacks something.
        """
        alone = [(key,) for key in given if key in self.asked.added]
        others = tuple(key for key in given if key not in self.asked.added)
        whole = self.lab.given(*(f"score.{key}" for key in others))
        groups = [others] * bool(others) if whole else [(key,) for key in others]
        return [self._ratings(None, keys, handed_in=True) for keys in (*groups, *alone)]

    def _must_be_said(self) -> None:
        """Raise `InputError` where there are images alone: nobody can rate what nobody said."""
        if self.pool.unannotated[self.all.rows].all():
            raise InputError(
                "no record that can be chosen has a conversation, and that is what is rated.",
                fix="Methods for images alone: presel, typical, and those that compare images.",
            )

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

    # --- teachers --------------------------------------------------------------------------------

    def _first_teacher(self, scores: bool, *, styles: bool) -> Teacher:
        asked = self.asked
        capabilities = asked.capabilities if scores else ()
        found = self._teacher(asked.model, self.drawn, capabilities, styles=styles)
        strange = {name for one in found.labels.styles for name in one} - set(asked.styles)
        if strange and not asked.any_style:
            raise InputError(
                f'the teacher named a style that is no candidate: "{min(strange)}".',
                fix="Name them all: --set style_vocab=…, or allow any: --set style_vocab=open",
            )
        return found

    def _added_teacher(
        self, scorer: ModelRef | None, keys: Sequence[str], before: Sequence[Teacher]
    ) -> Teacher:
        """Ask for labels of fewer rows; what others do not learn from, nobody does."""

        def some() -> IntArray:
            rows = self.drawn()
            return rows[: -(-len(rows) // _ADDED_PART)]

        return self._teacher(scorer, some, keys, styles=False, before=before)

    def _teacher(
        self,
        learner: ModelRef | None,
        drawn: Callable[[], IntArray],
        capabilities: Sequence[str],
        *,
        styles: bool,
        before: Sequence[Teacher] = (),
    ) -> Teacher:
        if learner is None:
            raise InputError(
                "a model is to learn from a teacher's labels, and none was named.",
                fix="Name it with --model (the one you will train, before its training), or hand "
                "in score.<capability> and styles with --signals FILE.",
            )
        labels = self.lab.labels(drawn(), capabilities, styles=styles)
        said = self.all.rows[~self.pool.unannotated[self.all.rows]]
        rows = np.intersect1d(labels.rows, said)
        if labels.known:
            must_be_candidates(len(labels.rows), len(rows))
        fresh, held = rows, rows[:0]
        for one in before:
            fresh, held = np.setdiff1d(fresh, one.rows), np.union1d(held, one.held)
        drawn_now = held_out(self.pool, fresh, self.asked.held_out, self.asked.seed)
        held = np.union1d(np.intersect1d(held, rows), drawn_now)
        return Teacher(labels, rows, held[: max(len(rows) - 1, 0)])

    # --- models that learn -----------------------------------------------------------------------

    def _scorer(self, teacher: Teacher) -> Learner:
        asked = self.asked
        examples = scorer_examples(
            self.pool, teacher.labels, teacher.learnt, asked.capabilities, asked.query
        )
        return self._learner("scorer", "recipe", asked.model, asked.recipe, teacher, examples)

    def _added_scorer(
        self, scorer: ModelRef | None, teacher: Teacher, keys: Sequence[str]
    ) -> Learner:
        query, recipe = self.asked.query, more_often(self.asked.recipe, scorer)
        examples = scorer_examples(self.pool, teacher.labels, teacher.learnt, keys, query)
        name = f"scorer of {', '.join(keys)}"
        return self._learner(name, "recipe", scorer, recipe, teacher, examples)

    def _tuned_styler(self, teacher: Teacher) -> Learner:
        asked, learnt = self.asked, teacher.learnt
        examples = styler_examples(
            self.pool, teacher.labels, learnt, asked.styles, asked.style_query
        )
        return self._learner(
            "styler", "styler_recipe", asked.model, asked.styler_recipe, teacher, examples
        )

    def _learner(
        self,
        name: str,
        setting: str,
        model: ModelRef | None,
        recipe: Recipe,
        teacher: Teacher,
        examples: Examples,
    ) -> Learner:
        if not len(examples.rows):
            raise InputError(
                f"there is nothing that the {name} could learn from: none of "
                f"{counted(len(teacher.learnt), 'record')} to learn from has a label for it.",
                fix="Label more records in it: visift annotate --for mmssr",
            )
        tuned = self.lab.finetune(model, within_context(recipe, model), examples)
        return Learner(name, setting, tuned)

    # --- what they are asked ---------------------------------------------------------------------

    def _ratings(
        self, model: ModelRef | None, capabilities: tuple[str, ...], *, handed_in: bool = False
    ) -> Ratings:
        asked = self.asked
        signal = CapabilityRatings(
            model,
            capabilities,
            asked.query,
            official=asked.official,
            max_tokens=within_context(asked.recipe, model).max_tokens,
        )
        scores = [f"score.{key}" for key in capabilities]
        spread = (k for k in capabilities if not handed_in or self.lab.given(*scores, f"p.{k}"))
        values = self.lab.measure(signal, self.all)
        return Ratings(capabilities, values, frozenset(spread), handed_in)

    def _styles(self, model: ModelRef | None) -> Measured:
        asked = self.asked
        length = within_context(asked.styler_recipe, model).max_tokens
        signal = InteractionStyles(model, asked.styles, asked.style_query, max_tokens=length)
        return self.lab.measure(signal, self.all)

"""What mmSSR does with a teacher's labels: what is labelled, learnt, and held out to check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.engine.lab import Examples
from visift.errors import InputError
from visift.methods.ranking import by_key
from visift.methods.seeds import said_size
from visift.models.facts import context_tokens
from visift.models.ref import ModelRef
from visift.pool.labelled import Labels
from visift.pool.pool import Pool
from visift.pool.record import Turn
from visift.signals.rating_prompts import rating_query, rating_turns, style_query, with_reply
from visift.training.recipe import AUTO, MMSSR, Recipe, read_recipe

IntArray = NDArray[np.int64]

#: Rows that a teacher labels: a share of the pool, within bounds [ours].
LABELLED_SHARE, FEWEST_LABELLED, MOST_LABELLED = Fraction(1, 50), 500, 10_000
#: Passes of a model that is shown fewer examples than the scorer, for each of the scorer's; those
#: of the toy model, which does not learn its task in so few steps [ours].
_PASSES, _TOY_PASSES = 4, 8
#: What stands for a reply that nobody knows yet, where a run is only planned.
_ANY_RATING = "0"


def labelled_size(said: str, rows: int) -> int:
    """Return how many rows are to be labelled.

    Args:
        said: a number, a percentage of the rows, or `auto`.
        rows: how many there are.

    Raises:
        InputError: no such number, or more than there are.
    """
    if said == AUTO:
        usual = max(int(LABELLED_SHARE * rows), FEWEST_LABELLED)
        return min(usual, MOST_LABELLED, rows)
    size = said_size(said, "labelled", rows)
    if not 0 < size <= rows:
        raise InputError(
            f"--set labelled={said} is {size:,} of {rows:,} records.",
            fix=f"From 1 to {rows:,}, or auto.",
        )
    return size


def held_out(pool: Pool, rows: IntArray, share: float, seed: int) -> IntArray:
    """Return the labelled rows that nothing learns from, ascending; at least one is learnt from.

    Args:
        pool: what rows refer to.
        rows: (n,) labelled rows.
        share: of them.
        seed: of the draw.
    """
    size = min(int(Fraction(repr(share)) * len(rows)), max(len(rows) - 1, 0))
    return np.sort(by_key(rows, pool.tie_keys(seed, b"held out"))[:size])


def scorer_recipe(said: str | Mapping[str, Any], model: ModelRef | None, seed: int) -> Recipe:
    """Return a recipe as `read_recipe` does; `auto` is mmSSR's own, or that of the toy model."""
    if model is not None and model.is_toy:
        return read_recipe(said, model, seed)
    if isinstance(said, str):
        name, comma, changes = said.partition(",")
        if ":" in name:
            said = f"mmssr,{said}"
        elif name.strip() == AUTO:
            said = f"mmssr{comma}{changes}"
    elif said.get("recipe", AUTO) == AUTO:
        said = {**said, "recipe": "mmssr"}
    return read_recipe(said, model, seed)


def styler_recipe(
    said: str | Mapping[str, Any],
    scorer: str | Mapping[str, Any],
    model: ModelRef | None,
    seed: int,
) -> Recipe:
    """Return the recipe of a styler; `auto` is that of the scorer, with more passes.

    A styler has one example of a record where a scorer has one for every capability.
    """
    if said != AUTO:
        return scorer_recipe(said, model, seed)
    return more_often(scorer_recipe(scorer, model, seed), model)


def more_often(recipe: Recipe, model: ModelRef | None) -> Recipe:
    """Return a recipe for fewer examples: they are seen more often [ours]."""
    toy = model is not None and model.is_toy
    return replace(recipe, epochs=recipe.epochs * (_TOY_PASSES if toy else _PASSES))


def within_context(recipe: Recipe, model: ModelRef | None) -> Recipe:
    """Return a recipe whose published length is cut down to what the model was made for [ours].

    Another length stays: somebody chose it.

    Raises:
        ModelError: there is no such model.
    """
    if recipe.max_tokens != MMSSR.max_tokens:
        return recipe
    longest = context_tokens(model) or recipe.max_tokens
    return replace(recipe, max_tokens=min(recipe.max_tokens, longest))


def must_be_candidates(labelled: int, candidates: int) -> None:
    """Raise `InputError` where nothing can be learnt from labels.

    Args:
        labelled: records with a label.
        candidates: those of them that can be chosen, and have a conversation.
    """
    if not labelled:
        raise InputError(
            "the teacher labelled none of the records.", fix="See why: column failed of its labels."
        )
    if not candidates:
        raise InputError(
            f"none of {counted(labelled, 'labelled record')} can be chosen (text-only, kept or "
            "failed), and only from such a scorer and a styler learn.",
            fix="Label others: without --labels, the ones to label are written out.",
        )


def scorer_examples(
    pool: Pool, labels: Labels, rows: IntArray, capabilities: Sequence[str], query: str
) -> Examples:
    """Return what a scorer learns: of every row one conversation for each of its ratings.

    Args:
        pool: what rows refer to.
        labels: of a teacher.
        rows: those of `labels.rows` to learn from.
        capabilities: which ratings.
        query: how one is asked for, see `rating_prompts`.
    """
    several = {}
    for row, at in _places(labels, rows):
        replies = {
            key: f"{labels.scores[key][at]:.0f}" if labels.known else _ANY_RATING
            for key in capabilities
            if not labels.known or np.isfinite(labels.scores[key][at])
        }
        turns = pool.record(row).turns
        if replies:
            several[row] = tuple(
                with_reply(rating_turns(turns, rating_query(query, key)), reply)
                for key, reply in replies.items()
            )
    return Examples(np.array(list(several), np.int64), several=several)


def styler_examples(
    pool: Pool, labels: Labels, rows: IntArray, styles: Sequence[str], query: str
) -> Examples:
    """Return what a styler learns: the styles of every row, with commas between them.

    Args:
        pool: what rows refer to.
        labels: of a teacher.
        rows: those of `labels.rows` to learn from.
        styles: the candidates.
        query: how they are asked for, see `rating_prompts`.
    """
    targets: dict[int, tuple[Turn, ...]] = {}
    asked = style_query(query, styles)
    for row, at in _places(labels, rows):
        said = labels.styles[at] if labels.known else tuple(styles[:1])
        if said:
            turns = rating_turns(pool.record(row).turns, asked)
            targets[row] = with_reply(turns, ", ".join(said))
    return Examples(np.array(list(targets), np.int64), targets)


def _places(labels: Labels, rows: IntArray) -> Iterator[tuple[int, int]]:
    """Yield each row and its place among the labels."""
    yield from zip(rows.tolist(), np.searchsorted(labels.rows, rows).tolist(), strict=True)

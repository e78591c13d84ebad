"""What methods share that choose images by their embeddings: parameters, items, vectors, ranking.

Rows follow their image (or are items themselves), a row with several images has the mean of their
embeddings, and groups take turns by seat order, so that every budget is a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.cuts import CutTable
from visift.methods.grouping import label_groups
from visift.methods.image_items import Scored, choose_items
from visift.methods.image_ranking import (
    ItemUnit,
    TextOnly,
    budget_limit,
    held_apart,
    image_items,
)
from visift.methods.method import param
from visift.methods.ranking import by_key, tie_order
from visift.methods.row_scores import Direction, RowScores, cut_facts
from visift.methods.vectors import Float, IntArray, Space
from visift.models.encoder_facts import Pooling
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.embeddings import EMBEDDING, ImageEmbedding, encoder_for


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is asked for: embeddings of the rows with images; text-only rows need none.

    Attributes:
        visual: rows with images that can be chosen.
        text: text-only ones.
        there: rows with images that are kept or had, where the method looks at them.
        embeddings: of all rows with images.
        encoder: where they come from, in words.
    """

    visual: IntArray
    text: IntArray
    there: IntArray
    embeddings: Measured
    encoder: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """How items rank inside their groups.

    Attributes:
        rank: (M,) what they are sorted by before their tie keys, ascending.
        value: (M,) the method's score; NaN where it has none.
        direction: of the score: which come first.
        reason: called with where groups were cut and an item; says why it was chosen.
        level: (M,) the score rounded as it ranks, where it alone ranks the items of a `cell`.
        cell: (M,) what items compete in; their group by default.
        facts: further facts, see `Choice.facts`.
    """

    rank: NDArray[Any]
    value: Float
    direction: Direction | Literal["none"]
    reason: Callable[[CutTable, int], str]
    level: Float | None = None
    cell: IntArray | None = None
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ByEmbedding:
    """Parameters that all of these methods have, and what they ask for."""

    name: ClassVar[str]
    coverage: ClassVar[bool]

    model: ModelRef | None = None
    seed: int = 0
    encoder: str = param(
        "auto",
        origin="ours",
        doc="image encoder, a hub id or a folder; auto: facebook/dinov2-base, or with "
        "--model builtin:tiny that model's own tower",
    )
    pooling: Pooling = param(
        "auto", origin="ours", doc="of the encoder's output; auto: by its family"
    )
    unit: ItemUnit = param("image", origin="ours", doc="choose images (rows follow), or rows")
    text_only: TextOnly = param(
        "proportional", origin="ours", doc="text-only rows: the pool's share, all of them, or none"
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal scores")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    @property
    def kind(self) -> Literal["source"] | None:
        """The label that items are ranked by; None ranks all of them together."""
        return None

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for one embedding an image, of kept and had images, too, if they count."""
        rows = pool.rows("candidate")
        text = pool.text_only[rows]
        if text.all():
            raise InputError(
                f"no usable record has an image, and {self.name} compares images.",
                fix="Choose a method that needs none: visift methods",
            )
        visual = rows[~text]
        label_groups(pool, visual, self.kind, self.unlabelled)
        if budget is not None:
            budget_limit(pool, visual, rows[text], self.text_only, budget)
        roles = [pool.rows(role) for role in ("kept", "have")] if self.coverage else []
        there = np.concatenate([*roles, rows[:0]])
        there = np.sort(there[~pool.text_only[there]])
        model = None
        if not lab.given(EMBEDDING):
            model = encoder_for(self.encoder, self.model)
        wanted = np.sort(np.concatenate([visual, there]))
        asked = lab.measure(ImageEmbedding(model, self.pooling), Examples(wanted))
        return Inputs(visual, rows[text], there, asked, model.name if model else "--signals")

    def space(self, pool: Pool, inputs: Inputs) -> Space:
        """Return the items that have a vector, in their groups."""
        visual = inputs.visual[inputs.embeddings.ok(inputs.visual)]
        if not len(visual):
            raise InputError(
                f"no image has an embedding, and {self.name} compares them.",
                fix="visift inspect --verify-images tells which images cannot be decoded.",
            )
        keys = tie_order(pool, self.seed, self.tie)
        items = image_items(pool, visual, self.unit, keys)
        labels = label_groups(pool, items.first, self.kind, self.unlabelled)
        order = np.lexsort((items.key, labels.of))
        sizes = np.bincount(labels.of, minlength=len(labels.labels))
        groups = np.split(order, np.cumsum(sizes)[:-1])
        singles = held_apart(pool, inputs.text, keys, labels, self.kind, self.unit)
        there = by_key(inputs.there[inputs.embeddings.ok(inputs.there)], keys)
        return Space(items, labels, groups, singles, there, inputs.embeddings)

    def take(
        self,
        pool: Pool,
        inputs: Inputs,
        space: Space,
        ranked: Ranked,
        wanted: Budget | IntArray | None,
    ) -> Choice:
        """Return the prefix of a ranking that is wanted.

        Args:
            pool: what rows refer to.
            inputs: from `measure`.
            space: from `space`.
            ranked: the ranking.
            wanted: a budget, or (G,) items of each group, see `choose_items`.

        Raises:
            InputError: there is no budget.
            InfeasibleBudget: it cannot be met.
        """
        if wanted is None:
            raise InputError("this method needs a budget.", fix="For example: --budget 15%")
        groups = len(space.groups)
        choice = choose_items(
            pool,
            Scored(space.items, space.labels, ranked.value, ranked.rank.astype(np.float64)),
            space.singles,
            self.text_only,
            wanted,
            np.zeros(groups, np.int64),
            lambda _, cuts, item: ranked.reason(cuts, item),
            [{"noise": False}] * groups,
            self.seed,
        )
        return _with_facts(choice, space, ranked, inputs.encoder)


@dataclass(frozen=True, slots=True)
class InGroups(ByEmbedding):
    """Parameters of those that may look at every source by itself."""

    per_source: bool = param(
        False, origin="ours", doc="every source by itself, in the pool's mixture"
    )

    @property
    def kind(self) -> Literal["source"] | None:
        """See `ByEmbedding.kind`."""
        return "source" if self.per_source else None


def _with_facts(choice: Choice, space: Space, ranked: Ranked, encoder: str) -> Choice:
    """Return a choice with the facts and ties of the score, not of the rank."""
    items = space.items
    chosen = np.isin(items.first, choice.rows)
    facts = {name: fact for name, fact in choice.facts.items() if name != "groups"}
    facts |= {"direction": ranked.direction, "encoder": encoder, **(ranked.facts or {})}
    tied = np.zeros(len(choice.rows), bool)
    if ranked.level is not None:
        cell = space.labels.of if ranked.cell is None else ranked.cell
        like = _like_one_left_out(cell, ranked.level, chosen)
        tied = np.isin(choice.rows, items.rows[np.repeat(like, items.sizes)])
    if ranked.level is not None and ranked.cell is None and ranked.direction != "none":
        scores = RowScores(ranked.value, ranked.level, ranked.direction)
        labels = space.labels
        facts["groups"] = cut_facts(labels.labels, labels.of, scores, chosen, ranked.rank)
    return replace(choice, tied=tied, facts=facts)


def _like_one_left_out(
    cell: IntArray, level: Float, chosen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return (M,) which items rank like one of their cell that was not chosen."""
    _, number = np.unique(level, return_inverse=True)
    place = cell * (int(number.max(initial=0)) + 1) + number
    return np.isin(place, place[~chosen])

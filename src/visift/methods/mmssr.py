"""mmSSR (arXiv 2503.13383): rich scores for what a record can train, styles for diversity.

A teacher labels a small part of the pool: how much each record helps to train every one of 14
capabilities, and the interaction styles of its answers. A scorer and a styler learn from these
labels and label all others. Then capabilities pick in turn, from bins of one style and source
each, rare bins first and high ratings first (`mmssr_sampling`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.annotate.capabilities import STYLES
from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.method import param
from visift.methods.mmssr_asking import AUTO, ask_raters
from visift.methods.mmssr_choice import TEXT_DRAWN, TEXT_KEPT, choice_of, dropped_text
from visift.methods.mmssr_facts import agreements, doubt, mmssr_facts, reason_of
from visift.methods.mmssr_labels import labelled_size, scorer_recipe, styler_recipe
from visift.methods.mmssr_names import ALL, KNOWN, capability_keys, style_names
from visift.methods.mmssr_official import official_rows
from visift.methods.mmssr_order import Field, Order, in_rows, within_budget
from visift.methods.mmssr_raters import Asked, Raters
from visift.methods.mmssr_ratings import (
    Rated,
    bins_of,
    measured_rows,
    must_be_rated,
    read_ratings,
    with_all,
)
from visift.methods.mmssr_rule import Rule, Tie
from visift.methods.mmssr_sampling import Bins, feasible
from visift.methods.ranking import by_key, tie_order
from visift.methods.row_scores import LeftOut
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.losses import AnswerLoss
from visift.signals.rating_prompts import QUERY, STYLE_QUERY

IntArray = NDArray[np.int64]

OPEN = "open"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is chosen from, and who rated it.

    Attributes:
        rows: that are rated.
        text: text-only rows beside them.
        raters: their ratings and styles.
        losses: where these settle ties.
    """

    rows: IntArray
    text: IntArray
    raters: Raters
    losses: Measured | None


@dataclass(frozen=True, slots=True)
class MMSSR:
    """Capabilities pick in turn, from bins of styles; a teacher's labels taught who rates."""

    name: ClassVar[str] = "mmssr"
    summary: ClassVar[str] = "capability ratings learnt from a teacher, shared out over styles"
    paper: ClassVar[str] = "2503.13383"
    nested: ClassVar[bool] = False
    needs_budget: ClassVar[bool] = False
    group_by: ClassVar[Literal["source"]] = "source"
    coverage: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    official: ClassVar[Mapping[str, Any]] = {"style_vocab": OPEN, "exact_budget": False}

    model: ModelRef | None = None
    seed: int = 0
    ratio: float = param(
        0.1,
        origin="paper",
        doc="share of records where there is no budget; 0.05, 0.1 and 0.3 are reported",
        above=0,
        high=1,
    )
    capabilities: str = param(
        ALL, origin="code", doc="which pick, a comma between, in this order; all: the 14"
    )
    added: str = param(
        "", origin="ours", doc="further ones, learnt from few labels on top of the scorer"
    )
    rated: str = param(
        "auto",
        origin="ours",
        doc="what the scorer learns and rates; auto: the 14, and those that pick: others may later",
    )
    thr: float = param(0, origin="code", doc="a capability picks records rated above this")
    bins: Literal["style+source", "style"] = param(
        "style+source", origin="code", doc="what a capability's picks are shared over equally"
    )
    score: Literal["argmax", "expectation"] = param(
        "argmax", origin="code", doc="what ranks in a bin: the rating, or (ours) its expectation"
    )
    tie: Tie = param(
        "expectation",
        origin="ours",
        doc="equal ratings: by expectation, then content; content; pool order; higher answer loss",
    )
    score_digits: int = param(
        6, origin="ours", doc="significant digits of expectations and losses", low=1, high=17
    )
    exact_budget: bool = param(
        True, origin="ours", doc="give back what the last picks exceed the budget by (code: no)"
    )
    style_vocab: str = param(
        "nine", origin="ours", doc="styles: nine (published), a list of yours, open (code: any)"
    )
    text_only: Literal["proportional", "keep", "drop", "score"] = param(
        "proportional",
        origin="ours",
        doc="rows without an image: at random in the pool's share, all, none, or rated like others",
    )
    scorer: str = param(
        "train", origin="paper", doc="who rates: train, a model that can, or zero-shot (not mmSSR)"
    )
    styler: str = param("auto", origin="ours", doc="who names styles: the same; auto: as scorer")
    labelled: str = param(
        "auto", origin="ours", doc="rows a teacher labels: 5000, 2%; auto: 2 %, 500 to 10,000"
    )
    held_out: float = param(
        0.1, origin="ours", doc="share of these that only check the scorer", low=0, high=0.9
    )
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="code", doc="of scorer and styler: mmssr (published), or changes to it"
    )
    styler_recipe: str | Mapping[str, Any] = param(
        "auto", origin="ours", doc="of the styler alone; auto: as recipe"
    )
    query: str = param(
        "auto", origin="ours", doc="asks for a rating: auto, or a text with {capability} in it"
    )
    style_query: str = param(
        "auto", origin="ours", doc="asks for styles: auto, or a text with {styles} in it"
    )
    compat: Literal["none", "official"] = param(
        "none",
        origin="ours",
        doc="official: the program's arithmetic and sorts (pandas); stands for style_vocab=open, "
        "exact_budget=false",
    )

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for ratings and styles of all rows, and for what they are learnt from."""
        everything = pool.rows("candidate")
        text = pool.text_only[everything] & (self.text_only != "score")
        rows = everything[~text]
        if not len(rows):
            raise InputError("no usable record has an image.", fix="--set text_only=score")

        def drawn() -> IntArray:
            said = by_key(rows[~pool.unannotated[rows]], pool.tie_keys(self.seed, b"labels"))
            return said[: labelled_size(self.labelled, len(said))]

        raters = ask_raters(pool, lab, self._asked(), rows, drawn)
        losses = None
        if self.tie == "loss" and not self._official:
            losses = lab.measure(AnswerLoss(self.model, ("given",)), Examples(rows))
        beside = everything[text] if self.text_only != "drop" else everything[:0]
        return Inputs(rows, beside, raters, losses)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Let capabilities pick in turn until the budget is met."""
        rows = measured_rows(inputs.raters, inputs.rows)
        if inputs.losses is not None:
            rows = rows[inputs.losses.ok(rows)]
        vocabulary = None if self.style_vocab == OPEN else self._styles
        rated = read_ratings(
            inputs.raters,
            rows,
            (*self._capabilities, *self._added),
            vocabulary,
            self.score_digits,
            official=self._official,
        )
        must_be_rated(rated, self.thr)
        bins = bins_of(pool, rated, by_source=self.bins == "style+source")
        field = self._field(pool, inputs, rated, bins)
        order = self._order(pool, field, self._budget(budget))
        shown = with_all(rated, inputs.raters, self.score_digits, official=self._official)
        agreement = agreements(pool, inputs.raters, shown, vocabulary)
        facts = mmssr_facts(pool, inputs.raters, rated, bins, order, self._rule, agreement)
        dropped = dropped_text(pool) if self.text_only == "drop" else {}
        facts = {**facts, "usable": len(field.usable), "left_out": LeftOut(dropped, "").kinds()}
        reason = reason_of(rated, bins, order, inputs.raters)
        beside = (TEXT_KEPT if self.text_only == "keep" else TEXT_DRAWN) + doubt(inputs.raters)
        return choice_of(pool, rated, shown, bins, order, self.thr, reason, beside, dropped, facts)

    @property
    def _official(self) -> bool:
        return self.compat == "official"

    @property
    def _rule(self) -> Rule:
        by_expectation, official = self.score == "expectation", self._official
        return Rule(
            self.thr, self.tie, by_expectation, self.score_digits, self.exact_budget, official
        )

    @property
    def _capabilities(self) -> tuple[str, ...]:
        return capability_keys(self.capabilities)

    @property
    def _rated(self) -> tuple[str, ...]:
        """What is learnt and rated: all that can pick, in an order that does not depend on it."""
        said = capability_keys(ALL if self.rated == AUTO else self.rated)
        return (*said, *(key for key in self._capabilities if key not in said))

    @property
    def _added(self) -> tuple[str, ...]:
        return tuple(key for key in capability_keys(self.added) if key not in self._capabilities)

    @property
    def _styles(self) -> tuple[str, ...]:
        published = self.style_vocab in ("nine", OPEN)
        return STYLES if published else style_names(self.style_vocab)

    def _asked(self) -> Asked:
        if not self._capabilities:
            raise InputError("--set capabilities names none.", fix=KNOWN)
        return Asked(
            self._capabilities,
            self._rated,
            self._added,
            self._styles,
            self.style_vocab == OPEN,
            self.model,
            self.scorer,
            self.styler,
            QUERY if self.query == AUTO else self.query,
            STYLE_QUERY if self.style_query == AUTO else self.style_query,
            scorer_recipe(self.recipe, self.model, self.seed),
            styler_recipe(self.styler_recipe, self.recipe, self.model, self.seed),
            self.held_out,
            self.seed,
            official=self._official,
        )

    def _budget(self, budget: Budget | None) -> Budget:
        return Budget.parse(f"{Decimal(repr(self.ratio)) * 100:f}%") if budget is None else budget

    def _field(self, pool: Pool, inputs: Inputs, rated: Rated, bins: Bins) -> Field:
        """Put together what a selection is made of."""
        keys = tie_order(pool, self.seed, "uid" if self.tie == "uid" else "hash")
        kept = by_key(pool.rows("kept"), keys)
        text = by_key(inputs.text, keys)
        all_text = self.text_only == "keep"
        texts = int(pool.text_only[kept].sum()) if self.text_only == "proportional" else 0
        return Field(
            np.concatenate([kept, text]) if all_text else kept,
            rated.rows,
            text[:0] if all_text else text,
            (len(kept) - texts, texts),
            feasible(rated.scores, self.thr),
            self._rule.sampler(rated, bins, keys, inputs.losses),
        )

    def _order(self, pool: Pool, field: Field, budget: Budget) -> Order:
        if not self._official:
            return within_budget(pool, field, budget)
        return in_rows(field, official_rows(budget, len(field.usable)), budget)

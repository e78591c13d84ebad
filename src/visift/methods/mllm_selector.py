"""MLLM-Selector (arXiv 2503.20502): what a seed model still needs, drawn from easy and hard rows.

A reading of a published outline: a random seed tunes a seed model, that model gives every other
row a necessity score, and rows are drawn from groups of necessity [paper]. No formula, number or
code is public, so that everything without a tag here is [ours] and no parity can be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.engine.trainings import Tuned
from visift.methods.cells import Cells, entrants, in_turns
from visift.methods.entrants import KEPT, Entrants
from visift.methods.grouping import EVERYTHING, Labelled, label_groups
from visift.methods.method import param
from visift.methods.nbgs import Rule, share_out
from visift.methods.necessity import WORDS, Score, ask_necessity, necessity, outcome_facts
from visift.methods.ranking import by_key, tie_order
from visift.methods.seeds import drawn, marked_size, rows_in_budget, seed_size
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.training.recipe import read_recipe

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

READING = (
    "MLLM-Selector style: only the outline of the paper is public, no formula, number or code. "
    "This is our reading of it; no parity with its tables is possible."
)
SEED = "seed: drawn at random to tune the seed model"
SEED_SHARE = Fraction(1, 20)

#: Name of the part that holds text-only rows under `text_only=proportional`.
AT_RANDOM = "text-only, at random"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The seed, what is scored, and how.

    Attributes:
        seed: rows the seed model learns from, in key order.
        rest: all other rows that can be chosen.
        asked: rows to be scored: the rest, and the seed where that was asked for.
        tuned: the seed model.
        scored: what necessity is worked out from.
    """

    seed: IntArray
    rest: IntArray
    asked: IntArray
    tuned: Tuned
    scored: Measured


@dataclass(frozen=True, slots=True)
class MLLMSelector:
    """Seed, necessity, necessity-based grouped sampling; a documented reading, see the module."""

    name: ClassVar[str] = "mllm_selector"
    summary: ClassVar[str] = "what a seed model still needs, from groups of necessity (a reading)"
    paper: ClassVar[str] = "2503.20502"
    nested: ClassVar[bool] = False
    needs_budget: ClassVar[bool] = False
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    total: float = param(
        0.15, origin="ours", doc="share of records where there is no budget", above=0, high=1
    )
    n1: str = param(
        "auto", origin="ours", doc="seed rows: 500, 5%, or auto: 5 %, at most half the budget"
    )
    seed_stratify: bool = param(False, origin="paper", doc="draw the seed in the sources' shares")
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="ours", doc="of the seed model: auto | llava | tiny, and name:value changes"
    )
    score: Score = param(
        "N1",
        origin="ours",
        doc="N1 mean loss | N2 summed loss | N3 ratio to the loss without the question, or "
        "N3-difference | N4 one less how well the seed model's own answer agrees",
    )
    groups: Literal["quantile", "equal_width"] = param(
        "quantile", origin="ours", doc="groups of equally many rows, or of equal ranges of scores"
    )
    K: int = param(10, origin="ours", doc="groups of necessity; 1 is random", low=1)
    ties: Literal["split", "together"] = param(
        "split", origin="ours", doc="whether a group border may part equal scores"
    )
    alpha: float = param(
        1, origin="ours", doc="0: the pool's mix of groups; larger ones favour necessity", low=0
    )
    diversity: Literal["power", "kl"] = param(
        "power", origin="ours", doc="weights |G| mean^alpha, or pi exp(mean/lambda)"
    )
    kl_parts: Literal["groups", "sources", "both"] = param(
        "groups", origin="ours", doc="what kl mixes: groups, sources, or groups of each source"
    )
    kl_budget: float = param(
        0.1, origin="ours", doc="nats the mix may differ from the pool's under kl", low=0
    )
    lam: float | None = param(None, origin="ours", doc="lambda of kl, instead", above=0)
    per_source: bool = param(False, origin="ours", doc="groups inside every source, by its size")
    min_answer_tokens: int = param(1, origin="ours", doc="shorter answers are not drawn", low=1)
    text_only: Literal["score", "proportional", "drop"] = param(
        "score", origin="ours", doc="rows without an image: like any, at random, or none"
    )
    score_seed_rows: bool = param(False, origin="ours", doc="score them too, for the report")
    score_digits: int = param(
        6, origin="ours", doc="significant digits that order scores", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal scores")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Draw the seed, ask for a model tuned on it, and for its losses on all other rows."""
        rows = self._offered(pool)
        by = label_groups(pool, rows, "source" if self._uses_sources else None, self.unlabelled)
        there = rows_in_budget(pool, rows, self._budget(budget))
        seed = lab.marked("is_seed")
        if seed is None:
            size = seed_size(self.n1, "n1", len(rows), there, SEED_SHARE)
            plain = by if self.seed_stratify else Labelled((EVERYTHING,), np.zeros_like(rows))
            seed = drawn(pool, rows, size, plain, self.seed, b"seed")
        else:
            seed = by_key(np.intersect1d(seed, rows), pool.tie_keys(self.seed, b"seed"))
            marked_size(len(seed), "is_seed", there)
        rest = np.setdiff1d(rows, seed)
        asked = rows if self.score_seed_rows else rest
        if self.text_only == "proportional":
            asked = asked[~pool.text_only[asked]]
        recipe = read_recipe(self.recipe, self.model, self.seed)
        tuned = lab.finetune(self.model, recipe, Examples(seed))
        scored = ask_necessity(
            self.score, tuned.model, recipe.max_tokens, lab, asked, self.min_answer_tokens
        )
        return Inputs(seed, rest, asked, tuned, scored)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Group the rest by necessity, share the budget over the groups, draw inside them."""
        NS, status = self._necessity(pool, inputs)
        at_random = pool.text_only & (self.text_only == "proportional")
        rest = inputs.rest[np.isfinite(NS[inputs.rest]) | at_random[inputs.rest]]
        keys = tie_order(pool, self.seed, self.tie)
        draw = pool.tie_keys(self.seed, b"draw") if self.tie == "hash" else keys
        kept = by_key(pool.rows("kept"), keys)
        seed = inputs.seed[inputs.tuned.ok(inputs.seed)]
        if self.score_seed_rows:
            seed = seed[inputs.scored.ok(seed)]
        parts = self._parts(pool, np.concatenate([kept, rest]), at_random)
        held = np.bincount(parts.of[: len(kept)], minlength=len(parts.labels))
        mine = [rest[parts.of[len(kept) :] == p] for p in range(len(parts.labels))]
        cells = [
            self._cells(pool, rows, label, NS, keys)
            for rows, label in zip(mine, parts.labels, strict=True)
        ]
        found = entrants(np.concatenate([kept, seed]), cells, keys)
        order = in_turns([part.in_turn(draw) for part in cells], held)
        choice = found.choose(
            pool,
            np.concatenate([found.kept, order]),
            self._budget(budget),
            _reason(found, NS[found.rows], WORDS[self.score]),
            value=NS[found.rows],
            status=status,
            always=[KEPT] * len(kept) + [SEED] * len(seed),
        )
        choice.score[seed] = NS[seed]
        facts = outcome_facts(pool, choice, found, NS, len(seed))
        said = {"direction": "drawn", "nested": False, "score": WORDS[self.score]}
        notices = [READING]
        if np.nanmin(NS, initial=0.0) < 0:
            notices.append("some scores are below 0: weights use NS - min + 1e-6")
        return replace(choice, facts={**choice.facts, **said, "notices": notices, **facts})

    @property
    def _rule(self) -> Rule:
        return Rule(
            self.groups, self.K, self.ties, self.alpha, self.diversity, self.kl_budget, self.lam
        )

    @property
    def _mixes_sources(self) -> bool:
        return self.diversity == "kl" and self.kl_parts != "groups"

    @property
    def _uses_sources(self) -> bool:
        return self.per_source or self.seed_stratify or self._mixes_sources

    def _budget(self, budget: Budget | None) -> Budget:
        return Budget.parse(f"{Decimal(repr(self.total)) * 100:f}%") if budget is None else budget

    def _offered(self, pool: Pool) -> IntArray:
        rows = pool.rows("candidate")
        return rows[~pool.text_only[rows]] if self.text_only == "drop" else rows

    def _necessity(self, pool: Pool, inputs: Inputs) -> tuple[Float, dict[int, str]]:
        """Return NS of all pool rows, NaN where there is none, and why rows without are not in."""
        rows = inputs.asked[inputs.scored.ok(inputs.asked)]
        NS = np.full(len(pool), np.nan)
        NS[rows] = necessity(self.score, inputs.scored, rows)
        status = dict.fromkeys(rows[~np.isfinite(NS[rows])].tolist(), "no loss to compare with")
        if self.min_answer_tokens > 1:
            few = rows[inputs.scored.take("answer_tokens", rows) < self.min_answer_tokens]
            status |= dict.fromkeys(few.tolist(), "answer too short")
            NS[few] = np.nan
        if self.text_only == "drop":
            text = np.flatnonzero(pool.text_only & pool.has_role("candidate"))
            status |= dict.fromkeys(text.tolist(), "text-only: dropped")
        return NS, status

    def _parts(self, pool: Pool, rows: IntArray, at_random: NDArray[np.bool_]) -> Labelled:
        """Return what shares the budget first: the pool or its sources, and rows at random."""
        by = label_groups(pool, rows, "source" if self.per_source else None, self.unlabelled)
        text = at_random[rows]
        if not text.any():
            return by
        return Labelled((*by.labels, AT_RANDOM), np.where(text, len(by.labels), by.of))

    def _cells(
        self, pool: Pool, rows: IntArray, label: str, NS: Float, keys: NDArray[np.uint64]
    ) -> Cells:
        """Group the rows of one part, and say how its budget is shared over the groups."""
        if label == AT_RANDOM:
            return Cells(rows, np.zeros_like(rows), (AT_RANDOM,), (Fraction(1),))
        inside = self._mixes_sources and not self.per_source
        by: Literal["source"] | None = "source" if inside else None
        mixed = label_groups(pool, rows, by, self.unlabelled)
        if self.kl_parts == "sources" and self._mixes_sources:
            rule = replace(self._rule, K=1)
        else:
            rule = self._rule
        ranked = significant(NS[rows], self.score_digits)
        return share_out(
            rule, rows, ranked, keys[rows], mixed, "" if label == EVERYTHING else label
        )


def _reason(found: Entrants, NS: Float, words: str) -> Callable[[int, int], str]:
    def reason(at: int, group: int) -> str:
        name, size = found.labels.labels[group], int(found.sizes[group])
        if not np.isfinite(NS[at]):
            return f"drawn at random from {size:,} {name} records"
        return f"drawn from {size:,} records of {name} ({words} {NS[at]:.3g})"

    return reason

"""The arms of a validation: what is chosen, and what it is held against.

All arms of one budget have the same number of records, of optimiser steps and of text-only records.
For that, a method chooses among the records with images, and the same random text-only ones stand
beside its choice and beside that of every other arm [ours].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.budget import Budget
from visift.engine.lab import LocalLab
from visift.errors import InfeasibleBudget, InputError
from visift.methods.method import Method, build
from visift.numerics.allocate import allocate
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.training.recipe import Recipe

Rows = NDArray[np.int64]

FULL, RANDOM, STRATIFIED, BALANCED_SOURCES = "full", "random", "stratified", "source-balanced"
LONGEST, RS2 = "longest", "rs2"
#: What every other arm is held against.
CONTROL = STRATIFIED
CONTROLS = (RANDOM, STRATIFIED, BALANCED_SOURCES, LONGEST)

#: Arm -> method and parameters; the two that group by source take records without one as a group.
_CHOSEN_BY: dict[str, tuple[str, Mapping[str, Any]]] = {
    RANDOM: ("random", {}),
    STRATIFIED: ("stratified", {"unlabelled": "other"}),
    BALANCED_SOURCES: ("stratified", {"weights": "uniform", "unlabelled": "other"}),
    LONGEST: ("longest", {}),
}
_TEXT_ONLY = "text-only: the same in every arm"


@dataclass(frozen=True, slots=True)
class Arm:
    """Records to train on.

    Attributes:
        name: of the arm.
        rows: (n,) of the pool, in rank order.
        seed: of the draw.
        epochs: passes over them; None for those of the recipe.
        filled: how many of the rows were drawn at random because the method gave too few.
    """

    name: str
    rows: Rows = field(repr=False)
    seed: int
    epochs: int | None = None
    filled: int = 0

    def recipe(self, base: Recipe, seed: int) -> Recipe:
        """Return how a model is trained on it."""
        return replace(base, seed=seed, epochs=self.epochs or base.epochs)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all arms of one budget have in common.

    Attributes:
        pool: what is chosen from; questions are left out of it.
        visual: the same, all text-only candidates left out.
        budget: as written.
        size: records of an arm.
        text: how many of them are text-only.
    """

    pool: Pool = field(repr=False)
    visual: Pool = field(repr=False)
    budget: str
    size: int
    text: int

    @classmethod
    def of(cls, pool: Pool, budget: str) -> Ground:
        """Share a budget among records with images and text-only ones, in the pool's proportion.

        Raises:
            InputError: a budget in images or tokens, which allows arms of unequal size.
            InfeasibleBudget: it allows nothing, or more than there is.
        """
        asked = Budget.parse(budget)
        if asked.unit in ("images", "tokens"):
            raise InputError(
                f"a budget in {asked.unit} gives arms of different sizes.",
                fix="Validate at a number or a share of the records: --budget 15%",
            )
        kept, rows = pool.rows("kept"), everything(pool)
        size = asked.limit(len(rows), kept=len(kept))
        if size <= len(kept):
            raise InfeasibleBudget(
                f"Budget {budget} is {size:,} records, and {len(kept):,} of --keep are always in."
            )
        bare = pool.text_only[rows]
        if bare.all():
            return cls(pool, pool, budget, size, int(pool.text_only[kept].sum()))
        there = [int((~bare).sum()), int(bare.sum())]
        always = int(pool.text_only[kept].sum())
        text = int(allocate(size, there, there, [len(kept) - always, always])[1])
        candidates = pool.rows("candidate")
        left = candidates[pool.text_only[candidates]].tolist()
        return cls(pool, pool.without(dict.fromkeys(left, _TEXT_ONLY)), budget, size, text)

    @property
    def chosen(self) -> int:
        """Records that a method chooses, kept ones included."""
        return self.size - self._drawn_text

    @property
    def _drawn_text(self) -> int:
        return self.text - int(self.pool.text_only[self.pool.rows("kept")].sum())

    def arm(self, name: str, rows: Rows, seed: int) -> Arm:
        """Return an arm of a choice among the records with images; too few are filled up.

        Args:
            name: of the arm.
            rows: chosen ones, kept ones among them, in rank order.
            seed: of the draw.
        """
        rows = rows[: self.chosen]
        lacking = self.chosen - len(rows)
        left = np.setdiff1d(self.visual.rows("candidate"), rows)
        fill = _lowest(self.pool, left, lacking, seed, b"fill")
        return Arm(name, np.concatenate([rows, fill, self.text_rows(seed)]), seed, filled=lacking)

    def text_rows(self, seed: int) -> Rows:
        """Return the text-only candidates that stand in every arm of a seed."""
        candidates = self.pool.rows("candidate")
        bare = np.setdiff1d(candidates, self.visual.rows("candidate"))
        return _lowest(self.pool, bare, self._drawn_text, seed, b"text")


def everything(pool: Pool) -> Rows:
    """Return all rows that can be trained on, kept ones first."""
    return np.concatenate([pool.rows("kept"), pool.rows("candidate")])


def full_arm(pool: Pool) -> Arm:
    """Return the arm of all records."""
    return Arm(FULL, everything(pool), 0)


def control_arm(ground: Ground, name: str, lab: LocalLab, seed: int) -> Arm:
    """Return one of `CONTROLS`, drawn with a seed."""
    method, settings = _CHOSEN_BY[name]
    choice = chosen_by(ground, build(method, settings, seed=seed), lab)
    return ground.arm(name, choice.rows, seed)


def chosen_by(ground: Ground, method: Method, lab: LocalLab) -> Choice:
    """Have a method choose among the records with images; what it asks for is measured.

    Args:
        ground: of the budget.
        method: the method.
        lab: that answers it; its pool is set aside for that of the ground.

    Raises:
        VisiftError: the method cannot choose from this pool.
    """
    lab.pool = ground.visual
    budget = Budget.parse(ground.chosen)
    inputs = method.measure(ground.visual, lab, budget)
    lab.resolve()
    return method.choose(ground.visual, inputs, budget)


def rs2_arm(ground: Ground, recipe: Recipe, seed: int) -> Arm | str:
    """Return fresh random records for every pass, for as many steps; or why there is no such arm.

    One pass over as many distinct records as the other arms see in all their passes; where the last
    step of a pass is not full, a few more, so that the steps are the same.
    """
    passes, size = recipe.epochs, recipe.batch_size
    if passes == 1:
        return f"{RS2} is left out: with one pass over the records it is {RANDOM}"
    kept = len(ground.pool.rows("kept"))
    if kept:
        return f"{RS2} is left out: {counted(kept, 'record')} of --keep would be seen once only"
    total = max(passes * ground.size, (recipe.steps(ground.size) - 1) * size + 1)
    visual = ground.visual.rows("candidate")
    bare = np.setdiff1d(ground.pool.rows("candidate"), visual)
    there = [len(visual), len(bare)]
    if total > sum(there):
        return (
            f"{RS2} is left out: {passes} passes of fresh records in as many steps need {total:,}, "
            f"and there are {sum(there):,}"
        )
    shares = allocate(total, there, there).tolist()
    pairs = zip((visual, bare), shares, strict=True)
    rows = [_lowest(ground.pool, some, count, seed, b"rs2") for some, count in pairs]
    return Arm(RS2, np.concatenate(rows), seed, epochs=1)


def _lowest(pool: Pool, rows: Rows, count: int, seed: int, purpose: bytes) -> Rows:
    """Return the rows with the lowest tie keys."""
    keys = pool.tie_keys(seed, purpose)[rows]
    return rows[np.argsort(keys, kind="stable")[:count]]


# --- ablations -----------------------------------------------------------------------------------

MIXTURE_ONLY, SCORE_ONLY, INVERTED = "mixture only", "score only", "inverted"
ABLATIONS = (MIXTURE_ONLY, SCORE_ONLY, INVERTED)

_Order = Callable[[Rows], NDArray[Any]]


def ablation_arm(
    ground: Ground, kind: str, asked: str, method: Method, choice: Choice, seed: int
) -> Arm | str:
    """Return a part of what a method does, as an arm of its own; or why there is none.

    `mixture only` has the method's shares and draws inside them at random; `score only` has the
    pool's shares and takes the best scores inside them; `inverted` has the method's shares and
    takes the worst scores. Shares are those of the label that the method groups by, else the
    source.

    Args:
        ground: of the budget.
        kind: one of `ABLATIONS`.
        asked: the method's name, as it was asked for.
        method: that chose.
        choice: what it chose.
        seed: of the draw.
    """
    name = f"{asked}, {kind}"
    kept = ground.visual.rows("kept")
    there = ground.visual.rows("candidate")
    mine = np.setdiff1d(choice.rows[: ground.chosen], kept)  # as far as they are in its arm
    group = ground.pool.groups(method.group_by or "source").of_row.astype(np.int64) + 1
    sizes = np.bincount(group[there])
    wanted = np.bincount(group[mine], minlength=len(sizes))
    if kind == MIXTURE_ONLY:
        keys = ground.pool.tie_keys(seed, b"mixture")
        return ground.arm(name, np.concatenate([kept, _best(there, group, wanted, keys)]), seed)
    value = _worst_last(method, choice)
    if value is None:
        return f"{name} is left out: {asked} ranks by no score of single records"
    there = there[np.isfinite(value[there])]
    if kind == SCORE_ONLY:
        most = np.bincount(group[there], minlength=len(sizes))
        wanted = allocate(min(len(mine), len(there)), sizes, most)
    else:
        value = -value
    return ground.arm(name, np.concatenate([kept, _best(there, group, wanted, value)]), seed)


def _worst_last(method: Method, choice: Choice) -> NDArray[np.float64] | None:
    """Return (N,) what sorts all rows from best to worst, None where no score of theirs does."""
    direction = str(choice.facts.get("direction", "none"))
    if not np.isfinite(choice.score).any() or direction not in _SIGNS:
        return None
    return choice.score * _SIGNS[direction]


#: A draw favours high scores.
_SIGNS = {"highest first": -1.0, "lowest first": 1.0, "drawn": -1.0, "in turn": -1.0}


def _best(rows: Rows, group: Rows, wanted: Rows, value: NDArray[Any]) -> Rows:
    """Return the first rows of each group by value, as many as wanted of it, if it has them."""
    order = rows[np.lexsort((value[rows], group[rows]))]
    of = group[order]
    starts = np.searchsorted(of, of)
    return order[np.arange(len(order)) - starts < wanted[of]]

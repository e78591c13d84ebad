"""What training on a subset saves, and after how many trainings a selection has paid for itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from visift.budget import Budget
from visift.methods.cutting import limit_of, row_tokens
from visift.models.facts import ModelFacts
from visift.pool.pool import Pool


@dataclass(frozen=True, slots=True)
class Saving:
    """One epoch of training on the subset instead of all usable records.

    Attributes:
        usable: records that could be trained on.
        selected: of them, what the budget allows (about, for one in images or tokens).
        tokens: of all usable records: their text as priced, or a quarter of its bytes, and the
            tokens their images become.
        tokens_selected: the same of a selection of average records.
        flops: saved; None if the model's size is not known.
        device_seconds: saved; None if not known.
    """

    usable: int
    selected: int
    tokens: int
    tokens_selected: int
    flops: int | None
    device_seconds: float | None

    @classmethod
    def of(cls, pool: Pool, budget: Budget, facts: ModelFacts, speed: float | None) -> Saving:
        """Return what a budget saves.

        Args:
            pool: what is chosen from.
            budget: the budget.
            facts: of the model that is trained.
            speed: operations a second of one device, if known.

        Raises:
            InfeasibleBudget: the budget allows nothing, or more than there is.
        """
        rows = np.concatenate([pool.rows("kept"), pool.rows("candidate")])
        share = _share(pool, rows, budget)
        every = Budget("100%", "fraction", Fraction(1), facts.image_tokens, budget.costs)
        tokens = int(row_tokens(pool, every)[rows].sum())
        selected = int(tokens * share)
        flops = facts.training_flops(tokens - selected)
        seconds = None if flops is None or speed is None else flops / speed
        return cls(len(rows), int(len(rows) * share), tokens, selected, flops, seconds)


def _share(pool: Pool, rows: np.ndarray, budget: Budget) -> Fraction:
    """Return the share of usable records that a budget allows, in its own unit."""
    limit = limit_of(pool, rows, budget)
    there = len(rows)
    if budget.unit == "images":
        there = len(pool.images.of_rows(rows))
    if budget.unit == "tokens":
        there = max(int(row_tokens(pool, budget)[rows].sum()), limit)
    return Fraction(limit, there)


def runs_to_pay(spent: float | None, saved: float | None) -> float | None:
    """Return the number of trainings after which spending has paid off.

    At least 1, infinite if nothing is saved, None if not known. Both in one unit.
    """
    if spent == 0:
        return 1
    if spent is None or saved is None:
        return None
    return max(1, math.ceil(spent / saved)) if saved > 0 else math.inf

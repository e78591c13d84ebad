"""ICONS (from its formula): tasks of the targets vote for the rows that would help them most.

A row has a vote of every task on which its influence is at or above the task's (100 - p)-th
percentile; votes rank. They are whole numbers up to the number of tasks, so that ties dominate:
ours are settled by the mean over tasks of the row's percentile rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Lab
from visift.methods.entrants import Entrants
from visift.methods.method import param
from visift.methods.ranking import tie_order
from visift.methods.targets import Inputs, Inside, ask_influence, influence
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice

Float = NDArray[np.float64]
IntArray = NDArray[np.int64]


def votes(influence: Float, p: float) -> IntArray:
    """Return (n,) how many tasks have a row at or above their (100 - p)-th percentile.

    Args:
        influence: (n, T).
        p: percent of the rows that a task votes for, about.
    """
    thresholds = np.percentile(influence, 100 - p, axis=0)
    return np.asarray((influence >= thresholds).sum(axis=1))


def percentile_ranks(influence: Float) -> Float:
    """Return (n,) the mean over tasks of where a row stands in it, 0 lowest and 1 highest.

    Equal rows of a task share the middle of their places.

    Args:
        influence: (n, T).
    """
    ranks = np.empty_like(influence)
    for t, column in enumerate(influence.T):
        _, place, count = np.unique(column, return_inverse=True, return_counts=True)
        middle = np.cumsum(count) - (count + 1) / 2
        ranks[:, t] = middle[place] / max(len(column) - 1, 1)
    return np.asarray(ranks.mean(axis=1))


@dataclass(frozen=True, slots=True)
class Icons:
    """Votes of tasks over influence, cosines of gradients as in LESS."""

    name: ClassVar[str] = "icons"
    summary: ClassVar[str] = "rows that help many of the tasks of --target, by votes"
    paper: ClassVar[str] = "2501.00654"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    reads_target: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    p: float = param(
        20, origin="code", doc="percent of the rows that a task votes for", above=0, high=100
    )
    warmup_ratio: float = param(
        0.05, origin="ours", doc="share of records to tune on, at random; 0: none", low=0, high=1
    )
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="ours", doc="of the warm-up: LLaVA-1.5's with LoRA, or changes to it"
    )
    params: str = param("self_attn", origin="ours", doc="low-rank factors whose names hold this")
    proj_dim: int = param(5120, origin="code", doc="numbers a gradient; 0: all of them", low=0)
    proj_seed: int = param(0, origin="ours", doc="of the random projection")
    inside: Inside = param(
        "mean", origin="ours", doc="over the targets of a task: mean cosine, or max"
    )
    score_digits: int = param(
        6, origin="ours", doc="significant digits of the influence that count", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal rows")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for a model tuned on a random part, and for gradients of rows and targets."""
        return ask_influence(
            pool,
            lab,
            self.name,
            self.model,
            self.recipe,
            self.seed,
            self.warmup_ratio,
            params=self.params,
            proj_dim=self.proj_dim,
            proj_seed=self.proj_seed,
        )

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Sort by votes, then by mean percentile rank, both highest first."""
        found = influence(pool, inputs, self.inside, self.score_digits)
        count = votes(found.of, self.p)
        rank = significant(percentile_ranks(found.of), self.score_digits)
        keys = tie_order(pool, self.seed, self.tie)
        everyone = Entrants.labelled(pool, found.rows, keys, None)
        order = everyone.ranked(everyone.sizes.tolist(), -count, -rank)
        _, both = np.unique(np.stack([count, rank]), axis=1, return_inverse=True)
        tasks = len(found.tasks)

        def reason(at: int, group: int) -> str:
            return (
                f"{count[at]} of {tasks} tasks have it among their best {self.p:g}% "
                f"(mean percentile rank {rank[at]:.3g})"
            )

        chosen_by = np.bincount(count, minlength=tasks + 1)
        table = {
            "title": "Votes of the tasks of the targets",
            "columns": ["votes", "records"],
            "rows": [[f"{n}", f"{chosen_by[n]:,}"] for n in range(tasks, -1, -1)],
        }
        return everyone.choose(
            pool,
            order,
            budget,
            reason,
            value=count.astype(np.float64),
            ranks=both,
            facts={
                "direction": "highest first",
                "score": "votes of tasks; equal ones by mean percentile rank",
                **found.facts(inputs),
                "tables": [table],
            },
        )

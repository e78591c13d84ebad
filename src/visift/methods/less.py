"""LESS (arXiv 2402.04333): rows whose gradients point where those of target examples point.

Without correction by the optimiser's state and from one checkpoint by default [ours];
`preset=published` has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from visift.budget import Budget
from visift.engine.lab import Lab
from visift.methods.entrants import Entrants
from visift.methods.method import param
from visift.methods.ranking import tie_order
from visift.methods.row_scores import LeftOut, RowScores, choose_by_score
from visift.methods.targets import Inputs, Inside, ask_influence, influence
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice


@dataclass(frozen=True, slots=True)
class Less:
    """Influence: cosine to the targets of a task; the largest over tasks ranks."""

    name: ClassVar[str] = "less"
    summary: ClassVar[str] = "rows whose gradients help one of the tasks of --target most"
    paper: ClassVar[str] = "2402.04333"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    reads_target: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"checkpoints": 4, "adam": True, "recipe": "auto,epochs:4"}
    }

    model: ModelRef | None = None
    seed: int = 0
    warmup_ratio: float = param(
        0.05, origin="code", doc="share of records to tune on, at random; 0: none", low=0, high=1
    )
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="ours", doc="of the warm-up: LLaVA-1.5's with LoRA, or changes to it"
    )
    checkpoints: int = param(
        1,
        origin="ours",
        doc="of the warm-up, evenly spread, each weighed by its learning rate (paper: 4)",
        low=1,
    )
    adam: bool = param(
        False, origin="ours", doc="of rows the steps of Adam are compared (paper), not gradients"
    )
    params: str = param("self_attn", origin="ours", doc="low-rank factors whose names hold this")
    proj_dim: int = param(8192, origin="code", doc="numbers a gradient; 0: all of them", low=0)
    proj_seed: int = param(0, origin="ours", doc="of the random projection")
    inside: Inside = param(
        "mean", origin="ours", doc="over the targets of a task: mean cosine, or max"
    )
    score_digits: int = param(
        6, origin="ours", doc="significant digits of the influence that rank", low=1, high=17
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
            self.checkpoints,
            self.adam,
            params=self.params,
            proj_dim=self.proj_dim,
            proj_seed=self.proj_seed,
        )

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Sort by the largest influence on a task, highest first."""
        found = influence(pool, inputs, self.inside, self.score_digits)
        best = found.of.argmax(axis=1)
        value = found.of.max(axis=1)
        scores = RowScores(value, value, "highest first")

        def reason(at: int, among: str) -> str:
            return (
                f"influence {value[at]:.3g} on {found.tasks[best[at]]}, from the highest of {among}"
            )

        keys = tie_order(pool, self.seed, self.tie)
        everyone = Entrants.labelled(pool, found.rows, keys, None)
        facts = {"score": "largest influence on a task", **found.facts(inputs)}
        choice = choose_by_score(
            pool, everyone, scores, LeftOut({}, ""), budget, reason, facts=facts
        )
        chosen = np.isin(found.rows, choice.rows)
        lines = [
            [
                task,
                f"{int((chosen & (best == t)).sum()):,}",
                f"{np.median(found.of[chosen, t]):.3g}",
            ]
            for t, task in enumerate(found.tasks)
            if chosen.any()
        ]
        table = {
            "title": "Tasks of the targets",
            "columns": ["task", "chosen for it", "influence of the chosen, median"],
            "rows": lines,
        }
        return replace(choice, facts={**choice.facts, "tables": [table]})

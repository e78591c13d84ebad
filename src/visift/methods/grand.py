"""GraNd: rows by the length of their gradient, longest first; a baseline.

The score of published comparisons, |gradient of the loss| of one row early in training, taken
here over low-rank factors after a short warm-up, or as the mean over several checkpoints of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.methods.entrants import Entrants
from visift.methods.gradients import (
    NORM,
    Reference,
    ask_each,
    drawn_share,
    measured_rows,
    reference_model,
)
from visift.methods.method import param
from visift.methods.ranking import tie_order
from visift.methods.row_scores import LeftOut, RowScores, choose_by_score
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows, the model that was asked, and the norms of their gradients there."""

    rows: IntArray
    reference: Reference
    norms: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class GraNd:
    """Rows by |g|, the norm of the gradient of their loss."""

    name: ClassVar[str] = "grand"
    summary: ClassVar[str] = "rows that would change the model most; a baseline"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    warmup_ratio: float = param(
        0.05, origin="ours", doc="share of records to tune on, at random; 0: none", low=0, high=1
    )
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="ours", doc="of the warm-up: LLaVA-1.5's with LoRA, or changes to it"
    )
    checkpoints: int = param(
        1, origin="ours", doc="of the warm-up, evenly spread; the mean over them ranks", low=1
    )
    params: str = param("self_attn", origin="ours", doc="low-rank factors whose names hold this")
    loss_reduction: Literal["mean", "sum"] = param(
        "mean", origin="ours", doc="of the loss over answer tokens; mean favours short answers"
    )
    per_source: bool = param(False, origin="ours", doc="inside every source, in the pool's mixture")
    score_digits: int = param(
        6, origin="ours", doc="significant digits of the norm that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal norms")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for a model tuned on a random part, and for a norm a row at each checkpoint."""
        rows = pool.rows("candidate")
        self._entrants(pool, rows)
        reference = reference_model(
            lab,
            self.model,
            self.recipe,
            self.seed,
            drawn_share(pool, rows, self.warmup_ratio, self.seed),
            self.checkpoints,
            params=self.params,
            reduction=self.loss_reduction,
            projection="none",
        )
        return Inputs(rows, reference, ask_each(lab, NORM, reference.signals, Examples(rows)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Sort by norm, highest first."""
        rows = measured_rows(inputs.rows, inputs.norms)
        taken = [one.take(NORM.name, rows).astype(np.float64) for one in inputs.norms]
        norm = np.mean(taken, axis=0)
        scores = RowScores(norm, significant(norm, self.score_digits), "highest first")

        def reason(at: int, among: str) -> str:
            return f"gradient of length {norm[at]:.3g}, from the longest of {among}"

        facts = {"score": "gradient norm", "warmup_rows": len(inputs.reference.warmup)}
        found = self._entrants(pool, rows)
        return choose_by_score(pool, found, scores, LeftOut({}, ""), budget, reason, facts=facts)

    def _entrants(self, pool: Pool, rows: IntArray) -> Entrants:
        kind: Literal["source"] | None = "source" if self.per_source else None
        keys = tie_order(pool, self.seed, self.tie)
        return Entrants.labelled(pool, rows, keys, kind, self.unlabelled)

"""Perplexity: rows by how well a model predicts their answers, the middle ones by default.

Name and rule of the baseline as published comparisons use it; the middle band, its order and
`per_source` are [ours].
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
from visift.methods.method import param
from visift.methods.ranking import tie_order
from visift.methods.row_scores import Direction, LeftOut, RowScores, choose_by_score
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.losses import AnswerLoss

Band = Literal["mid", "low", "high"]

DIRECTIONS: dict[Band, Direction] = {
    "mid": "middle first",
    "low": "lowest first",
    "high": "highest first",
}
FROM: dict[Band, str] = {"mid": "the middle", "low": "the lowest", "high": "the highest"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows, text-only ones like any other, and the losses of their answers."""

    rows: NDArray[np.int64]
    losses: Measured


@dataclass(frozen=True, slots=True)
class Perplexity:
    """Rows by NLL, the mean of -log p over their answer tokens; perplexity is exp(NLL)."""

    name: ClassVar[str] = "perplexity"
    summary: ClassVar[str] = "answers that a model predicts neither well nor badly; a baseline"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    band: Band = param(
        "mid", origin="ours", doc="from the middle outwards, lowest or highest first"
    )
    per_source: bool = param(False, origin="ours", doc="inside every source, in the pool's mixture")
    score_digits: int = param(
        6, origin="ours", doc="significant digits of the loss that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal losses")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for one loss a row; labels are looked at before anything is measured."""
        rows = pool.rows("candidate")
        self._entrants(pool, rows)
        return Inputs(rows, lab.measure(AnswerLoss(self.model), Examples(rows)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Sort by NLL; `mid` begins in the middle of each group and goes outwards."""
        rows = inputs.rows[inputs.losses.ok(inputs.rows)]
        nll = inputs.losses.take("nll", rows).astype(np.float64)
        scores = RowScores(nll, significant(nll, self.score_digits), DIRECTIONS[self.band])
        with np.errstate(over="ignore"):
            perplexity = np.exp(nll)

        def reason(at: int, among: str) -> str:
            return (
                f"perplexity {perplexity[at]:.3g} of its answers (loss {nll[at]:.3g}), "
                f"from {FROM[self.band]} of {among}"
            )

        nobody = LeftOut({}, "")
        facts = {"score": "answer loss"}
        found = self._entrants(pool, rows)
        return choose_by_score(pool, found, scores, nobody, budget, reason, facts=facts)

    def _entrants(self, pool: Pool, rows: NDArray[np.int64]) -> Entrants:
        kind: Literal["source"] | None = "source" if self.per_source else None
        keys = tie_order(pool, self.seed, self.tie)
        return Entrants.labelled(pool, rows, keys, kind, self.unlabelled)

"""IFD: rows whose question helps the model least to find the answer, as long as it helps at all.

    IFD = NLL(answer | question, image) / NLL(answer)

Rows above 1, whose question misleads, are dropped, and the highest of the rest are taken [code].
`keep_image`, `order`, `per_source` and guards are [ours].
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
from visift.methods.row_scores import LeftOut, RowScores, choose_by_score
from visift.models.conditions import Condition
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.losses import AnswerLoss

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

ZERO = 1e-6


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows, text-only ones like any other, and the two losses of their answers."""

    rows: IntArray
    losses: Measured


@dataclass(frozen=True, slots=True)
class IFD:
    """Instruction-following difficulty, the share of an answer's loss that its question leaves."""

    name: ClassVar[str] = "ifd"
    summary: ClassVar[str] = "answers that the question helps least to predict; a baseline"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    keep_image: bool = param(
        False, origin="ours", doc="divide by the loss given the image: PreSel's IRS of a row"
    )
    drop_above: float | None = param(
        1.0, origin="code", doc="rows above this are never chosen; none keeps them", above=0
    )
    order: Literal["high", "low"] = param("high", origin="code", doc="which come first")
    per_source: bool = param(False, origin="ours", doc="inside every source, in the pool's mixture")
    score_digits: int = param(
        6, origin="ours", doc="significant digits of IFD that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal values")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for two losses a row; labels are looked at before anything is measured."""
        rows = pool.rows("candidate")
        self._entrants(pool, rows)
        without: Condition = "no_question" if self.keep_image else "answer_only"
        return Inputs(rows, lab.measure(AnswerLoss(self.model, ("given", without)), Examples(rows)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Drop what cannot be divided and what is above 1; the highest of the rest come first."""
        rows = inputs.rows[inputs.losses.ok(inputs.rows)]
        column = "nll_no_question" if self.keep_image else "nll_answer_only"
        given, alone = (
            inputs.losses.take(name, rows).astype(np.float64) for name in ("nll", column)
        )
        value = np.divide(given, alone, out=np.full(len(rows), np.nan), where=alone > ZERO)
        level = significant(value, self.score_digits)
        scores = RowScores(
            value, level, "highest first" if self.order == "high" else "lowest first"
        )

        def reason(at: int, among: str) -> str:
            return (
                f"IFD {value[at]:.4g} (answer loss {given[at]:.3g}, {alone[at]:.3g} without "
                f"{self._taken}), among the {self.order}est of {among}"
            )

        facts = {"score": "IRS" if self.keep_image else "IFD"}
        return choose_by_score(
            pool,
            self._entrants(pool, rows),
            scores,
            self._left_out(rows, value, level),
            budget,
            reason,
            facts=facts,
        )

    @property
    def _taken(self) -> str:
        """What the answer is asked without, in the denominator."""
        return "the question" if self.keep_image else "question and image"

    def _left_out(self, rows: IntArray, value: Float, level: Float) -> LeftOut:
        """Return the rows without a quotient, and those above the limit."""
        nothing = f"no IFD: the loss without {self._taken} is not above {ZERO:g}"
        status = dict.fromkeys(rows[np.isnan(value)].tolist(), nothing)
        if self.drop_above is not None:
            above = level > self.drop_above
            said = f"IFD above {self.drop_above:g}"
            pairs = zip(rows[above].tolist(), value[above].tolist(), strict=True)
            status |= {row: f"{said}: {one:.6g}" for row, one in pairs}
        return LeftOut(status, "To rank those above, too: --set drop_above=none")

    def _entrants(self, pool: Pool, rows: IntArray) -> Entrants:
        kind: Literal["source"] | None = "source" if self.per_source else None
        keys = tie_order(pool, self.seed, self.tie)
        return Entrants.labelled(pool, rows, keys, kind, self.unlabelled)

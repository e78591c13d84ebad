"""The longest answers first: the baseline that no published score should lose to.

No paper of its own; `order`, `per_source` and `clip` are [ours].
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
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.tokens import AnswerTokens

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows, and their tokens where a tokeniser or `--signals` gives them."""

    rows: NDArray[np.int64]
    tokens: Measured | None


@dataclass(frozen=True, slots=True)
class Longest:
    """Records by the length of their answers; longer ones also train on more tokens."""

    name: ClassVar[str] = "longest"
    summary: ClassVar[str] = "longest answers first; hold it against others at equal tokens, too"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    order: Literal["long", "short"] = param("long", origin="ours", doc="which come first")
    per_source: bool = param(False, origin="ours", doc="inside every source, in the pool's mixture")
    clip: float = param(
        99, origin="ours", doc="percentile above which all count as equally long", above=0, high=100
    )
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for tokens where something can count them; else characters stand in.

        Labels are looked at before anything is counted.
        """
        rows = pool.rows("candidate")
        self._entrants(pool, rows)
        if self.model is None and not lab.given("answer_tokens"):
            return Inputs(rows, None)
        return Inputs(rows, lab.measure(AnswerTokens(self.model), Examples(rows)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Sort by answer length, all turns summed; equal ones by tie key."""
        rows = inputs.rows
        if inputs.tokens is None:
            length = pool.index["answer_chars"].to_numpy()[rows].astype(float)
        else:
            rows = rows[inputs.tokens.ok(rows)]
            length = inputs.tokens.take("answer_tokens", rows).astype(float)
        unit = "characters" if inputs.tokens is None else "tokens"
        found = self._entrants(pool, rows)
        ranks = clipped(length, self.clip) * (-1 if self.order == "long" else 1)
        order = found.ranked(found.sizes.tolist(), ranks)
        median = np.median(length) if len(length) else 0

        def reason(at: int, group: int) -> str:
            return f"answers of {length[at]:,.0f} {unit} (median {median:,.0f})"

        first = "highest" if self.order == "long" else "lowest"
        facts = {"direction": f"{first} first", "score": f"answer {unit}"}
        return found.choose(pool, order, budget, reason, value=length, ranks=ranks, facts=facts)

    def _entrants(self, pool: Pool, rows: NDArray[np.int64]) -> Entrants:
        kind: Literal["source"] | None = "source" if self.per_source else None
        return Entrants.labelled(pool, rows, pool.tie_keys(self.seed), kind, self.unlabelled)


def clipped(length: Float, percentile: float) -> Float:
    """Return lengths, those above a percentile of them set to it."""
    return np.minimum(length, np.percentile(length, percentile)) if len(length) else length

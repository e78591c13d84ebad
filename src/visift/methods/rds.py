"""RDS+ (arXiv 2503.01807, from its formula): rows that a model reads much like target examples.

Cosines of averaged hidden states, one forward pass a row and no training: the cheap way to choose
for targets. These take turns, and each takes the row nearest to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.cutting import limit_of, must_have_budget
from visift.methods.entrants import Entrants
from visift.methods.grouping import label_groups
from visift.methods.method import param
from visift.methods.ranking import by_key, tie_order
from visift.methods.targets import target_rows
from visift.methods.turns import Nearest, take_turns
from visift.models.ref import ModelRef
from visift.numerics.neighbours import unit_rows
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.hidden import HIDDEN, HiddenMean

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is chosen from, for what, and what the model makes of both.

    Attributes:
        rows: usable rows.
        there: rows that are kept, or there already: they are near to targets, too.
        targets: usable targets.
        hidden: of the rows, and of those that are there.
        wanted: of the targets.
    """

    rows: IntArray
    there: IntArray
    targets: IntArray
    hidden: Measured
    wanted: Measured


@dataclass(frozen=True, slots=True)
class RDS:
    """Targets take turns; each takes the row of the highest cosine to it that nobody has taken."""

    name: ClassVar[str] = "rds"
    summary: ClassVar[str] = "rows that read like the examples of --target; no training"
    paper: ClassVar[str] = "2503.01807"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    coverage: ClassVar[bool] = True
    reads_target: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    score_digits: int = param(
        6, origin="ours", doc="significant digits of the cosine that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal rows")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for the mean hidden state of every row and every target."""
        targets = target_rows(pool, self.name)
        rows = pool.rows("candidate")
        there = np.union1d(pool.rows("kept"), pool.rows("have"))
        signal = HiddenMean(self.model)
        hidden = lab.measure(signal, Examples(np.union1d(rows, there)))
        return Inputs(rows, there, targets, hidden, lab.measure(signal, Examples(targets)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Let targets take turns; a row that is there already uses up the turn that takes it."""
        keys = tie_order(pool, self.seed, self.tie)
        rows = inputs.rows[inputs.hidden.ok(inputs.rows)]
        there = inputs.there[inputs.hidden.ok(inputs.there)]
        targets = by_key(inputs.targets[inputs.wanted.ok(inputs.targets)], keys)
        if not len(rows) or not len(targets):
            none = "record" if len(targets) else "target"
            raise InputError(f"no {none} has a value, and these are compared.")
        found = Entrants.of(pool, rows, keys, lambda some: label_groups(pool, some, None))
        everyone = np.concatenate([rows, there])
        nearest = Nearest(
            lambda: inputs.hidden.blocks(HIDDEN, everyone),
            unit_rows(inputs.wanted.take(HIDDEN, targets)),
            keys[everyone],
            self.score_digits,
        )
        most = self._most(pool, found, budget) + len(there)
        turns = take_turns(nearest, min(most, len(everyone)))
        mine = turns.items < len(rows)
        taken, by, cosine = turns.items[mine], turns.by[mine], turns.cosine[mine]
        value = nearest.largest()[: len(rows)]
        value[taken] = cosine
        order = np.concatenate([found.kept, rows[taken]])
        target_of = dict(zip(taken.tolist(), pool.uids(targets[by]), strict=True))
        choice = found.choose(pool, order, budget, _reason(value, target_of), value=value)
        lost = len(inputs.targets) - len(targets)
        facts = {
            "direction": "highest first",
            "score": "cosine to the target that took it, or to the nearest one",
            "targets": len(targets),
            "notices": [f"{counted(lost, 'target')} not used: no value."] if lost else [],
        }
        return replace(choice, facts={**choice.facts, **facts})

    def _most(self, pool: Pool, found: Entrants, budget: Budget | None) -> int:
        """Return how many rows a budget can take at most."""
        budget = must_have_budget(budget)
        if budget.unit in ("images", "tokens"):
            return len(found.rows)
        everything = np.concatenate([found.kept, found.rows])
        return limit_of(pool, everything, budget) - len(found.kept)


def _reason(value: NDArray[np.float64], target_of: Mapping[int, str]) -> Callable[[int, int], str]:
    def reason(at: int, group: int) -> str:
        return f"nearest to {target_of[at]} when its turn came (cosine {value[at]:.3g})"

    return reason

"""A plan as a value: what methods would cost on a pool, and what a subset would save."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from visift.engine.counting import Count, asked_for
from visift.engine.ledger import Entry
from visift.models.facts import ModelFacts
from visift.models.ref import ModelRef
from visift.planning.clock import Clock
from visift.planning.saving import Saving
from visift.pool.pool import Pool
from visift.signals.cost import Cost


@dataclass(frozen=True, slots=True)
class MethodPlan:
    """What one method would cost.

    Attributes:
        method: its name.
        counts: what it asks for.
        note: why it cannot run as asked; None if it can.
        device_seconds: of one device; None if not known.
        wall_seconds: until all is measured; None if not known.
        runs: trainings after which it has paid off, see `saving.runs_to_pay`.
    """

    method: str
    counts: tuple[Count, ...] = ()
    note: str | None = None
    device_seconds: float | None = None
    wall_seconds: float | None = None
    runs: float | None = None

    @property
    def counted(self) -> bool:
        """Whether what it asks for could be counted."""
        return self.note is None or bool(self.counts)

    @property
    def ledger(self) -> tuple[Entry, ...]:
        """The lines that a run without faults writes into its ledger."""
        return tuple(count.entry for count in self.counts)

    @property
    def cost(self) -> Cost:
        """Everything that is left to measure."""
        return sum((entry.cost for entry in self.ledger), Cost())

    @property
    def asks_for(self) -> str:
        """What it asks for, in words."""
        if not self.counted:
            return str(self.note)
        said = " + ".join(asked_for(count) for count in self.counts) or "nothing"
        return f"{said} ({self.note})" if self.note else said


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What methods would cost on a pool, and what a subset would save.

    Attributes:
        pool: what would be chosen from.
        budget: as written; None for the methods' own.
        model: what would measure.
        facts: of this model.
        methods: one each.
        saving: None without a budget.
        clock: None where nobody asked for times.
    """

    pool: Pool
    budget: str | None
    model: ModelRef | None
    facts: ModelFacts
    methods: tuple[MethodPlan, ...]
    saving: Saving | None = None
    clock: Clock | None = None

    def __repr__(self) -> str:
        names = ", ".join(f"{one.method}: {one.asks_for}" for one in self.methods)
        return f"Plan({names})"

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data; docs/schemas/plan.schema.json describes it."""
        pool, saving = self.pool, self.saving
        return {
            "pool": {
                "records": len(pool),
                "usable": len(pool.rows("kept")) + len(pool.rows("candidate")),
                "text_only": int(pool.text_only.sum()),
                "images": len(pool.images),
            },
            "budget": self.budget,
            "selected": saving and saving.selected,
            "model": self.model and self.model.name,
            "methods": [_plain(one) for one in self.methods],
            "training": saving and _training(saving, self.facts),
            "times": self.clock and _times(self.clock),
        }


def _training(saving: Saving, facts: ModelFacts) -> dict[str, Any]:
    return {
        "tokens": saving.tokens,
        "tokens_selected": saving.tokens_selected,
        "image_tokens": facts.image_tokens,
        "image_tokens_assumed": facts.assumed,
        "flops_saved": saving.flops,
        "device_seconds_saved": _rounded(saving.device_seconds),
    }


def _times(clock: Clock) -> dict[str, Any]:
    return {"devices": "gpu" if clock.on_gpu else "cpu", "source": clock.source()}


def _plain(one: MethodPlan) -> dict[str, Any]:
    cost, endless = one.cost, one.runs is not None and math.isinf(one.runs)
    return {
        "method": one.method,
        "asks_for": one.asks_for,
        "note": one.note,
        "requests": [_request(count) for count in one.counts],
        **dataclasses.asdict(cost),
        "device_seconds": _rounded(one.device_seconds),
        "wall_seconds": _rounded(one.wall_seconds),
        "pays_off_after_runs": None if one.runs is None or endless else int(one.runs),
        "never_pays_off": endless,
    }


def _request(count: Count) -> dict[str, Any]:
    entry = count.entry
    return {
        "signal": entry.signal,
        "unit": entry.unit,
        "columns": [column.name for column in count.signal.columns],
        "items": entry.items,
        "to_measure": entry.measured,
        "imported": count.given,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)

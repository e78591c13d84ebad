"""What a run measured and what that cost, one line a request."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from visift.signals.cost import Cost, Load, stated_cost
from visift.signals.signal import Signal


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the cost ledger.

    Attributes:
        signal: class name.
        unit: `image` or `record`.
        items: distinct items asked for (as far as their content was looked at: imported numbers
            are not compared by content).
        measured: of these, measured by this run; the others were stored or imported.
        failed: of these, without a value; rows without one where numbers were imported.
        forwards_partial: this and what follows is the `Cost` of the values measured by this run.
        forwards_full: see `signals.cost.Cost`, as for the others.
        backwards: passes.
        training_steps: steps.
        blocks: decoder blocks gone through.
        tokens: into the language model; None where not known.
        bytes_stored: on disk; None where not known.
        flops: operations; None where not known.
    """

    signal: str
    unit: str
    items: int
    measured: int
    failed: int
    forwards_partial: int = 0
    forwards_full: int = 0
    backwards: int = 0
    training_steps: int = 0
    blocks: int = 0
    tokens: int | None = 0
    bytes_stored: int | None = 0
    flops: int | None = 0

    @classmethod
    def of(cls, signal: Signal, items: int, measured: int, failed: int, values: Load) -> Entry:
        """Return the line of a request; the arguments are attributes.

        Args:
            signal: what was asked for.
            items: see above.
            measured: see above.
            failed: see above.
            values: the measured ones that have a value: they are what costs.
        """
        cost = dataclasses.asdict(stated_cost(signal, values))
        return cls(type(signal).__name__, signal.unit, items, measured, failed, **cost)

    @property
    def cost(self) -> Cost:
        """What the values measured by this run cost."""
        return Cost(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Cost)})

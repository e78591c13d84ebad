"""The exponent of a power law, fitted to what was measured at several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import Measurement


@dataclass(frozen=True, slots=True)
class Growth:
    """By which power of the number of records each cost grows; a line of the table.

    Attributes:
        what: name.
        seconds_exponent: of wall clock.
        cpu_exponent: of processor time.
        memory_exponent: of peak anonymous memory; None where it was not measured.
        end: sizes and exponents of the two largest pools alone, in words: fixed costs weigh less.
    """

    what: str
    seconds_exponent: float
    cpu_exponent: float
    memory_exponent: float | None
    end: str

    @classmethod
    def of(cls, what: str, runs: Mapping[int, Measurement]) -> Growth:
        """Fit what was measured, by the number of records."""
        return cls(what, *_exponents(runs), _end(dict(sorted(runs.items())[-2:])))

    def cells(self) -> tuple[str, ...]:
        """Return what each column shows."""
        exponents = (self.seconds_exponent, self.cpu_exponent, self.memory_exponent)
        return self.what, *map(_power, exponents), self.end, ""


def _exponents(runs: Mapping[int, Measurement]) -> tuple[float, float, float | None]:
    memories = [run.memory for run in runs.values() if run.memory]
    return (
        exponent(list(runs), [run.seconds for run in runs.values()]),
        exponent(list(runs), [run.cpu_seconds for run in runs.values()]),
        exponent(list(runs), memories) if len(memories) == len(runs) else None,
    )


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return b of cost = a size^b: the slope of a least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _end(runs: Mapping[int, Measurement]) -> str:
    said = ", ".join(filter(None, map(_power, _exponents(runs))))
    small, large = runs
    return f"from {small:,} to {large:,} alone: {said}"


def _power(exponent: float | None) -> str:
    return "" if exponent is None else f"N^{exponent:.2f}"

"""The table that is printed: one line a measurement, or what follows from several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.growth import Growth
from benchmarks.harness import Measurement

HEAD = ("what", "seconds", "CPU s", "memory", "ratio", "equality")


@dataclass(frozen=True, slots=True)
class Line:
    """One measured thing.

    Attributes:
        what: name and size.
        seconds: wall clock.
        cpu_seconds: processor time, None where it was not measured.
        memory: peak anonymous bytes of its own, None where it was not measured.
        ratio: compared with the reference, in words.
        equality: by how much the result differs from the reference's, in words.
        difference: the same as a number, to be checked: 0 is equal.
    """

    what: str
    seconds: float
    cpu_seconds: float | None = None
    memory: int | None = None
    ratio: str = ""
    equality: str = ""
    difference: float | None = None

    @classmethod
    def of(
        cls,
        what: str,
        run: Measurement,
        ratio: str = "",
        equality: str = "",
        difference: float | None = None,
    ) -> Line:
        """Return the line of a measurement."""
        return cls(what, run.seconds, run.cpu_seconds, run.memory, ratio, equality, difference)

    def cells(self) -> tuple[str, ...]:
        """Return what each column shows."""
        cpu = "" if self.cpu_seconds is None else f"{self.cpu_seconds:.2f}"
        memory = "" if self.memory is None else f"{self.memory / 2**20:,.0f} MiB"
        return self.what, f"{self.seconds:.2f}", cpu, memory, self.ratio, self.equality


def as_text(lines: Sequence[Line | Growth]) -> str:
    """Return lines as a table in Markdown."""
    rows = [HEAD, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows]
    rule = ["-" * w for w in widths]
    return "\n".join(f"| {' | '.join(row)} |" for row in [padded[0], rule, *padded[1:]])


def as_data(lines: Sequence[Line | Growth]) -> list[dict[str, object]]:
    """Return lines as plain data."""
    return [asdict(line) for line in lines]

"""The table of costs on the page of a verdict, as texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from visift.amounts import counted, data_size, duration, short
from visift.pool.bill import Bill

_FULL = "full"
_UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class CostLine:
    """A line of the table of costs, as texts; `labelled` says whether labels were paid for."""

    arm: str
    records: str
    choosing: str
    choosing_memory: str
    operations: str
    read: str
    back: str
    labels: str
    training: str
    training_memory: str
    training_operations: str
    once: str
    tenfold: str
    pays_off: str
    labelled: bool


def cost_line(cost: Mapping[str, Any]) -> CostLine:
    """Return the line of an arm; the argument is what the facts say of it."""
    return CostLine(
        arm=cost["arm"],
        records=f"{cost['records']:,}",
        choosing=_seconds(cost["choosing_seconds"]),
        choosing_memory=_bytes(cost["choosing_peak_bytes"]),
        operations=_short(cost["choosing_flops"]),
        read=_short(cost["records_forwarded"]),
        back=_short(cost["records_back_propagated"]),
        labels=str(Bill(cost["api_tokens"], cost["api_dollars"])),
        training=_seconds(cost["training_seconds"]),
        training_memory=_bytes(cost["training_peak_bytes"]),
        training_operations=_short(cost["training_flops"]),
        once=_ratio(cost["overall_cost"]),
        tenfold=_ratio(cost["overall_cost_of_ten"]),
        pays_off=_UNKNOWN if cost["arm"] == _FULL else _pays_off(cost),
        labelled=bool(cost["api_tokens"] or cost["api_dollars"]),
    )


def _pays_off(cost: Mapping[str, Any]) -> str:
    runs = cost["pays_off_after_runs"]
    if cost["never_pays_off"]:
        return "never"
    return _UNKNOWN if runs is None else f"after {counted(round(runs), 'run')}"


def _seconds(value: float | None) -> str:
    return _UNKNOWN if value is None else duration(value)


def _short(value: float | None) -> str:
    return _UNKNOWN if value is None else short(value)


def _bytes(value: float | None) -> str:
    return _UNKNOWN if value is None else data_size(value)


def _ratio(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f}"

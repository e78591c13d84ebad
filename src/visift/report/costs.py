"""The table of costs on the page of a verdict, as texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from visift.amounts import counted, data_size, duration, or_dash, short
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
        choosing=or_dash(cost["choosing_seconds"], duration),
        choosing_memory=or_dash(cost["choosing_peak_bytes"], data_size),
        operations=or_dash(cost["choosing_flops"], short),
        read=or_dash(cost["records_forwarded"], short),
        back=or_dash(cost["records_back_propagated"], short),
        labels=str(Bill(cost["api_tokens"], cost["api_dollars"])),
        training=or_dash(cost["training_seconds"], duration),
        training_memory=or_dash(cost["training_peak_bytes"], data_size),
        training_operations=or_dash(cost["training_flops"], short),
        once=or_dash(cost["overall_cost"], "{:.2f}".format),
        tenfold=or_dash(cost["overall_cost_of_ten"], "{:.2f}".format),
        pays_off=_UNKNOWN if cost["arm"] == _FULL else _pays_off(cost),
        labelled=bool(cost["api_tokens"] or cost["api_dollars"]),
    )


def _pays_off(cost: Mapping[str, Any]) -> str:
    runs = cost["pays_off_after_runs"]
    if cost["never_pays_off"]:
        return "never"
    return _UNKNOWN if runs is None else f"after {counted(round(runs), 'run')}"

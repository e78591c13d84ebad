"""What every arm costs: choosing, training, and whether that is less than training on all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from visift.planning.saving import runs_to_pay
from visift.pool.bill import NO_BILL, Bill
from visift.signals.cost import Cost

#: What costs are counted in: seconds of a device, or operations.
Unit = Literal["seconds", "flops"]


@dataclass(frozen=True, slots=True)
class ArmCost:
    """What an arm costs, choosing once and training once.

    Attributes:
        arm: its name.
        choosing: everything that is measured to choose, as stated, nothing of it stored before;
            None where it is not known.
        choosing_seconds: of one device of this machine: a core, or a GPU; None where not known.
        choosing_memory: the most bytes that one process held for it; None where not known, and
            where nothing is measured.
        training: one training, as stated.
        training_seconds: likewise, mean over its trainings, without starting and loading.
        records: that it is trained on.
        training_memory: the most bytes that one of its trainings held; None where not known.
        bill: for labels that choosing learns from; these stand beside, no time is counted for them.
    """

    arm: str
    choosing: Cost | None
    choosing_seconds: float | None
    training: Cost
    training_seconds: float | None
    records: int
    bill: Bill = NO_BILL
    choosing_memory: int | None = None
    training_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """An arm beside training on everything.

    Attributes:
        once: overall speed cost of one training, see `overall_cost`; None where not known.
        tenfold: the same, choosing shared among ten trainings.
        runs: trainings after which choosing has paid off; infinite if never, None if not known.
    """

    once: float | None
    tenfold: float | None
    runs: float | None


def overall_cost(
    full_score: float, score: float, choosing: float, training: float, full: float
) -> float | None:
    """Return C = P_full / P_sub * (T_select + T_tune) / T_full of PRISM (arXiv:2502.12119).

    Below 1 the subset is a net gain. None where a score or the time of the full arm is 0.

    Args:
        full_score: P_full, of the arm of all records.
        score: P_sub.
        choosing: T_select, in the unit of the other two.
        training: T_tune.
        full: T_full.
    """
    if score <= 0 or full <= 0:
        return None
    return full_score / score * (choosing + training) / full


def savings(costs: Sequence[ArmCost], scores: Mapping[str, float]) -> dict[str, Saving]:
    """Hold every arm against the full one, all of them in one unit.

    That is seconds of a device; or operations, where an arm's operations are known and its seconds
    are not.

    Args:
        costs: of all arms, that of all records first.
        scores: of every arm.
    """
    full = costs[0]
    counted = [arm for arm in costs if _known(arm, full, "flops")]
    unit: Unit = "seconds" if all(_known(arm, full, "seconds") for arm in counted) else "flops"
    return {arm.arm: saving(arm, full, scores[arm.arm], scores[full.arm], unit) for arm in costs}


def saving(
    arm: ArmCost, full: ArmCost, score: float, full_score: float, unit: Unit = "seconds"
) -> Saving:
    """Hold an arm against the full one."""
    known = _known(arm, full, unit)
    if known is None:
        return Saving(None, None, None)
    choosing, training, whole = known
    return Saving(
        overall_cost(full_score, score, choosing, training, whole),
        overall_cost(full_score, score, choosing / 10, training, whole),
        runs_to_pay(choosing, whole - training),
    )


def _known(arm: ArmCost, full: ArmCost, unit: Unit) -> tuple[float, float, float] | None:
    """Return choosing, training, and training on everything, in one unit."""
    if unit == "seconds":
        numbers = (arm.choosing_seconds, arm.training_seconds, full.training_seconds)
    else:
        flops = None if arm.choosing is None else arm.choosing.flops
        numbers = (flops, arm.training.flops, full.training.flops)
    choosing, training, whole = numbers
    if choosing is None or training is None or whole is None:
        return None
    return float(choosing), float(training), float(whole)


def seconds_of(choosing: Cost, measured: float | None, trained: Sequence[ArmCost]) -> float | None:
    """Return how long choosing takes on one device of this machine.

    Args:
        choosing: what is measured for it.
        measured: how long it took, likewise, where all of it was measured; None where some was
            stored.
        trained: arms whose trainings show how many operations a second this machine does.
    """
    if measured is not None:
        return measured
    if not choosing.flops:
        return 0.0 if choosing.flops == 0 else None
    pairs = [(arm.training.flops, arm.training_seconds) for arm in trained]
    known = [(flops, seconds) for flops, seconds in pairs if flops and seconds]
    if not known:
        return None
    speed = sum(flops for flops, _ in known) / sum(seconds for _, seconds in known)
    return choosing.flops / speed


def plain(arm: ArmCost, found: Saving) -> Mapping[str, object]:
    """Return a line of the ledger as plain data."""
    choosing = arm.choosing
    return {
        "arm": arm.arm,
        "records": arm.records,
        "choosing_seconds": arm.choosing_seconds,
        "choosing_flops": None if choosing is None else choosing.flops,
        "records_forwarded": None if choosing is None else choosing.forwards,
        "records_back_propagated": None if choosing is None else choosing.backwards,
        "choosing_peak_bytes": arm.choosing_memory,
        "api_tokens": arm.bill.tokens,
        "api_dollars": arm.bill.dollars,
        "training_seconds": arm.training_seconds,
        "training_peak_bytes": arm.training_memory,
        "training_flops": arm.training.flops,
        "training_steps": arm.training.training_steps,
        "training_back_propagated": arm.training.backwards,
        "overall_cost": found.once,
        "overall_cost_of_ten": found.tenfold,
        "pays_off_after_runs": None if found.runs in (None, float("inf")) else found.runs,
        "never_pays_off": found.runs == float("inf"),
    }

"""What every arm costs: choosing, training, and whether that is less than training on all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from visift.planning.saving import runs_to_pay
from visift.signals.cost import Cost


@dataclass(frozen=True, slots=True)
class ArmCost:
    """What an arm costs, choosing once and training once.

    Attributes:
        arm: its name.
        choosing: everything that is measured to choose, as stated, nothing of it stored before.
        choosing_seconds: on this machine; None where not known.
        training: one training, as stated.
        training_seconds: mean over its trainings, without starting and loading; None where not
            known.
        records: that it is trained on.
    """

    arm: str
    choosing: Cost
    choosing_seconds: float | None
    training: Cost
    training_seconds: float | None
    records: int


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


def saving(arm: ArmCost, full: ArmCost, score: float, full_score: float) -> Saving:
    """Hold an arm against the full one: in seconds where all are known, else in operations."""
    known = _known(arm, full, "seconds") or _known(arm, full, "flops")
    if known is None:
        return Saving(None, None, None)
    choosing, training, whole = known
    return Saving(
        overall_cost(full_score, score, choosing, training, whole),
        overall_cost(full_score, score, choosing / 10, training, whole),
        runs_to_pay(choosing, whole - training),
    )


def _known(arm: ArmCost, full: ArmCost, unit: str) -> tuple[float, float, float] | None:
    """Return choosing, training, and training on everything, in one unit."""
    if unit == "seconds":
        numbers = (arm.choosing_seconds, arm.training_seconds, full.training_seconds)
    else:
        numbers = (arm.choosing.flops, arm.training.flops, full.training.flops)
    choosing, training, whole = numbers
    if choosing is None or training is None or whole is None:
        return None
    return float(choosing), float(training), float(whole)


def seconds_of(choosing: Cost, measured: float | None, trained: Sequence[ArmCost]) -> float | None:
    """Return how long choosing takes on this machine.

    Args:
        choosing: what is measured for it.
        measured: how long it took where all of it was measured; None where some was stored.
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
    return {
        "arm": arm.arm,
        "records": arm.records,
        "choosing_seconds": arm.choosing_seconds,
        "choosing_flops": arm.choosing.flops,
        "records_forwarded": arm.choosing.forwards_full + arm.choosing.forwards_partial,
        "records_back_propagated": arm.choosing.backwards,
        "training_seconds": arm.training_seconds,
        "training_flops": arm.training.flops,
        "training_steps": arm.training.training_steps,
        "overall_cost": found.once,
        "overall_cost_of_ten": found.tenfold,
        "pays_off_after_runs": None if found.runs in (None, float("inf")) else found.runs,
        "never_pays_off": found.runs == float("inf"),
    }

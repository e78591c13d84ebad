"""Random arms that cost as much as a method's: in tokens to train on, or in all that it computes.

Equal records favour those who choose long ones, and say nothing of what choosing costs. These arms
have other numbers of records, and of steps, than the rest.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.amounts import short
from visift.methods.ranking import fill_seats
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.signals.tokens import estimated_tokens
from visift.validate.arms import Arm

Rows = NDArray[np.int64]
Equal = Literal["tokens", "compute"]
#: What the names of such arms begin with.
EQUAL_ARM = "random at equal "
EQUALS: tuple[Equal, ...] = ("tokens", "compute")


def tokens_of(pool: Pool, model: ModelRef) -> Rows:
    """Return (N,) tokens that a training on each row reads: its text, estimated, and its images."""
    images = np.diff(pool.images.offsets)
    return np.asarray(estimated_tokens(pool) + read_facts(model).image_tokens * images)


def equal_arm(
    pool: Pool, kind: Equal, arm: Arm, model: ModelRef, choosing: float | None, training: int | None
) -> Arm | str:
    """Return random records that take as much as an arm does; or why there are none.

    Args:
        pool: what is chosen from; its mixture of text-only and other records is kept.
        kind: `tokens` to train on, or `compute`: operations of choosing and training together.
        arm: a draw of a method.
        model: that is tuned.
        choosing: operations that the method's choice takes.
        training: operations of training on the arm.
    """
    name = f"{EQUAL_ARM}{kind} ({arm.name})"
    tokens = tokens_of(pool, model)
    wanted = float(tokens[arm.rows].sum())
    if kind == "compute":
        if choosing is None or not training:
            return f"{name} is left out: what {arm.name} computes is not known"
        wanted *= 1 + choosing / training
    order = _random_order(pool, arm.seed)
    sums = np.cumsum(tokens[order])
    if wanted > sums[-1]:
        return (
            f"{name} is left out: it takes as much as training on {short(wanted)} tokens, and all "
            f"records together have {short(float(sums[-1]))}"
        )
    # The prefix that comes closest.
    count = int(np.searchsorted(sums, wanted)) + 1
    over, under = sums[count - 1] - wanted, wanted - (sums[count - 2] if count > 1 else 0)
    count -= int(count > 1 and under < over)
    return Arm(name, order[:count], arm.seed)


def equal_of(arm: str) -> str | None:
    """Return the method that an arm costs as much as; None for an arm of another kind."""
    return arm.partition(" (")[2].removesuffix(")") if arm.startswith(EQUAL_ARM) else None


def _random_order(pool: Pool, seed: int) -> Rows:
    """Return all rows in random order, kept ones first, each prefix in the pool's mixture."""
    kept, rows = pool.rows("kept"), pool.rows("candidate")
    keys = pool.tie_keys(seed, b"equal")
    group = pool.text_only[rows].astype(np.int64)
    sizes = np.bincount(group, minlength=2).tolist()
    order = fill_seats(seat_order(sizes, sizes), group, keys[rows])
    return np.concatenate([kept, rows[order]])

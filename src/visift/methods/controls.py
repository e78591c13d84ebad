"""Random selections: the baselines every method is held against, and the twin of a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Lab
from visift.errors import InputError
from visift.methods.grouping import label_groups
from visift.methods.method import param
from visift.methods.ranking import fill_seats, new_images
from visift.numerics.allocate import power
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]

#: Exponent of a group's size in its weight.
WEIGHTS = {"proportional": 1.0, "sqrt": 0.5, "uniform": 0.0}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows; nothing is measured."""

    rows: IntArray


@dataclass(frozen=True, slots=True)
class Random:
    """The n lowest tie keys of the pool."""

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "rows by seeded random order; the baseline"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[None] = None
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    seed: int = 0

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for nothing."""
        return Inputs(pool.rows("candidate"))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take rows in tie-key order."""
        order = inputs.rows[np.argsort(pool.tie_keys(self.seed)[inputs.rows], kind="stable")]
        chosen = cut_rows(pool, order, budget)
        reason = f"drawn at random from {len(order):,} records (seed {self.seed})"
        return plain_choice(pool, chosen, [reason] * len(chosen), {}, len(order))


@dataclass(frozen=True, slots=True)
class Stratified:
    """Random rows inside every source, the budget shared over sources by `allocate`."""

    name: ClassVar[str] = "stratified"
    summary: ClassVar[str] = "random inside every source; separates mixture from score"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[Literal["source"]] = "source"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    seed: int = 0
    weights: Literal["proportional", "sqrt", "uniform"] = param(
        "proportional", origin="ours", doc="of a source: its rows, their square root, or 1"
    )
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for nothing."""
        return Inputs(pool.rows("candidate"))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take rows in tie-key order inside each source, sources in seat order."""
        rows = inputs.rows
        labels = label_groups(pool, rows, "source", self.unlabelled)
        sizes = np.bincount(labels.of, minlength=len(labels.labels)).tolist()
        seats = seat_order(power(sizes, WEIGHTS[self.weights]), sizes)
        order = rows[fill_seats(seats, labels.of, pool.tie_keys(self.seed)[rows])]
        chosen = cut_rows(pool, order, budget)
        label_of = dict(zip(rows.tolist(), labels.of.tolist(), strict=True))
        group = {row: labels.labels[g] for row, g in label_of.items()}
        reasons = [
            f"drawn at random from {sizes[label_of[row]]:,} {group[row]} records (seed {self.seed})"
            for row in chosen.tolist()
        ]
        return plain_choice(pool, chosen, reasons, group, len(order))


def cut_rows(pool: Pool, order: IntArray, budget: Budget | None) -> IntArray:
    """Return the longest prefix of ranked rows that a budget allows.

    Raises:
        InputError: no budget was given.
        InfeasibleBudget: see `Budget.limit`.
    """
    if budget is None:
        raise InputError("this method needs a budget.", fix="For example: --budget 15%")
    fresh = np.ones(len(order), np.int64)
    if budget.unit == "images":
        fresh = new_images([pool.images.of_row(int(row)) for row in order])
    limit = budget.limit(len(order), int(fresh.sum()))
    return order[: budget.cut(fresh, limit)]


def plain_choice(
    pool: Pool, rows: IntArray, reasons: Sequence[str], group: Mapping[int, str], usable: int
) -> Choice:
    """Return a choice without scores."""
    total = len(pool)
    return Choice(
        rows=rows,
        reasons=reasons,
        score=np.full(total, np.nan),
        group=[group.get(row) for row in range(total)],
        status=[None] * total,
        tied=np.zeros(len(rows), bool),
        facts={"direction": "none", "nested": True, "usable": usable},
    )


def matched_control(pool: Pool, chosen: IntArray, usable: IntArray, seed: int) -> IntArray:
    """Return random rows with the same shares: as many a source, with and without an image.

    Args:
        pool: what rows refer to.
        chosen: rows of a selection.
        usable: rows to draw from, a superset.
        seed: of the draw; its purpose `control` keeps it apart from all others.

    Returns:
        (len(chosen),) rows in the order of their keys.
    """
    sources = pool.groups("source").of_row.astype(np.int64)
    stratum = 2 * sources + pool.text_only
    wanted = dict(zip(*np.unique(stratum[chosen], return_counts=True), strict=True))
    keys = pool.tie_keys(seed, b"control")
    drawn = []
    for value, count in wanted.items():
        there = usable[stratum[usable] == value]
        drawn.append(there[np.argsort(keys[there], kind="stable")[:count]])
    rows = np.concatenate(drawn) if drawn else np.empty(0, np.int64)
    return rows[np.argsort(keys[rows], kind="stable")]


def proportional_random(pool: Pool, count: int, usable: IntArray, seed: int) -> IntArray:
    """Return `count` random rows in the pool's own mix of sources and text-only rows.

    Args:
        pool: what rows refer to.
        count: rows to draw.
        usable: rows to draw from.
        seed: of the draw; its purpose `proportional` keeps it apart from all others.
    """
    sources = pool.groups("source").of_row.astype(np.int64)
    _, stratum = np.unique(2 * sources[usable] + pool.text_only[usable], return_inverse=True)
    sizes = np.bincount(stratum).tolist()
    keys = pool.tie_keys(seed, b"proportional")
    return usable[fill_seats(seat_order(sizes, sizes), stratum, keys[usable])[:count]]

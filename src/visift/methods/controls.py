"""Random selections: the baselines every method is held against, and the twin of a selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Lab
from visift.errors import InputError
from visift.methods.entrants import Entrants
from visift.methods.method import param
from visift.methods.ranking import fill_seats
from visift.methods.tables import group_weights, whole_by_name
from visift.numerics.seats import seat_order
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]


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
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    seed: int = 0

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for nothing."""
        return Inputs(pool.rows("candidate"))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take rows in tie-key order."""
        keys = pool.tie_keys(self.seed)
        found = Entrants.labelled(pool, inputs.rows, keys, None)
        said = f"drawn at random from {len(inputs.rows):,} records (seed {self.seed})"
        return found.choose(pool, found.ranked([1]), budget, lambda at, group: said)


@dataclass(frozen=True, slots=True)
class Stratified:
    """Random rows inside every source, the budget shared over sources by `allocate`."""

    name: ClassVar[str] = "stratified"
    summary: ClassVar[str] = "random inside every source; separates mixture from score"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[Literal["source"]] = "source"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    seed: int = 0
    weights: str | Mapping[str, float] = param(
        "proportional",
        origin="ours",
        doc="of a source: proportional | uniform | sqrt | power:0.7 (of its rows) | coco:3,gqa:1",
    )
    min: int | str | Mapping[str, int] = param(
        0,
        origin="ours",
        doc="rows a source gets at least, if it has them: 100, or coco:100,gqa:20",
        low=0,
    )
    max: int | str | Mapping[str, int] | None = param(
        None, origin="ours", doc="rows a source gets at most, likewise", low=0
    )
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for nothing; labels and tables are looked at before anything else is measured."""
        inputs = Inputs(pool.rows("candidate"))
        found = self._entrants(pool, inputs)
        self._shares(found)
        return inputs

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take rows in tie-key order inside each source, sources in seat order."""
        found = self._entrants(pool, inputs)
        weights, caps, floors = self._shares(found)
        order = found.ranked(weights, caps=caps, floors=floors)
        sizes, names = found.sizes, found.labels.labels

        def reason(at: int, group: int) -> str:
            return (
                f"drawn at random from {sizes[group]:,} {names[group]} records (seed {self.seed})"
            )

        return found.choose(pool, order, budget, reason)

    def _entrants(self, pool: Pool, inputs: Inputs) -> Entrants:
        keys = pool.tie_keys(self.seed)
        return Entrants.labelled(pool, inputs.rows, keys, "source", self.unlabelled)

    def _shares(self, found: Entrants) -> tuple[list[Fraction], IntArray, IntArray]:
        """Return weight, cap and floor of every source."""
        sizes, names = found.sizes, found.labels.labels
        floors = whole_by_name("min", self.min, names, np.zeros_like(sizes))
        most = np.maximum(sizes, floors)  # a source gives no more than it has, whatever its floor
        caps = most if self.max is None else whole_by_name("max", self.max, names, most)
        for name, cap, least in zip(names, caps.tolist(), floors.tolist(), strict=True):
            if least > cap:
                raise InputError(f"--set min={least} of {name} is more than its largest, {cap}.")
        return group_weights(self.weights, names, sizes), caps, floors


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
        # Round again where a selection holds rows several times, and so more than there are.
        drawn.append(np.resize(there[np.argsort(keys[there], kind="stable")], count))
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
    order = usable[fill_seats(seat_order(sizes, sizes), stratum, keys[usable])]
    return np.resize(order, count)

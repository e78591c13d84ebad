"""Targets: examples of what a selection is for, and how near the rows of a pool are to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from visift.amounts import counted
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.gradients import (
    PROJECTION,
    Reference,
    ask_each,
    drawn_share,
    measured_rows,
    reference_model,
)
from visift.methods.grouping import Labelled, label_groups
from visift.models.ref import ModelRef
from visift.numerics.neighbours import unit_rows
from visift.numerics.rounding import significant
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

Inside = Literal["mean", "max"]

#: Cosines smaller than this are what is left of sums that cancel out.
ZERO = 1e-12


def target_rows(pool: Pool, method: str) -> IntArray:
    """Return the rows that are targets.

    Args:
        pool: what rows refer to.
        method: for the message.

    Raises:
        InputError: there are none.
    """
    rows = pool.rows("target")
    if not len(rows):
        why = "none of them can be used" if pool.has_role("target").any() else "none were named"
        raise InputError(
            f"{method} chooses for examples of what is to be learnt, and {why}.",
            fix="Name a file of them with --target FILE.",
        )
    return rows


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is chosen from, for what, and the gradients of both.

    Attributes:
        rows: usable rows.
        targets: usable targets.
        reference: the model that was asked.
        gradients: of the rows, at each checkpoint.
        wanted: gradients of the targets, likewise.
    """

    rows: IntArray
    targets: IntArray
    reference: Reference
    gradients: tuple[Measured, ...]
    wanted: tuple[Measured, ...]


def ask_influence(
    pool: Pool,
    lab: Lab,
    method: str,
    model: ModelRef | None,
    recipe: str | Mapping[str, Any],
    seed: int,
    warmup_ratio: float,
    checkpoints: int = 1,
    adam: bool = False,
    **gradient: Any,
) -> Inputs:
    """Ask for a model tuned on a random part, and for its gradients on all rows and on targets.

    Args:
        pool: what is chosen from, and its targets.
        lab: who is asked.
        method: for messages.
        model: what is tuned.
        recipe: how, see `training.recipe.read_recipe`.
        seed: of draw and training.
        warmup_ratio: share of the rows to tune on.
        checkpoints: at how many points of the training gradients are taken.
        adam: whether of rows the steps of the optimiser are compared with gradients of targets.
        **gradient: fields of `LoraGradient`.

    Raises:
        InputError: there are no targets; `adam` without several checkpoints, which keep its state.
    """
    if adam and checkpoints == 1:
        raise InputError(
            "adam wants the state of the optimiser, which is kept with several checkpoints.",
            fix="--set checkpoints=4, for example.",
        )
    rows, targets = pool.rows("candidate"), target_rows(pool, method)
    warmup = drawn_share(pool, rows, warmup_ratio, seed)
    reference = reference_model(lab, model, recipe, seed, warmup, checkpoints, **gradient)
    steps = [replace(signal, adam=adam) for signal in reference.signals]
    gradients = ask_each(lab, PROJECTION, steps, Examples(rows))
    wanted = ask_each(lab, PROJECTION, reference.signals, Examples(targets))
    return Inputs(rows, targets, reference, gradients, wanted)


@dataclass(frozen=True, slots=True)
class Influence:
    """How much each row would help each task of the targets.

    Attributes:
        rows: (n,) rows with a gradient.
        tasks: names of the T tasks.
        of: (n, T) cosines, or means of them over checkpoints, rounded as they rank.
        lost: targets without a gradient.
    """

    rows: IntArray
    tasks: tuple[str, ...]
    of: Float
    lost: int

    def facts(self, inputs: Inputs) -> dict[str, Any]:
        """Return what the report shows of targets."""
        used = len(inputs.targets) - self.lost
        notices = []
        if self.lost:
            notices.append(f"{counted(self.lost, 'target')} of {len(inputs.targets):,} not used.")
        return {
            "targets": used,
            "target_tasks": list(self.tasks),
            "warmup_rows": len(inputs.reference.warmup),
            "notices": notices,
        }


def influence(pool: Pool, inputs: Inputs, inside: Inside, digits: int) -> Influence:
    """Return the influence of all rows, from one pass over their gradients at each checkpoint.

    Checkpoints count by their learning rates [paper: LESS], whose sum is made 1 [ours].

    Args:
        pool: what rows refer to.
        inputs: gradients of rows and targets.
        inside: over the targets of a task: the mean of the cosines, or the largest.
        digits: significant digits that count.

    Raises:
        InputError: no target, or no row, has a gradient.
    """
    rows = measured_rows(inputs.rows, inputs.gradients)
    targets = measured_rows(inputs.targets, inputs.wanted)
    if not len(rows) or not len(targets):
        none = "record" if len(targets) else "target"
        raise InputError(f"no {none} has a gradient, and these are compared.")
    tasks = label_groups(pool, targets, "task", "other")
    found = np.zeros((len(rows), len(tasks.labels)))
    each = zip(inputs.reference.rates(), inputs.gradients, inputs.wanted, strict=True)
    for rate, gradients, wanted in each:
        towards = unit_rows(wanted.take(PROJECTION.name, targets))
        blocks = gradients.blocks(PROJECTION.name, rows)
        found += rate * influences(blocks, towards, tasks, inside=inside)
    lost = len(inputs.targets) - len(targets)
    return Influence(rows, tasks.labels, significant(found, digits), lost)


def influences(
    blocks: Iterable[NDArray[Any]], targets: NDArray[Any], tasks: Labelled, *, inside: Inside
) -> Float:
    """Return (n, T) influence of n rows on T tasks: cosines to the targets of each.

    Args:
        blocks: gradients of the n rows, of any length each.
        targets: (m, d) unit gradients of the targets.
        tasks: the task of each target.
        inside: over the targets of a task: the mean of the cosines, or the largest.
    """
    wanted = targets.astype(np.float64)
    members = [np.flatnonzero(tasks.of == t) for t in range(len(tasks.labels))]
    if inside == "mean":
        wanted = np.stack([wanted[mine].mean(axis=0) for mine in members])
    parts = []
    with threadpool_limits(1, user_api="blas"):
        for block in blocks:
            cosines = unit_rows(block).astype(np.float64) @ wanted.T
            if inside == "max":
                cosines = np.stack([cosines[:, mine].max(axis=1) for mine in members], axis=1)
            parts.append(np.where(np.abs(cosines) <= ZERO, 0.0, cosines))
    return np.concatenate(parts)

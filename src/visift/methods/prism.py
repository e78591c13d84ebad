"""PRISM: keep the images least similar to the others (arXiv 2502.12119; training-free).

Only the abstracts are confirmed at source; formulas follow a published third-party reading of the
final version, see docs/methods/prism.md. M items, d width, F_i feature, c_i centre, z_i unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.cuts import CutTable
from visift.methods.grouping import EVERYTHING, Labelled, label_groups
from visift.methods.image_items import Scored, choose_items
from visift.methods.image_ranking import ItemUnit, TextOnly, budget_limit, held_apart, image_items
from visift.methods.method import param
from visift.methods.ranking import tau_counts, tie_order
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.numerics.sums import group_sums, row_values
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.features import Pooling, VisualFeatures

Float = NDArray[np.float64]
IntArray = NDArray[np.int64]
Center = Literal["corpus", "row", "none"]
Blocks = Callable[[], Iterable[NDArray[Any]]]

ZERO = 1e-9
MIN_FOR_NOISE = 100
SCOPES: dict[str, Literal["source"] | None] = {"source": "source", "all": None}


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Scores of M items in G groups.

    Attributes:
        R: (M,) float64, mean cosine of a centred feature to the others of its group.
        S_norm: (G,) length of the vector sum of the group's unit vectors.
        zero: (M,) items that coincide with their centre (z = 0).
        width: d.
    """

    R: Float
    S_norm: Float
    zero: NDArray[np.bool_]
    width: int


def redundancy(
    blocks: Blocks,
    group: IntArray,
    groups: int,
    center: Center = "corpus",
    centre_group: IntArray | None = None,
) -> Redundancy:
    """Return R_i = 1/(N-1) * sum over j != i of z_i . z_j, without the N x N matrix.

    Exact linear form: R_i = (z_i . S - |z_i|^2)/(N-1) with S = sum_j z_j; three passes, O(Nd) time,
    O(Gd) memory beside a few chunks.

    Args:
        blocks: called once a pass; yields the (M, d) features in order, in blocks of any size.
        group: (M,) group an item is scored in, from 0 to groups - 1.
        groups: G.
        center: c_i = mean of the group (`corpus`), of the vector itself (`row`), or 0 (`none`).
        centre_group: (M,) coarser groups the corpus mean is taken over; `group` by default.
    """
    mean_of = group if centre_group is None else centre_group
    sizes = np.bincount(group, minlength=groups)
    mu = np.zeros((groups, 1))
    if center == "corpus":
        counts = np.bincount(mean_of, minlength=groups)
        mu = group_sums(blocks(), mean_of, groups, lambda g, rows, F: F.sum(axis=0))
        mu /= np.maximum(counts, 1)[:, None]

    def centre(rows: IntArray, F: Float) -> Float:
        return F.mean(axis=1, keepdims=True) if center == "row" else mu[mean_of[rows[:1]]]

    inverse_norm = np.zeros(len(group))

    def unit_sum(g: int, rows: IntArray, F: Float) -> Float:
        c = centre(rows, F)
        D = np.subtract(F, c, out=F)
        inverse_norm[rows] = _inverse_norms(D, c)
        return np.asarray(inverse_norm[rows] @ D)

    S = group_sums(blocks(), group, groups, unit_sum)

    def similarity(g: int, rows: IntArray, F: Float) -> Float:
        D = np.subtract(F, centre(rows, F), out=F)
        return np.asarray(inverse_norm[rows] * (D @ S[g]))

    zero = inverse_norm == 0
    R = (row_values(blocks(), group, similarity) - ~zero) / np.maximum(sizes[group] - 1, 1)
    R[zero | (sizes[group] == 1)] = 0.0
    return Redundancy(R, np.linalg.norm(S, axis=1), zero, S.shape[1])


def _inverse_norms(D: Float, c: Float) -> Float:
    """Return 1/|D_i|, or 0 where |D_i| = |F_i - c_i| <= 1e-9 max(|F_i|, |c_i|): rounding noise.

    |F_i| and |c_i| are the same there (to nine digits), so that |c_i| alone decides. `c` is (n, 1),
    (1, d) or (1, 1).
    """
    length = np.sqrt(np.vecdot(D, D))
    noise = ZERO * np.linalg.norm(c, axis=1) * math.sqrt(D.shape[1] / c.shape[1])
    return np.asarray(np.divide(1.0, length, out=np.zeros_like(length), where=length > noise))


@dataclass(frozen=True, slots=True)
class Inputs:
    """What PRISM asks for: features of the rows with images; text-only rows need none."""

    visual: IntArray
    text: IntArray
    features: Measured


@dataclass(frozen=True, slots=True)
class Prism:
    """Training-free selection by visual redundancy; parameters as in docs/methods/prism.md."""

    name: ClassVar[str] = "prism"
    summary: ClassVar[str] = "images least similar to the others of their source; no training"
    paper: ClassVar[str] = "2502.12119"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = False
    group_by: ClassVar[Literal["source"]] = "source"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {},
        "paper": {"scope": "all", "unit": "row", "tau": 0.30, "center": "corpus"},
        "v1": {"center": "row", "scope": "source"},
    }

    model: ModelRef | None = None
    seed: int = 0
    tau: float = param(
        0.333, origin="ours", doc="share of items kept when there is no budget", above=0, high=1
    )
    scope: Literal["source", "all"] = param(
        "source", origin="ours", doc="compare images inside their source, or all of them"
    )
    unit: ItemUnit = param("image", origin="ours", doc="score images (rows follow), or rows")
    center: Center = param("corpus", origin="paper", doc="what features are centred on")
    centre_scope: Literal["group", "pool"] = param(
        "group", origin="ours", doc="whose mean `corpus` subtracts: the group's or the pool's"
    )
    layer: int = param(
        2, origin="ours", doc="block whose input is read; 0 = projector output", low=0
    )
    pool: Pooling = param("mean", origin="paper", doc="over visual tokens: mean, or the last one")
    text_only: Literal["auto", "proportional", "keep", "drop"] = param(
        "auto", origin="ours", doc="auto: keep under tau (paper), proportional under a budget"
    )
    min_per_source: int = param(0, origin="ours", doc="items every source gets at least", low=0)
    score_digits: int = param(
        6, origin="ours", doc="significant digits of R that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal scores")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for one feature an image."""
        rows = pool.rows("candidate")
        text = pool.text_only[rows]
        if text.all():
            raise InputError(
                "no usable record has an image, and prism compares images.",
                fix="Choose a method that needs none: visift methods",
            )
        signal = VisualFeatures(self.model, self.layer, self.pool)
        visual = rows[~text]
        label_groups(pool, visual, SCOPES[self.scope], self.unlabelled)
        if budget is not None:
            budget_limit(pool, visual, rows[text], self._text_policy(budget), budget)
        return Inputs(visual, rows[text], lab.measure(signal, Examples(visual)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Rank the images of each source by R, lowest first, and take turns by seat order."""
        visual = inputs.visual[inputs.features.ok(inputs.visual)]
        if not len(visual):
            raise InputError(
                "no image has a value, and prism compares images.",
                fix="visift inspect --verify-images tells which images cannot be decoded.",
            )
        keys = tie_order(pool, self.seed, self.tie)
        items = image_items(pool, visual, self.unit, keys)
        labels = label_groups(pool, items.first, SCOPES[self.scope], self.unlabelled)
        sizes = np.bincount(labels.of, minlength=len(labels.labels))
        found = redundancy(
            lambda: inputs.features.blocks("visual_feature", items.first),
            labels.of,
            len(sizes),
            self.center,
            labels.of if self.centre_scope == "group" else np.zeros_like(labels.of),
        )
        if found.zero.all():
            raise InputError("no signal: all features are the same.", fix="Check the model.")
        singles = held_apart(pool, inputs.text, keys, labels, SCOPES[self.scope], self.unit)
        return choose_items(
            pool,
            Scored(items, labels, found.R, significant(found.R, self.score_digits)),
            singles,
            self._text_policy(budget),
            tau_counts(self.tau, sizes + singles.held) if budget is None else budget,
            np.minimum(sizes, self.min_per_source),
            partial(_reason, self.unit),
            _signal(found, labels),
            self.seed,
        )

    def _text_policy(self, budget: Budget | None) -> TextOnly:
        if self.text_only != "auto":
            return self.text_only
        return "keep" if budget is None else "proportional"


def _reason(unit: ItemUnit, scored: Scored, cuts: CutTable, item: int) -> str:
    g = scored.labels.of[item]
    label = "" if cuts.labels[g] == EVERYTHING else f"{cuts.labels[g]} "
    return (
        f"among the least similar {cuts.chosen[g] / cuts.size[g]:.1%} of {cuts.size[g]:,} "
        f"{label}{unit}s (similarity {scored.raw[item]:.3g}, median {cuts.median[g]:.3g})"
    )


def _signal(found: Redundancy, labels: Labelled) -> list[dict[str, float | bool]]:
    """Return, by group, whether R is noise: sd(R) < 1/sqrt(Nd), or unit vectors cancel out."""
    facts: list[dict[str, float | bool]] = []
    for g in range(len(labels.labels)):
        mine = labels.of == g
        n, sd, length = int(mine.sum()), float(found.R[mine].std()), float(found.S_norm[g])
        weak = n >= MIN_FOR_NOISE and sd < 1 / math.sqrt(n * found.width)
        noise = weak or (n > 1 and length <= ZERO * n)
        zero = int(found.zero[mine].sum())
        facts.append({"sd": sd, "S_over_N": length / n, "zero": zero, "noise": noise})
    return facts

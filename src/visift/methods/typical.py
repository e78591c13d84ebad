"""Typical images without a model of the target: PreSel's choice inside tasks, and no more.

This is *not* PreSel (arXiv 2503.07591): nothing tells how much a task's questions matter, so that
tasks get equal shares or those of the pool. For whoever has images and no GPU: all [ours].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.cutting import must_have_budget
from visift.methods.grouping import label_groups
from visift.methods.method import param
from visift.methods.presel_order import held_by_task, ranking
from visift.methods.ranking import by_key, tie_order
from visift.methods.seeds import rows_in_budget
from visift.methods.typicality import cluster_tasks, our_clusters
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.embeddings import ImageEmbedding, encoder_for

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The rows with images, those without, and the embeddings."""

    rows: IntArray
    text: IntArray
    embeddings: Measured


@dataclass(frozen=True, slots=True)
class Typical:
    """Typical images of every cluster of every task, in shares that need no model."""

    name: ClassVar[str] = "typical"
    summary: ClassVar[str] = "typical images of every cluster; not PreSel: no model tells shares"
    paper: ClassVar[str] = ""
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[Literal["task"]] = "task"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    shares: Literal["proportional", "uniform"] = param(
        "proportional", origin="ours", doc="of the tasks: their rows, or all the same"
    )
    encoder: str = param("auto", origin="ours", doc="of images; auto: DINOv2-base, class token")
    rows_per_cluster: int = param(
        100, origin="ours", doc="a task of n rows has floor(n / this) clusters, at least 1", low=1
    )
    k: int = param(5, origin="ours", doc="neighbours of NC", low=1)
    text_only: Literal["proportional", "drop"] = param(
        "proportional",
        origin="ours",
        doc="rows without an image: at random in their share, or none",
    )
    score_digits: int = param(
        6, origin="ours", doc="significant digits of NC that rank", low=1, high=17
    )
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a task")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for one embedding an image."""
        everything = pool.rows("candidate")
        text = pool.text_only[everything]
        rows = everything[~text]
        if not len(rows):
            raise InputError("no usable record has an image, and typical chooses images.")
        label_groups(pool, rows, "task", self.unlabelled)
        usable = rows if self.text_only == "drop" else everything
        rows_in_budget(pool, usable, must_have_budget(budget))
        encoder = ImageEmbedding(encoder_for(self.encoder, self.model))
        return Inputs(rows, everything[text], lab.measure(encoder, Examples(rows)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Take turns by task and cluster; in a cluster, the most typical images come first."""
        keys = tie_order(pool, self.seed, "hash")
        rows = inputs.rows[inputs.embeddings.ok(inputs.rows)]
        tasks = label_groups(pool, rows, "task", self.unlabelled)
        found = cluster_tasks(
            pool,
            inputs.embeddings,
            tasks,
            rows,
            np.zeros(len(pool), bool),
            keys,
            our_clusters(self.seed),
            rows_per_cluster=self.rows_per_cluster,
            neighbours=self.k,
            images_once=True,
        )
        sizes = np.bincount(tasks.of, minlength=len(tasks.labels)).astype(np.float64)
        w = sizes if self.shares == "proportional" else np.ones_like(sizes)
        kept = by_key(pool.rows("kept"), keys)
        text = by_key(inputs.text, keys) if self.text_only == "proportional" else inputs.text[:0]
        draw = found.order(keys, self.score_digits)
        held = held_by_task(pool, kept, tasks.labels)
        entrants, order = ranking(found, w, kept, text, held, draw, keys)
        NC, names = found.nc[entrants.rows], entrants.labels.labels

        def reason(at: int, group: int) -> str:
            if not np.isfinite(NC[at]):
                return "drawn at random from the text-only records"
            return f"typical of {names[group]} (similarity to its neighbours {NC[at]:.3g})"

        dropped = np.flatnonzero(pool.text_only & pool.has_role("candidate"))
        status = dict.fromkeys(dropped.tolist(), "text-only: dropped")
        choice = entrants.choose(
            pool,
            order,
            budget,
            reason,
            value=NC,
            ranks=draw[entrants.rows],
            status=status if self.text_only == "drop" else {},
        )
        notice = "typical is not PreSel: no model says how much a task's questions matter"
        facts = {"direction": "highest first", "notices": [notice]}
        return replace(choice, facts={**choice.facts, **facts})

"""PreSel (arXiv 2503.07591): choose images first, and write instructions for those alone.

Instructions of a 5 % reference tell, task by task, how much the question matters (eqs. 3 to 5, in
`irs`); tasks where it does get more of the budget. Inside a task images are clustered, and from
each cluster, by its size, those nearest to their neighbours are taken (eqs. 6 and 7, in
`typicality`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.engine.trainings import Tuned
from visift.errors import InputError
from visift.methods.compat import PRESEL_KMEANS_SEED, presel_new_rows
from visift.methods.entrants import KEPT
from visift.methods.grouping import EVERYTHING, Labelled, label_groups
from visift.methods.irs import irs, task_scores, task_weights
from visift.methods.method import param
from visift.methods.presel_facts import presel_facts, reason_of
from visift.methods.presel_order import (
    Fill,
    Variant,
    filled,
    first_by_quota,
    held_by_task,
    official_quota,
    ranking,
    shared_once,
)
from visift.methods.ranking import by_key, tie_order
from visift.methods.reference import draw_reference
from visift.methods.seeds import marked_size, rows_in_budget
from visift.methods.typicality import (
    Clustering,
    Typical,
    cluster_tasks,
    embedded_groups,
    official_clusters,
    our_clusters,
)
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.embeddings import ImageEmbedding, encoder_for
from visift.signals.losses import AnswerLoss
from visift.training.recipe import read_recipe

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

REFERENCE = "reference: drawn at random, its instructions tell which tasks need theirs"
TEXT_KEPT = "text-only: all of them are kept"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The reference, what is chosen from, and what both are judged by.

    Attributes:
        rows: all rows with images, the reference included.
        text: text-only rows.
        reference: rows the reference model learns from, in key order.
        tuned: the reference model.
        losses: of the reference, with and without its questions.
        embeddings: of all images.
    """

    rows: IntArray
    text: IntArray
    reference: IntArray
    tuned: Tuned
    losses: Measured
    embeddings: Measured


@dataclass(frozen=True, slots=True)
class PreSel:
    """Task importance from a small reference, then typical images of every cluster."""

    name: ClassVar[str] = "presel"
    summary: ClassVar[str] = "images before instructions: tasks by how much questions matter"
    paper: ClassVar[str] = "2503.07591"
    nested: ClassVar[bool] = False
    needs_budget: ClassVar[bool] = False
    group_by: ClassVar[Literal["task"]] = "task"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    official: ClassVar[Mapping[str, Any]] = {
        "ref_ratio": "5%",
        "irs_form": "joined",
        "kappa": 0.0,
        "dedupe_images": False,
        "fill": "random",
        "score_digits": 17,
    }

    model: ModelRef | None = None
    seed: int = 0
    total: float = param(
        0.15,
        origin="paper",
        doc="share of records, the reference included, where there is no budget",
        above=0,
        high=1,
    )
    ref_ratio: str = param(
        "auto",
        origin="code",
        doc="reference: 5%, 500, or auto: 5 % (ours: 20 rows a task), at most a third of all",
    )
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="code", doc="of the reference model: LLaVA-1.5's with LoRA, or changes to it"
    )
    tau: float | None = param(
        None, origin="paper", doc="temperature of task shares; 1/sqrt(tasks) by default", above=0
    )
    irs_form: Literal["per_turn", "joined"] = param(
        "per_turn", origin="ours", doc="without questions: each turn's blanked, or one turn (code)"
    )
    kappa: float = param(
        10, origin="ours", doc="rows that the mean of all tasks weighs as in each (paper: 0)", low=0
    )
    size_power: float = param(
        0, origin="code", doc="shares are also proportional to the task's rows to this power", low=0
    )
    task_from: str = param(
        "task", origin="ours", doc="task (label) | source | cluster:K (an extension: no labels)"
    )
    encoder: str = param("auto", origin="code", doc="of images; auto: DINOv2-base, class token")
    rows_per_cluster: int = param(
        100, origin="code", doc="a task of n rows has floor(n / this) clusters, at least 1", low=1
    )
    cluster_on: Literal["all", "remaining"] = param(
        "all", origin="code", doc="rows clustered: all, or (paper) those outside the reference"
    )
    k: int = param(5, origin="code", doc="neighbours of NC", low=1)
    dedupe_images: bool = param(True, origin="ours", doc="rows of one image are one neighbour")
    fill: Fill = param(
        "by_weight", origin="ours", doc="who gets what a task cannot give: others, anyone, nobody"
    )
    text_only: Literal["drop", "proportional", "keep"] = param(
        "drop", origin="paper", doc="rows without an image"
    )
    compat: Literal["none", "official"] = param(
        "none",
        origin="ours",
        doc="official: the program's arithmetic, defects included; stands for irs_form=joined, "
        "kappa=0, dedupe_images=false, fill=random, score_digits=17, ref_ratio=5%",
    )
    variant: Variant = param("llava", origin="code", doc="which of the programs compat follows")
    score_digits: int = param(
        6, origin="ours", doc="significant digits of NC that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal scores")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a task")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Draw the reference; ask for a model tuned on it, its losses, and all embeddings."""
        everything = pool.rows("candidate")
        text = pool.text_only[everything]
        rows = everything[~text]
        if not len(rows):
            raise InputError("no usable record has an image, and presel chooses images.")
        by = self._labels(pool, rows)
        reference = lab.marked("is_reference")
        if reference is None:
            usable = rows if self.text_only == "drop" else everything
            there = rows_in_budget(pool, usable, self._budget(budget))
            reference = draw_reference(pool, rows, by, there, self.ref_ratio, self.seed)
        else:
            there = rows_in_budget(pool, rows, self._budget(budget))
            marked_size(len(np.intersect1d(reference, rows)), "is_reference", there)
        reference = by_key(np.intersect1d(reference, rows), pool.tie_keys(self.seed, b"reference"))
        examples = Examples(reference, lab.instructions(reference, "reference"))
        recipe = read_recipe(self.recipe, self.model, self.seed, lora=True)
        tuned = lab.finetune(self.model, recipe, examples)
        asked = AnswerLoss(
            tuned.model,
            ("given", "no_question"),
            max_tokens=recipe.max_tokens,
            joined=self.irs_form == "joined",
        )
        encoder = ImageEmbedding(encoder_for(self.encoder, self.model))
        return Inputs(
            rows,
            everything[text],
            reference,
            tuned,
            lab.measure(asked, examples),
            lab.measure(encoder, Examples(rows)),
        )

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Share the budget over tasks by IRS; in each, take typical images of every cluster."""
        keys = tie_order(pool, self.seed, self.tie)
        rows = inputs.rows[inputs.embeddings.ok(inputs.rows)]
        fine = inputs.losses.ok(inputs.reference) & inputs.tuned.ok(inputs.reference)
        reference = np.intersect1d(inputs.reference[fine], rows)
        reference = by_key(reference, pool.tie_keys(self.seed, b"reference"))
        tasks = self._tasks(pool, inputs.embeddings, rows, keys)
        of = np.full(len(pool), -1)
        of[rows] = tasks.of
        sizes = np.bincount(tasks.of, minlength=len(tasks.labels))
        score = irs(
            inputs.losses.take("nll", reference).astype(np.float64),
            inputs.losses.take("nll_no_question", reference).astype(np.float64),
        )
        s = task_scores(score, of[reference], len(tasks.labels), self.kappa)
        if not np.isfinite(s).all():
            raise InputError(
                "no row of the reference has a relevance score: their losses are missing or zero.",
                fix="Check the reference model, or hand in nll and nll_no_question with --signals.",
            )
        w = task_weights(s, self.tau) * np.power(sizes / sizes.max(), self.size_power)
        typical = self._typical(pool, inputs.embeddings, tasks, rows, reference, keys)
        kept = by_key(pool.rows("kept"), keys)
        text = by_key(inputs.text, keys)
        first = [(kept, KEPT), (reference, REFERENCE)]
        first += [(text, TEXT_KEPT)] if self.text_only == "keep" else []
        always = np.concatenate([some for some, _ in first])
        by_turn = text if self.text_only == "proportional" else text[:0]
        held = held_by_task(pool, kept, tasks.labels, self.task_from)
        draw = typical.order(keys, self.score_digits)
        found, order = ranking(typical, w, always, by_turn, held, draw, keys)
        budget = self._budget(budget)
        if self.fill != "by_weight" or self._official:
            order, count = self._by_quota(pool, order, len(always), budget, typical, w, sizes)
            budget = Budget.parse(min(count, len(order)))
        choice = found.choose(
            pool,
            order,
            budget,
            reason_of(typical, tasks.labels, s, w, found),
            value=typical.nc[found.rows],
            ranks=draw[found.rows],
            status=self._dropped(pool),
            always=[why for some, why in first for _ in range(len(some))],
        )
        facts = presel_facts(pool, choice, tasks, rows, reference, score, s, w, typical)
        return replace(choice, facts={**choice.facts, "nested": False, **facts})

    def _by_quota(
        self,
        pool: Pool,
        order: IntArray,
        first: int,
        budget: Budget,
        typical: Typical,
        w: Float,
        sizes: IntArray,
    ) -> tuple[IntArray, int]:
        """Return a ranking in which tasks, or clusters, have fixed numbers of rows, and its cut."""
        kept, rest = pool.rows("kept"), order[first:]
        group = np.full(len(pool), -1, np.int64)
        if self._official:
            n = presel_new_rows(budget, int(sizes.sum()))
            quota = official_quota(typical, w / w.sum(), n, sizes, self.variant)
            start = 0
            for cells in typical.cells:
                group[cells.rows] = start + cells.of
                start += len(cells.names)
        else:
            n = max(rows_in_budget(pool, order[len(kept) :], budget) + len(kept) - first, 0)
            text = int((~np.isfinite(typical.nc[rest])).sum())
            turns = n * text // max(len(rest), 1)
            quota = np.append(shared_once(w, n - turns), turns)
            group[:] = len(typical.cells)  # what belongs to no task: text-only rows
            for task, cells in enumerate(typical.cells):
                group[cells.rows] = task
        inside = first_by_quota(rest, group[rest], quota)
        rest = filled(rest, inside, self.fill, pool.tie_keys(self.seed, b"fill"))
        return np.concatenate([order[:first], rest]), first + n

    @property
    def _official(self) -> bool:
        return self.compat == "official"

    def _budget(self, budget: Budget | None) -> Budget:
        return Budget.parse(f"{Decimal(repr(self.total)) * 100:f}%") if budget is None else budget

    def _labels(self, pool: Pool, rows: IntArray) -> Labelled:
        """Return the tasks as they are known before anything is measured."""
        kind, _, count = self.task_from.partition(":")
        if kind == "cluster" and count.isdigit() and int(count) > 0:
            return Labelled((EVERYTHING,), np.zeros(len(rows), np.int64))
        if self.task_from not in ("task", "source"):
            raise InputError(
                f"--set task_from={self.task_from}: task, source, or cluster:12 was expected."
            )
        return label_groups(pool, rows, "task" if kind == "task" else "source", self.unlabelled)

    def _tasks(
        self, pool: Pool, embeddings: Measured, rows: IntArray, keys: NDArray[np.uint64]
    ) -> Labelled:
        kind, _, count = self.task_from.partition(":")
        if kind != "cluster":
            return self._labels(pool, rows)
        return embedded_groups(embeddings, rows, int(count), keys, self.seed)

    def _typical(
        self,
        pool: Pool,
        embeddings: Measured,
        tasks: Labelled,
        rows: IntArray,
        reference: IntArray,
        keys: NDArray[np.uint64],
    ) -> Typical:
        taken = np.zeros(len(pool), bool)
        taken[reference] = True
        some = ~taken[rows] if self.cluster_on == "remaining" else np.ones(len(rows), bool)
        clustering: Clustering = our_clusters(self.seed)
        if self._official:
            clustering = official_clusters(PRESEL_KMEANS_SEED)
            keys = np.arange(len(pool), dtype=np.uint64)
        return cluster_tasks(
            pool,
            embeddings,
            Labelled(tasks.labels, tasks.of[some]),
            rows[some],
            taken,
            keys,
            clustering,
            rows_per_cluster=self.rows_per_cluster,
            neighbours=self.k,
            images_once=self.dedupe_images,
        )

    def _dropped(self, pool: Pool) -> dict[int, str]:
        if self.text_only != "drop":
            return {}
        text = np.flatnonzero(pool.text_only & pool.has_role("candidate"))
        return dict.fromkeys(text.tolist(), "text-only: dropped")

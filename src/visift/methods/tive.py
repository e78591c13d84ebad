"""TIVE (arXiv 2403.09559): tasks by the size of their gradients, rows by how typical theirs are.

A model tuned on a small sample of every task is asked for the gradient of each row's loss. Tasks
with larger gradients get more of the budget; inside a task rows whose gradients point where those
of the others point are drawn more often. What is [code] is as the authors' program has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.compat import TIVE_EXCLUDED, TIVE_Q
from visift.methods.entrants import Entrants
from visift.methods.gradients import (
    NORM,
    PROJECTION,
    Reference,
    ask,
    reference_model,
)
from visift.methods.grouping import Labelled
from visift.methods.method import param
from visift.methods.seeds import drawn_by_quota
from visift.methods.tive_facts import heat_notices, reason_of, tive_facts
from visift.methods.tive_order import (
    Draws,
    Judged,
    Oversample,
    as_published,
    choose_in_order,
    drawn_first,
    wanted_rows,
)
from visift.methods.tive_tasks import offered, task_labels
from visift.methods.tive_values import (
    TaskStat,
    Temperature,
    instance_values,
    task_values,
    task_weights,
    warmup_rows,
)
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: Effective rows of a draw, as a share of the task, where neither q nor a share was asked for.
ESS_TARGET = 0.5


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is chosen from, and what it is judged by.

    Attributes:
        rows: all rows that take part.
        status: by row, why others do not.
        reference: the model that was asked, and the rows it learned from.
        norms: of the gradients.
        directions: of the gradients.
    """

    rows: IntArray
    status: Mapping[int, str]
    reference: Reference
    norms: Measured
    directions: Measured


@dataclass(frozen=True, slots=True)
class Tive:
    """Task value times instance value, both from gradients of low-rank factors."""

    name: ClassVar[str] = "tive"
    summary: ClassVar[str] = "tasks with large gradients, and in them rows with typical ones"
    paper: ClassVar[str] = "2403.09559"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = False
    group_by: ClassVar[Literal["task"]] = "task"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mixture": {"q": 0.0}}

    model: ModelRef | None = None
    seed: int = 0
    p: float = param(
        0.15, origin="code", doc="share of records where there is no budget", above=0, high=1
    )
    warmup_ratio: float = param(
        0.08,
        origin="code",
        doc="share of records to tune on, equal per task; 0: none",
        low=0,
        high=1,
    )
    recipe: str | Mapping[str, Any] = param(
        "auto", origin="ours", doc="of the warm-up: LLaVA-1.5's with LoRA, or changes to it"
    )
    params: str = param("self_attn", origin="code", doc="low-rank factors whose names hold this")
    loss_reduction: Literal["mean", "sum"] = param(
        "mean", origin="code", doc="of the loss over answer tokens; mean favours short answers"
    )
    proj_dim: int = param(8192, origin="code", doc="numbers a gradient; 0: all of them", low=0)
    projection: Literal["auto", "sparse", "rademacher"] = param(
        "auto", origin="ours", doc="signs: sparse, one a column; or (code) rademacher; by compat"
    )
    proj_seed: int = param(0, origin="code", doc="of the random projection")
    task_stat: TaskStat = param(
        "mean_norm", origin="code", doc="of a task's gradients; or mean_sq_norm (paper's figure)"
    )
    instance_stat: Literal["cosine", "dot"] = param(
        "cosine", origin="code", doc="of a row's gradient and those of its task; dot: with lengths"
    )
    budget_base: Literal["auto", "kept", "all"] = param(
        "auto",
        origin="ours",
        doc="a share is one of the rows kept in; or (code) all, auto: by compat",
    )
    exclude_tasks: str = param(
        "auto", origin="ours", doc="tasks left out, a comma between; auto: none (code: textcaps)"
    )
    q: float | None = param(
        None, origin="ours", doc="weights are exp(q v) (code: 0.001); 0 is the mixture alone", low=0
    )
    ess_target: float | None = param(
        None,
        origin="ours",
        doc="or q gives every draw so many effective rows, as a share of its task; 0.5 by default",
        above=0,
        high=1,
    )
    oversample: Literal["auto", "redistribute", "allow", "cap"] = param(
        "auto",
        origin="ours",
        doc="a task too small: others get more | rows twice (code) | fewer rows",
    )
    size_power: float = param(
        0, origin="code", doc="shares are also proportional to the task's rows to this power", low=0
    )
    text_only: Literal["task", "drop"] = param(
        "task", origin="code", doc="rows without an image: like all others of their task, or none"
    )
    compat: Literal["none", "official"] = param(
        "none", origin="ours", doc="official: the program's arithmetic and draw, defects included"
    )
    score_digits: int = param(
        6, origin="ours", doc="significant digits of values that count", low=1, high=17
    )
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a task")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Draw a warm-up; ask for a model tuned on it, and for its gradients on all rows."""
        self._target()
        excluded = TIVE_EXCLUDED if self._official else ()
        drop_text = self.text_only == "drop"
        rows, status = offered(pool, drop_text, self.exclude_tasks, excluded, self.unlabelled)
        tasks = self._tasks(pool, rows)
        warmup = rows[:0]
        if self.warmup_ratio:
            quota = warmup_rows(np.bincount(tasks.of), self.warmup_ratio)
            warmup = drawn_by_quota(pool, rows, tasks.of, quota, self.seed, b"warmup")
        reference = reference_model(
            lab,
            self.model,
            self.recipe,
            self.seed,
            warmup,
            params=self.params,
            reduction=self.loss_reduction,
            projection=self._projection,
            proj_dim=self.proj_dim,
            proj_seed=self.proj_seed,
        )
        examples = Examples(rows)
        norms = ask(lab, NORM, reference.signal, examples)
        apart = lab.given(NORM.name) or lab.given(PROJECTION.name)
        directions = ask(lab, PROJECTION, reference.signal, examples) if apart else norms
        return Inputs(rows, status, reference, norms, directions)

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Share the budget over tasks by a(t); in each, draw rows by exp(q v)."""
        rows = inputs.rows[inputs.norms.ok(inputs.rows) & inputs.directions.ok(inputs.rows)]
        if not len(rows):
            raise InputError("no record has a gradient, and tive compares them.")
        found = Entrants.of(
            pool, rows, pool.tie_keys(self.seed), lambda some: self._tasks(pool, some)
        )
        judged, weights = self._judged(inputs, found)
        budget = self._budget(budget, found, len(inputs.status))
        reason, oversample = reason_of(judged), self._oversample
        total = len(found.kept) + len(rows)
        place = drawn_first(judged, pool.tie_keys(self.seed, b"gumbel"))
        if self._official:
            base = total + (len(inputs.status) if self._base == "all" else 0)
            order = as_published(judged, weights, budget, base, oversample, self.seed)
            choice = choose_in_order(pool, found, order, reason, judged.v)
        elif oversample == "redistribute":
            order = found.ranked(weights, place)
            choice = found.choose(pool, order, budget, reason, value=judged.v)
        else:
            wanted = wanted_rows(budget, total, len(found.kept))
            order = Draws.of(found, place).in_turn(weights, found.taken, wanted, oversample)
            choice = choose_in_order(pool, found, order, reason, judged.v)
        facts = self._facts(inputs, judged, choice)
        status = [inputs.status.get(row, why) for row, why in enumerate(choice.status)]
        return replace(choice, status=status, facts={**choice.facts, **facts})

    @property
    def _projection(self) -> Literal["sparse", "rademacher"]:
        if self.projection == "auto":
            return "rademacher" if self._official else "sparse"
        return self.projection

    @property
    def _official(self) -> bool:
        return self.compat == "official"

    @property
    def _base(self) -> str:
        by_compat = "all" if self._official else "kept"
        return by_compat if self.budget_base == "auto" else self.budget_base

    @property
    def _oversample(self) -> Oversample:
        by_compat = "allow" if self._official else "redistribute"
        return cast(Oversample, by_compat if self.oversample == "auto" else self.oversample)

    def _target(self) -> float | None:
        """Return the share of effective rows to reach, None where q is given."""
        if self.q is not None and self.ess_target is not None:
            raise InputError("q and ess_target were both set.", fix="Leave out one of them.")
        if self.q is not None or (self._official and self.ess_target is None):
            return None
        return self.ess_target or ESS_TARGET

    def _budget(self, budget: Budget | None, found: Entrants, left_out: int) -> Budget:
        """Return the budget; a share of all rows as a number where some of them take no part."""
        if budget is None:
            budget = Budget.parse(f"{Decimal(repr(self.p)) * 100:f}%")
        if self._official or self._base == "kept" or budget.unit != "fraction":
            return budget
        return Budget.parse(
            budget.limit(len(found.kept) + len(found.rows) + left_out, kept=len(found.kept))
        )

    def _tasks(self, pool: Pool, rows: IntArray) -> Labelled:
        return task_labels(pool, rows, self.unlabelled, first_seen=self._official)

    def _judged(self, inputs: Inputs, found: Entrants) -> tuple[Judged, list[Fraction]]:
        """Work out the values of tasks and rows, and how sharply rows are drawn."""
        rows, of, tasks = found.rows, found.group, len(found.labels.labels)
        norm = inputs.norms.take(NORM.name, rows).astype(np.float64)
        a = task_values(norm, of, tasks, self.task_stat)
        sizes = np.bincount(of, minlength=tasks)
        v = instance_values(
            lambda: inputs.directions.blocks(PROJECTION.name, rows),
            of,
            tasks,
            norm if self.instance_stat == "dot" else None,
        )
        if not self._official:
            a, v = significant(a, self.score_digits), significant(v, self.score_digits)
        weights = task_weights(a, sizes, self.size_power)
        total = float(sum(weights))
        share = np.array([float(weight) / total for weight in weights])
        target = self._target()
        q = TIVE_Q if self.q is None else self.q
        heat = [
            Temperature.at(v[of == t], q)
            if target is None
            else Temperature.solved(v[of == t], target)
            for t in range(tasks)
        ]
        warmup = np.bincount(of[np.isin(rows, inputs.reference.warmup)], minlength=tasks)
        return Judged(found, norm, v, a, share, heat, warmup), weights

    def _facts(self, inputs: Inputs, judged: Judged, choice: Choice) -> dict[str, Any]:
        notices = heat_notices(judged, self._target())
        unlearnt = inputs.reference.unlearnt
        if unlearnt:
            notices.append(f"The model could not be tuned on {unlearnt:,} records of its warm-up.")
        twice = len(choice.rows) - len(np.unique(choice.rows))
        if twice:
            notices.append(
                f"{twice:,} of {len(choice.rows):,} chosen records are copies of others."
            )
        return {
            **tive_facts(judged, choice, self.instance_stat),
            "nested": self._oversample == "redistribute" and not self._official,
            "copies": twice,
            "notices": notices,
        }

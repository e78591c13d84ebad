"""Visual necessity: rows whose image helps most to find the answer (arXiv 2603.01195, 2605.26004).

    G = NLL(answer | question) - NLL(answer | question, image)

From the formula only. The source as group, the order of groups and the treatment of text-only rows
are [ours].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from visift.budget import Budget
from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.entrants import Entrants
from visift.methods.grouping import TEXT_ONLY, Labelled, label_groups
from visift.methods.image_ranking import TextOnly, budget_limit
from visift.methods.method import param
from visift.methods.ranking import tie_order
from visift.methods.row_scores import LeftOut, RowScores, choose_by_score
from visift.methods.typicality import embedded_groups
from visift.models.ref import ModelRef
from visift.numerics.rounding import significant
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.embeddings import ImageEmbedding, encoder_for
from visift.signals.losses import AnswerLoss

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

GROUPS: dict[str, Literal["source"] | None] = {"source": "source", "all": None}

#: Gives the group of each of some rows.
Label = Callable[[IntArray], Labelled]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The usable rows; only those with an image have losses with and without it.

    Attributes:
        visual: rows with an image.
        text: the others.
        losses: of the rows with an image.
        embeddings: of the images, where clusters of them are the groups.
    """

    visual: IntArray
    text: IntArray
    losses: Measured
    embeddings: Measured | None


@dataclass(frozen=True, slots=True)
class VisNec:
    """Visual-necessity gain G: by how much the image lowers the loss of the answers."""

    name: ClassVar[str] = "visnec"
    summary: ClassVar[str] = "answers that the image helps most to predict, inside every source"
    paper: ClassVar[str] = "2603.01195"
    nested: ClassVar[bool] = True
    needs_budget: ClassVar[bool] = True
    group_by: ClassVar[Literal["source"]] = "source"
    coverage: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model: ModelRef | None = None
    seed: int = 0
    groups: str = param(
        "source", origin="ours", doc="rank inside every source, cluster:K of images, or all rows"
    )
    encoder: str = param("auto", origin="ours", doc="of images, for clusters; auto: DINOv2-base")
    drop_negative: bool = param(
        True, origin="paper", doc="never choose rows whose image raises the loss"
    )
    text_only: TextOnly = param(
        "proportional", origin="ours", doc="text-only rows: the pool's share, all of them, or none"
    )
    score_digits: int = param(
        6, origin="ours", doc="significant digits of G that rank", low=1, high=17
    )
    tie: Literal["hash", "uid"] = param("hash", origin="ours", doc="order of equal gains")
    unlabelled: str | None = param(None, origin="ours", doc="group for rows without a source")

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Inputs:
        """Ask for two losses of each row with an image; text-only rows need none."""
        rows = pool.rows("candidate")
        text = pool.text_only[rows]
        if text.all():
            raise InputError(
                "no usable record has an image, and visnec asks what an image helps.",
                fix="Choose a method that needs none: visift methods",
            )
        visual = rows[~text]
        if self._clusters is None:
            self._entrants(pool, visual, rows[text], self._by_label(pool))
        if budget is not None:
            budget_limit(pool, visual, rows[text], self.text_only, budget)
        signal = AnswerLoss(self.model, ("given", "no_image"))
        losses = lab.measure(signal, Examples(visual))
        if self._clusters is None:
            return Inputs(visual, rows[text], losses, None)
        encoder = ImageEmbedding(encoder_for(self.encoder, self.model))
        shown = np.union1d(visual, self._kept_images(pool))
        return Inputs(visual, rows[text], losses, lab.measure(encoder, Examples(shown)))

    def choose(self, pool: Pool, inputs: Inputs, budget: Budget | None) -> Choice:
        """Drop G < 0; the highest gains of every group come first, groups take turns."""
        visual = inputs.visual[inputs.losses.ok(inputs.visual)]
        label = self._by_label(pool)
        if inputs.embeddings is not None:
            visual = visual[inputs.embeddings.ok(visual)]
            label = self._by_cluster(pool, inputs.embeddings, visual)
        if not len(visual):
            raise InputError(
                "no record with an image has losses, and visnec asks what an image helps.",
                fix="Check the model, or the numbers of --signals.",
            )
        text = inputs.text[: 0 if self.text_only == "drop" else None]
        seen, unseen = (
            inputs.losses.take(name, visual).astype(np.float64) for name in ("nll", "nll_no_image")
        )
        found = self._entrants(pool, visual, text, label)
        gain = np.concatenate([unseen - seen, np.full(len(text), np.nan)])
        scores = RowScores(gain, significant(gain, self.score_digits), "highest first")
        left_out = self._left_out(visual, inputs.text, gain)
        if budget is not None and self.text_only == "keep":
            stays = np.setdiff1d(visual, list(left_out.status))
            budget_limit(pool, stays, text, "keep", budget)

        def reason(at: int, among: str) -> str:
            if at >= len(visual):
                return self._text_reason(len(text))
            return (
                f"gain {gain[at]:.3g} (answer loss {unseen[at]:.3g} without the image, "
                f"{seen[at]:.3g} with it), among the highest of {among}"
            )

        return choose_by_score(
            pool,
            found,
            scores,
            left_out,
            budget,
            reason,
            first=len(found.sizes) - 1 if self.text_only == "keep" and len(text) else None,
            facts={"score": "visual-necessity gain"},
        )

    def _text_reason(self, there: int) -> str:
        if self.text_only == "keep":
            return "text-only: all are in"
        return f"text-only: drawn at random from {there:,} (seed {self.seed})"

    def _left_out(self, visual: IntArray, text: IntArray, gain: Float) -> LeftOut:
        """Return the rows whose image does not help, and text-only ones where they are dropped."""
        status = {}
        if self.drop_negative:
            negative = np.flatnonzero(gain[: len(visual)] < 0)
            pairs = zip(visual[negative].tolist(), gain[negative].tolist(), strict=True)
            status = {row: f"gain below 0: {one:.6g}" for row, one in pairs}
        if self.text_only == "drop":
            status |= dict.fromkeys(text.tolist(), "text-only: no image that could help")
        return LeftOut(status, "To rank those below 0, too: --set drop_negative=false")

    def _entrants(self, pool: Pool, visual: IntArray, text: IntArray, label: Label) -> Entrants:
        keys = tie_order(pool, self.seed, self.tie)
        rows = np.concatenate([visual, text])
        return Entrants.of(pool, rows, keys, lambda some: self._labels(pool, some, label))

    @property
    def _clusters(self) -> int | None:
        """How many clusters of images are the groups; None where labels are."""
        kind, _, count = self.groups.partition(":")
        if kind == "cluster" and count.isdigit() and int(count) > 0:
            return int(count)
        if self.groups not in GROUPS:
            raise InputError(f"--set groups={self.groups}: source, all or cluster:20 was expected.")
        return None

    def _by_label(self, pool: Pool) -> Label:
        kind = GROUPS.get(self.groups)
        return lambda rows: label_groups(pool, rows, kind, self.unlabelled)

    def _by_cluster(self, pool: Pool, embeddings: Measured, visual: IntArray) -> Label:
        """Return the cluster of rows; kept ones whose image has no embedding go to the first."""
        kept = self._kept_images(pool)
        rows = np.union1d(visual, kept[embeddings.ok(kept)])
        keys = tie_order(pool, self.seed, self.tie)
        found = embedded_groups(embeddings, rows, self._clusters or 1, keys, self.seed)
        of = np.zeros(len(pool), np.int64)
        of[rows] = found.of
        return lambda some: Labelled(found.labels, of[some])

    def _kept_images(self, pool: Pool) -> IntArray:
        kept = pool.rows("kept")
        return kept[~pool.text_only[kept]]

    def _labels(self, pool: Pool, rows: IntArray, label: Label) -> Labelled:
        """Group rows with images; all text-only rows are one more group, the last."""
        text = pool.text_only[rows]
        found = label(rows[~text])
        of = np.full(len(rows), len(found.labels), np.int64)
        of[~text] = found.of
        return Labelled((*found.labels, TEXT_ONLY), of)

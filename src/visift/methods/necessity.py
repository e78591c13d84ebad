"""The forms of MLLM-Selector's necessity score, which no public source defines: all [ours]."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visift.engine.lab import Examples, Lab
from visift.engine.measured import Measured
from visift.errors import InputError
from visift.methods.entrants import Entrants
from visift.methods.nbgs import kl_divergence, shares
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.selection import Choice
from visift.signals.losses import AnswerLoss
from visift.signals.own_answers import OwnAnswers

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

Score = Literal["N1", "N2", "N3", "N3-difference", "N4"]

#: What each form says of a row, for reasons and reports.
WORDS = {
    "N1": "mean loss of its answers",
    "N2": "summed loss of its answers",
    "N3": "loss of its answers, as a share of that without the question",
    "N3-difference": "loss of its answers, less that without the question",
    "N4": "1 - agreement of the seed model's own answers",
}

#: A loss without the question below this makes no ratio.
SMALLEST_LOSS = 1e-6


def ask_necessity(
    score: Score,
    model: ModelRef | None,
    max_tokens: int,
    lab: Lab,
    rows: IntArray,
    min_answer_tokens: int = 1,
) -> Measured:
    """Ask for what a form of the score is worked out from.

    Raises:
        InputError: numbers of tokens are needed, and were not handed in beside the losses.
    """
    if score == "N2" and lab.given("nll") and not lab.given("answer_tokens"):
        raise InputError(
            "--set score=N2 sums losses, and --signals holds nll without answer_tokens.",
            fix="Add the column, or use means: --set score=N1",
        )
    lacks = score == "N4" or (lab.given("nll") and not lab.given("answer_tokens"))
    if min_answer_tokens > 1 and lacks:
        raise InputError(
            f"--set min_answer_tokens={min_answer_tokens} needs numbers of answer tokens, which "
            "come with losses that are measured.",
            fix="Leave it out, or add the column answer_tokens to --signals and use a loss.",
        )
    if score == "N4":
        return lab.measure(OwnAnswers(model), Examples(rows))
    relative = score in ("N3", "N3-difference")
    signal = AnswerLoss(
        model, ("given", "no_question") if relative else ("given",), max_tokens=max_tokens
    )
    return lab.measure(signal, Examples(rows))


def necessity(score: Score, scored: Measured, rows: IntArray) -> Float:
    """Return NS of rows that have values, (n,) float64; NaN where a ratio has no denominator.

    Args:
        score: N1 token-mean loss (turns pooled), N2 its sum, N3 the ratio to the loss without the
            question or the difference, N4 one less the agreement of the model's own answers.
        scored: from `ask_necessity`.
        rows: (n,) rows.
    """
    if score == "N4":
        return np.asarray(1.0 - scored.take("answer_quality", rows).astype(np.float64))
    nll = scored.take("nll", rows).astype(np.float64)
    if score == "N1":
        return np.asarray(nll)
    if score == "N2":
        return np.asarray(nll * scored.take("answer_tokens", rows))
    without = scored.take("nll_no_question", rows).astype(np.float64)
    if score == "N3-difference":
        return np.asarray(nll - without)
    return np.divide(nll, without, out=np.full_like(nll, np.nan), where=without > SMALLEST_LOSS)


# --- what a report shows -------------------------------------------------------------------------


def outcome_facts(
    pool: Pool, choice: Choice, found: Entrants, NS: Float, seeds: int
) -> dict[str, Any]:
    """Return what came of it: necessity and quota by group and by source, and KL to the pool.

    Args:
        pool: what rows refer to.
        choice: what was chosen.
        found: the rows that were drawn from, in their cells.
        NS: (N,) necessity, NaN where there is none.
        seeds: how many rows of the seed are in.
    """
    first = len(found.kept)
    place = np.full(len(pool), -1, np.int64)
    place[found.rows] = np.arange(len(found.rows))
    picked = place[choice.rows[first:]]
    names = list(found.labels.labels)
    sizes = np.bincount(found.group, minlength=len(names))
    counts = np.bincount(found.group[picked], minlength=len(names))
    divergence = kl_divergence(shares(counts), shares(sizes)) if len(picked) else 0.0
    of_source = pool.groups("source").of_row[found.rows].astype(np.int64)
    labels = [*pool.groups("source").labels, "without source"]
    by_group = _table("group", names, found.group, found.rows, picked, NS, pool)
    by_source = _table("source", labels, of_source, found.rows, picked, NS, pool)
    return {
        "seed_rows": seeds,
        "kl_to_pool": divergence,
        "tables": [
            {
                "title": f"Drawn by group of necessity (KL to the pool {divergence:.3g} nats)",
                **by_group,
            },
            {"title": "Drawn by source", **by_source},
        ],
    }


def _table(
    what: str,
    names: list[str],
    of: IntArray,
    rows: IntArray,
    picked: IntArray,
    NS: Float,
    pool: Pool,
) -> dict[str, Any]:
    """Return a table of the groups that have rows: size, necessity, length of answers, quota."""
    of = np.where(of < 0, len(names) - 1, of)
    quota = np.bincount(of[picked], minlength=len(names))
    chars = pool.index["answer_chars"].to_numpy()[rows]
    lines = []
    for g in np.unique(of).tolist():
        mine = of == g
        scored = NS[rows[mine]]
        scored = scored[np.isfinite(scored)]
        spread = (
            [f"{v:.3g}" for v in (scored.mean(), scored.min(), scored.max())]
            if len(scored)
            else [""] * 3
        )
        total, drawn = int(mine.sum()), int(quota[g])
        lines.append(
            [
                names[g],
                f"{total:,}",
                *spread,
                f"{np.median(chars[mine]):,.0f}",
                f"{drawn:,}",
                f"{drawn / total:.1%}",
            ]
        )
    columns = [
        what,
        "records",
        "necessity, mean",
        "lowest",
        "highest",
        "answer characters, median",
        "drawn",
        "of them",
    ]
    return {"columns": columns, "rows": lines}

"""What lmms-eval writes: one line a question, in `<date>_samples_<task>.jsonl`, a folder a model.

Checked against lmms-eval 0.7.3. Scores are lmms-eval's own: nothing is scored anew here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from visift.errors import InputError
from visift.validate.collect_answers import Answer, Model, as_score, json_object

#: Newer files have the date before, older ones behind.
_SAMPLES = re.compile(
    r"^(?:(?P<date>.+?)_)?samples_(?P<task>.+?)(?:_(?P<late>\d{4}-\d\d-\d\dT[\d.-]+))?\.jsonl$"
)
#: Fields of a line that are no metric.
_NO_METRIC = frozenset(
    (
        *("doc_id", "doc", "doc_hash", "target", "target_hash", "prompt_hash", "arguments"),
        *("resps", "filtered_resps", "filter", "metrics", "token_counts", "submission"),
        *("input", "input_media"),
    )
)
#: Metrics that say how a model behaves, not how right it is.
_NO_MERIT = ("loss", "perplexity", "error", "time", "length", "tokens", "yes_ratio", "chair")
#: Where the score of a question stands inside a metric that holds more than one value.
_SCORES = ("score", "correct", "is_correct", "acc", "hit")
_REPLIES = ("pred", "prediction", "parsed_pred")


def samples_of(path: Path) -> tuple[str, str] | None:
    """Return task and date of a file of lmms-eval by its name; None for any other file."""
    found = _SAMPLES.match(path.name)
    return (found["task"], found["date"] or found["late"] or "") if found else None


def read_samples(path: Path, model: Model, task: str) -> Iterator[Answer]:
    """Yield the answers in one file of lmms-eval.

    Raises:
        InputError: a line is no sample, or holds no score.
    """
    named = _metrics_named(path, task)
    first: dict[str, Any] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number:,}"
            row = json_object(line, where)
            if "doc_id" not in row:
                raise InputError('is no sample of lmms-eval: it has no "doc_id".', where=where)
            # A task with several filters writes every question once a filter: the first counts.
            if row.get("filter") != first.setdefault("filter", row.get("filter")):
                continue
            metric, score = _score(row, named, where)
            yield Answer(
                model=model,
                task=task,
                question=str(row["doc_id"]),
                where=where,
                group=_images(row),
                score=score,
                truths=(str(row.get("target", "")),),
                metric=metric,
            )


def _metrics_named(path: Path, task: str) -> frozenset[str]:
    """Return the metrics of a task by the results file beside; empty where there is none."""
    date = path.name.split("_samples_")[0]
    with suppress(OSError, InputError):
        results = json_object((path.parent / f"{date}_results.json").read_bytes(), str(path))
        of_task = results.get("results", {}).get(task, {})
        if isinstance(of_task, dict):
            return frozenset(name.split(",")[0] for name in of_task if "stderr" not in name)
    return frozenset()


def _score(row: Mapping[str, Any], named: frozenset[str], where: str) -> tuple[str, float]:
    """Return the first metric of a question that says how right the answer is, and its score."""
    metrics = {name: value for name, value in row.items() if name not in _NO_METRIC}
    merits = {n: v for n, v in metrics.items() if not any(word in n for word in _NO_MERIT)}
    ordered = sorted(merits, key=lambda name: name not in named)
    scores = ((name, _value(merits[name])) for name in ordered)
    name, score = next(((n, s) for n, s in scores if s is not None), ("", None))
    if score is None:
        raise InputError(
            f"no score of this question can be read (metrics: {', '.join(metrics) or 'none'}).",
            where=where,
            fix="Leave this task out, or give its scores as a CSV: arm, seed, question, score.",
        )
    if not 0 <= score <= 1:
        raise InputError(
            f'"{name}" is {score:g}; scores are from 0 to 1.',
            where=where,
            fix="Give this task as a CSV, divided by the largest score that can be had.",
        )
    return name, score


def _value(metric: Any) -> float | None:
    """Return what one metric says of one question."""
    if not isinstance(metric, dict):
        return None if isinstance(metric, str) else as_score(metric)
    for name in _SCORES:
        if (score := as_score(metric.get(name))) is not None:
            return score
    reply = next((metric[name] for name in _REPLIES if name in metric), None)
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    answer = metric.get("answer")
    both = isinstance(reply, str) and isinstance(answer, str) and answer != ""
    return float(reply == answer) if both else None


def _images(row: Mapping[str, Any]) -> str | None:
    """Return the images of a question, where a line names them."""
    media = row.get("input_media")
    named = isinstance(media, list) and bool(media) and all(isinstance(m, str) for m in media)
    return " ".join(sorted(media)) if named and isinstance(media, list) else None

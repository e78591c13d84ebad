"""Answers of models that were evaluated elsewhere: tables, and LLaMA-Factory's predictions."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from visift.errors import InputError

#: Task of questions that say nothing of theirs.
ONE_TASK = "evaluation"
#: What LLaMA-Factory writes where `do_predict` is on.
PREDICTIONS = "generated_predictions.jsonl"

_NAMES: Mapping[str, tuple[str, ...]] = {
    "arm": ("arm",),
    "selection_seed": ("selection_seed",),
    "training_seed": ("training_seed", "seed"),
    "task": ("task", "dataset", "benchmark"),
    "group": ("group", "image", "image_id"),
    "question": ("question", "question_id", "uid", "id", "doc_id"),
    "score": ("score", "correct"),
    "prediction": ("prediction", "predict", "response", "output"),
    "truth": ("answer", "label", "target", "reference", "ground_truth"),
}
_WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Model:
    """Which trained model answered; None where a file has to say it."""

    arm: str | None = None
    selection_seed: int = 0
    training_seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of one model.

    Attributes:
        model: that answered.
        task: of the question.
        question: its name inside the task.
        where: file and line, for messages.
        group: image group; None where nothing says it.
        score: from 0 to 1; None where it is still to be found from what follows.
        prediction: the reply; None where it is missing.
        truths: right answers, any of which will do.
        metric: what `score` is by; None where nothing says it.
    """

    model: Model
    task: str
    question: str
    where: str
    group: str | None = None
    score: float | None = None
    prediction: str | None = None
    truths: tuple[str, ...] = ()
    metric: str | None = None


def read_table(path: Path, model: Model) -> Iterator[Answer]:
    """Yield the answers of a CSV, TSV, JSON lines or parquet file.

    Args:
        path: the file.
        model: that its answers are from, where its columns do not say so.

    Raises:
        InputError: it cannot be read, lacks a column, or holds something that is no score.
    """
    columns: Mapping[str, str] | None = None
    for where, row in _rows(path):
        columns = _columns(path, list(row), model) if columns is None else columns
        yield _answer(where, {name: row.get(column) for name, column in columns.items()}, model)


def read_predictions(path: Path, model: Model, task: str) -> Iterator[Answer]:
    """Yield the answers of a file that LLaMA-Factory wrote; questions are known by their line.

    Raises:
        InputError: it cannot be read, or a line is no prediction.
    """
    for number, (where, row) in enumerate(_json_lines(path), start=1):
        if not isinstance(row.get("predict"), str) or not isinstance(row.get("label"), str):
            raise InputError('has no text in "predict" and "label".', where=where)
        yield Answer(model, task, str(number), where, None, None, row["predict"], (row["label"],))


def as_score(value: Any) -> float | None:
    """Return a number or a truth value as a score; None for anything else."""
    if isinstance(value, str):
        text = value.strip().casefold()
        try:
            value = _WORDS[text] if text in _WORDS else float(text)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


# --- rows of files -----------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield where each row stands, and what it holds."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _parquet(path)
    if kind in (".jsonl", ".json"):
        return _json_lines(path)
    return _separated(path)


def _separated(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            mark = max("\t,;", key=head.count)
            reader = csv.DictReader(file, delimiter=mark, strict=True)
            for row in reader:
                where = f"{path}, line {reader.line_num:,}"
                if None in row or None in row.values():
                    raise InputError(f"not {len(reader.fieldnames or ())} cells.", where=where)
                yield where, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        _unreadable(path, error)


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    where = f"{path}, line {number:,}"
                    yield where, json_object(line, where)
    except OSError as error:
        _unreadable(path, error)


def json_object(line: bytes, where: str) -> dict[str, Any]:
    """Return a line as a JSON object; raises `InputError` where it is none."""
    try:
        return msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InputError("is no JSON object.", where=where) from None


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        _unreadable(path, error)
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number:,}", row


def _unreadable(path: Path, error: Exception) -> NoReturn:
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    raise InputError(f"cannot be read ({reason}).", where=str(path)) from None


# --- what a row says ---------------------------------------------------------------------------


def _columns(path: Path, there: Sequence[str], model: Model) -> dict[str, str]:
    """Return the column of each thing that is there; raises `InputError` where one is lacking."""
    by_name = {name.strip().casefold(): name for name in there}
    found = {
        what: by_name[next(name for name in names if name in by_name)]
        for what, names in _NAMES.items()
        if not by_name.keys().isdisjoint(names)
    }
    lacking = [] if "question" in found else ["question"]
    if model.arm is None and "arm" not in found:
        lacking.append("arm")
    if "score" not in found and not {"prediction", "truth"} <= found.keys():
        lacking.append("score (or prediction and answer)")
    if lacking:
        raise InputError(
            f"has no column {' and no column '.join(lacking)} (there are: {', '.join(there)}).",
            where=str(path),
            fix="One row an answer: arm, seed, task, group, question, score.",
        )
    return found


def _answer(where: str, cells: Mapping[str, Any], model: Model) -> Answer:
    said = Model(
        arm=_text(cells.get("arm")) or model.arm,
        selection_seed=_seed(cells.get("selection_seed"), model.selection_seed, where),
        training_seed=_seed(cells.get("training_seed"), model.training_seed, where),
    )
    question = _text(cells.get("question"))
    if not question or said.arm is None:
        raise InputError(f"the {'arm' if question else 'question'} is empty.", where=where)
    answer = Answer(
        model=said,
        task=_text(cells.get("task")) or ONE_TASK,
        question=question,
        where=where,
        group=_text(cells.get("group")),
    )
    if "score" in cells:
        return replace(answer, score=_score(cells["score"], where))
    reply = cells["prediction"]
    return replace(
        answer, prediction=None if reply is None else str(reply), truths=_truths(cells, where)
    )


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _seed(value: Any, otherwise: int, where: str) -> int:
    text = _text(value)
    if text is None:
        return otherwise
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f'"{text}" is no seed; a whole number was expected.', where=where
        ) from None


def _score(value: Any, where: str) -> float | None:
    """Return a score; None for an empty cell, which is a reply that is missing."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    score = as_score(value)
    if score is None or not 0 <= score <= 1:
        raise InputError(
            f'"{value}" is no score.',
            where=where,
            fix="Scores are from 0 to 1: divide by the largest that can be had.",
        )
    return score


def _truths(cells: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = cells["truth"]
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not values:
        raise InputError("the right answer is empty.", where=where)
    return tuple(map(str, values))

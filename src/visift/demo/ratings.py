"""What a teacher that knows the demo would say: ratings from what each record was made to ask.

They follow the definitions that come with visift, for capabilities as for styles. Nothing in the
demo is about activities, causes, humanities or data, so these are 0 everywhere.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visift.annotate.capabilities import CAPABILITIES
from visift.annotate.labels import write_labels
from visift.annotate.rating import HIGHEST, Rating
from visift.annotate.todo import ToAnnotate
from visift.demo.plan import NOTHING_SAID

_SPATIAL = "object_spatial_understanding"
_ATTRIBUTE = "attribute_identification"
_LOGIC = "logical_deduction"
_SCENE = "scene_understanding"
_FINE = "fine_grained_recognition"
_LANGUAGE = "language_generation"
_CONTEXT = "in_context_learning"
_COMPARING = "comparative_analysis"
_STEM = "stem_knowledge"
_READING = "optical_character_recognition"

#: What a task always exercises; the rest depends on the question and the answer.
_BY_TASK: Mapping[str, Mapping[str, int]] = {
    "attribute": {_ATTRIBUTE: 4, _SPATIAL: 3},
    "count": {_SCENE: 1},
    "position": {_SPATIAL: 5, _ATTRIBUTE: 2},
    "colour": {_ATTRIBUTE: 3},
    "shape": {_ATTRIBUTE: 3, _FINE: 2},
    "caption": {_SPATIAL: 3, _ATTRIBUTE: 2},
    "digit": {_READING: 5},
    "presence": {_ATTRIBUTE: 3, _SCENE: 2},
    "texture": {_FINE: 3, _ATTRIBUTE: 2},
    "comparison": {_COMPARING: 5, _LOGIC: 3, _ATTRIBUTE: 2},
    "arithmetic": {_STEM: 3, _LOGIC: 2},
    "chat": {_CONTEXT: 3},
}
_STYLES: Mapping[str, str] = {
    "presence": "yes/no",
    "texture": "multi-choice",
    "comparison": "comparison",
    "chat": "specified style",
}
_BRIEF = "word/short-phrase"
# How the questions of a conversation begin, and the task each of them comes from.
_ASKED = {"How many": "count", "Count": "count", "Where": "position", "Is there": "presence"}
#: A score of a record whose answer contradicts its image.
_CONTRADICTED = 1

_NUMBER = re.compile(r"\d+")
_ARTICLE = re.compile(r"\ban?\b", re.IGNORECASE)


def demo_ratings(folder: Path) -> list[Rating]:
    """Return a rating of every record of a demo pool, in the order of its file.

    Args:
        folder: where `write_demo_pool` put `pool.json` and `planted.parquet`.
    """
    import pyarrow.parquet as pq

    planted = pq.read_table(folder / "planted.parquet", columns=["row", "kind"])
    rows, kinds = planted["row"].to_pylist(), planted["kind"].to_pylist()
    wrong = {row for row, kind in zip(rows, kinds, strict=True) if kind == "wrong-answer"}
    records = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
    return [rate(record, contradicted=row in wrong) for row, record in enumerate(records)]


def write_demo_labels(folder: Path, count: int, seed: int = 0) -> Path:
    """Write ratings of some records of a demo pool as a teacher's labels; return their file.

    Args:
        folder: where `write_demo_pool` put `pool.json` and `planted.parquet`.
        count: how many records, drawn at random.
        seed: of the draw.
    """
    ratings = demo_ratings(folder)
    rows = sorted(random.Random(seed).sample(range(len(ratings)), min(count, len(ratings))))
    items = [ToAnnotate(f"pool.json#{row}", ()) for row in rows]
    by_uid = {item.uid: ratings[row] for item, row in zip(items, rows, strict=True)}
    path = folder / "labels.parquet"
    write_labels(path, items, by_uid, CAPABILITIES, "the demo's ground truth")
    return path


def rate(record: Mapping[str, Any], *, contradicted: bool = False) -> Rating:
    """Return what a record of the demo teaches, and how it answers.

    Args:
        record: as `pool.json` has it.
        contradicted: its answer is not what the image shows.
    """
    texts = [turn["value"] for turn in record["conversations"]]
    questions = [text.replace("<image>", "").strip() for text in texts[::2]]
    turns = list(zip(questions, texts[1::2], strict=True))
    tasks = [_task(record["task"], question) for question, _ in turns]
    found: dict[str, int] = {}
    for task, (question, answer) in zip(tasks, turns, strict=True):
        for key, score in _scores(task, question, answer).items():
            found[key] = max(score, found.get(key, 0))
    if len(turns) > 1 and found:
        found[_CONTEXT] = len(turns)
    most = _CONTRADICTED if contradicted else HIGHEST
    scores = {key: min(found.get(key, 0), most) for key in CAPABILITIES}
    return Rating(scores, _styles(tasks, turns))


def _task(task: str, question: str) -> str:
    """Return the task a turn belongs to, which in a conversation its question tells."""
    if task != "conversation":
        return task
    return next((kind for start, kind in _ASKED.items() if question.startswith(start)), "attribute")


def _scores(task: str, question: str, answer: str) -> dict[str, int]:
    if answer in NOTHING_SAID:
        return {}
    scores = dict(_BY_TASK[task])
    if task == "count":
        scores[_ATTRIBUTE] = min(HIGHEST, 1 + int(answer))
    elif task == "caption":
        scores[_LANGUAGE] = scores[_SCENE] = min(HIGHEST, 1 + _things(answer))
    elif task == "arithmetic":
        carries = min(int(number) for number in _NUMBER.findall(question)) >= 10
        scores[_STEM] += carries
    elif question.startswith("Sort"):
        scores[_LOGIC] = 3
    return scores


def _things(caption: str) -> int:
    """Return how many things a caption names."""
    return max(1, len(_ARTICLE.findall(caption)))


def _styles(tasks: Sequence[str], turns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the style of every answer, the most frequent first."""
    styles = Counter(_style(task, answer) for task, (_, answer) in zip(tasks, turns, strict=True))
    return tuple(style for style, _ in styles.most_common())


def _style(task: str, answer: str) -> str:
    if answer in NOTHING_SAID:
        return "short description" if answer.endswith(".") else _BRIEF
    if task == "caption":
        return "detailed description" if _things(answer) > 2 else "short description"
    return _STYLES.get(task, _BRIEF)

"""Label Studio: tasks and the labelling interface to import, and its JSON and JSON-MIN exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from visift.annotate.people import Handout, Written
from visift.annotate.todo import ToAnnotate
from visift.errors import InputError
from visift.files import write_atomically
from visift.pool.paths import normalise
from visift.pool.record import IMAGE_TAG

TASKS, INTERFACE = "tasks.json", "interface.xml"
_AREAS = ("question", "answer")

_INTERFACE = """\
<View>
  <Header value="$heading"/>
  <Image name="image" {images} zoom="true"/>
  <Header value="Question" size="5"/>
  <TextArea name="question" toName="image" value="$question" rows="2" maxSubmissions="1"
            editable="true" required="true" requiredMessage="Write a question."/>
  <Header value="Answer" size="5"/>
  <TextArea name="answer" toName="image" rows="4" maxSubmissions="1"
            editable="true" required="true" requiredMessage="Write the answer."/>
</View>
"""


def write(handout: Handout) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Write `tasks.json` and `interface.xml`; see `people.Write`."""
    several = any(len(item.images) > 1 for item in handout.items)
    images = 'valueList="$images"' if several else 'value="$image"'
    tasks = [{"data": _data(item, handout.url, several)} for item in handout.items]
    write_atomically(handout.folder / TASKS, orjson.dumps(tasks, option=orjson.OPT_INDENT_2))
    interface = _INTERFACE.format(images=images)
    write_atomically(handout.folder / INTERFACE, interface.encode())
    step = (
        f"In Label Studio, paste {INTERFACE} as the labelling interface and import {TASKS}; "
        f"images are looked for under {handout.url}"
    )
    return (TASKS, INTERFACE), {}, step


def read(path: Path, items: Sequence[ToAnnotate]) -> Iterator[Written]:
    """Yield what people wrote, from an export as JSON or JSON-MIN.

    Raises:
        InputError: the file is neither.
    """
    try:
        tasks = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        raise InputError("is no JSON.", where=str(path), fix="Export it again.") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError("is no list of tasks.", where=str(path), fix="Export as JSON or JSON-MIN.")
    for task in tasks:
        whole = isinstance(task.get("data"), dict)
        uid = (task["data"] if whole else task).get("uid")
        found = _of_export(str(uid), task) if whole else _of_min(str(uid), task)
        if uid is not None and found is not None:
            yield found


def _data(item: ToAnnotate, url: str, several: bool) -> dict[str, Any]:
    images = [url + quote(normalise(path)) for path in item.images]
    heading = " · ".join(part for part in (item.task, item.reason) if part)
    return {
        "uid": item.uid,
        **({"images": images} if several else {"image": images[0]}),
        "heading": heading or "Write a question about the image, and its answer.",
        "question": (item.prompt or "").replace(IMAGE_TAG, "").strip(),
    }


def _of_export(uid: str, task: dict[str, Any]) -> Written | None:
    """Return the annotation of a task that counts: the true one, else the latest."""
    there = [one for one in task.get("annotations") or [] if isinstance(one, dict)]
    done = [one for one in there if not one.get("was_cancelled")]
    if not done:
        return Written(uid, (), "skipped by the annotator") if there else None
    chosen = max(done, key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at"))))
    texts: dict[str, list[str]] = {name: [] for name in _AREAS}
    for region in chosen.get("result") or []:
        name, value = region.get("from_name"), region.get("value")
        if name in texts and isinstance(value, dict):
            texts[name] += _texts(value.get("text"))
    return _written(uid, texts["question"], texts["answer"])


def _of_min(uid: str, task: dict[str, Any]) -> Written | None:
    # The field `question` is both what was imported and what was written.
    question, answer = (_texts(task.get(name)) for name in _AREAS)
    return _written(uid, question, answer) if answer else None


def _written(uid: str, questions: list[str], answers: list[str]) -> Written:
    if len(answers) == 1 and not questions:
        return Written(uid, (("", answers[0]),))
    if len(questions) != len(answers):
        return Written(
            uid, (), f"not as many answers as questions: {len(answers)} and {len(questions)}"
        )
    return Written(uid, tuple(zip(questions, answers, strict=True)))


def _texts(value: Any) -> list[str]:
    """Return a text, a list of texts, or an object that holds one, as a list."""
    if isinstance(value, dict):
        value = value.get("text")
    listed = value if isinstance(value, list) else [value]
    return [text for text in listed if isinstance(text, str) and text.strip()]

"""What is asked for an image: templates in one YAML file that anybody can read and replace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from visift.annotate.conversations import conversation
from visift.annotate.replies import Reply
from visift.annotate.request import Request
from visift.annotate.todo import ToAnnotate
from visift.errors import InputError, did_you_mean
from visift.pool.record import IMAGE_TAG

ReplyKind = Literal["turns", "answer"]

#: What a reply must be where a template asks for turns.
TURNS_SCHEMA: Mapping[str, Any] = {
    "title": "conversation",
    "type": "object",
    "properties": {
        "turns": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
                "required": ["question", "answer"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["turns"],
    "additionalProperties": False,
}

_REPLIES = ("turns", "answer")
_MARK = re.compile(r"\{([a-z_]+)\}")
_MARKS = ("task", "question")
_NO_TASK = "images"
_FIX = "Start from what visift annotate --show-prompts prints."


@dataclass(frozen=True, slots=True)
class Template:
    """How one kind of answer is asked for; see the comments of `prompts.yaml`.

    Attributes:
        name: what `answer_type` calls it.
        asks: the text sent with the images.
        reply: what the text of the reply is.
        tasks: patterns of the tasks it is for.
        question: what the record asks, for `reply` "answer" and lines without a question.
    """

    name: str
    asks: str
    reply: ReplyKind
    tasks: tuple[str, ...] = ()
    question: str | None = None

    def fits(self, task: str | None) -> bool:
        """Return whether it is for a task."""
        return task is not None and any(
            fnmatchcase(task.lower(), pattern.lower()) for pattern in self.tasks
        )


@dataclass(frozen=True, slots=True)
class Prompts:
    """All templates, and which one a line takes.

    Attributes:
        name: the file they come from, or None for those that come with visift.
        system: sent with every request; may be empty.
        as_turns: added to what asks for turns.
        given: the template of lines with a question.
        otherwise: the template where no pattern fits.
        templates: by name, in the order they are tried.
    """

    name: str | None
    system: str
    as_turns: str
    given: str
    otherwise: str
    templates: Mapping[str, Template]

    @classmethod
    def read(cls, path: Path | None = None) -> Prompts:
        """Read templates, those that come with visift by default.

        Raises:
            InputError: the file cannot be read, or is not such a file.
        """
        where = "the prompts of visift" if path is None else str(path)
        text = own_prompts() if path is None else text_of(path)
        try:
            said = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            problem = getattr(error, "problem", None) or "it cannot be read"
            raise InputError(f"is not valid YAML: {problem}.", where=where, fix=_FIX) from None
        return _prompts(said, where, None if path is None else str(path))

    def of(self, item: ToAnnotate) -> Template:
        """Return the template for a line; raises `InputError` for an unknown answer type."""
        wanted = item.answer_type
        if wanted is not None and wanted not in self.templates:
            raise InputError(
                f'"{item.uid}" asks for answer_type "{wanted}", which no template is called.'
                f"{did_you_mean(wanted, self.templates)}",
                fix=f"Templates: {', '.join(self.templates)}.",
            )
        if wanted is not None:
            return self.templates[wanted]
        if item.prompt is not None:
            return self.templates[self.given]
        found = (one for one in self.templates.values() if one.fits(item.task))
        return next(found, self.templates[self.otherwise])

    def text(self, item: ToAnnotate) -> str:
        """Return what is sent with the images of a line, beside `system`."""
        template = self.of(item)
        said = {
            "task": item.task or item.source or _NO_TASK,
            "question": (item.prompt or template.question or "").replace(IMAGE_TAG, "").strip(),
        }
        # In one pass: a question that says {task} is sent as it is.
        text = _MARK.sub(lambda mark: said.get(mark[1], mark[0]), template.asks).strip()
        if item.prompt is not None and "{question}" not in template.asks:
            text = f"{text}\n\n{said['question']}"
        return f"{text}\n\n{self.as_turns.strip()}" if template.reply == "turns" else text

    @property
    def tries(self) -> int:
        """Return how many replies a request may have: the first one stands."""
        return 1

    def request(self, item: ToAnnotate) -> Request:
        """Return what is asked about a line.

        Raises:
            InputError: a question is needed and there is none, or an unknown answer type.
        """
        template = self.of(item)
        if template.reply == "answer" and not (item.prompt or template.question):
            raise InputError(
                f'"{item.uid}" has no question, and template "{template.name}" has none either.',
                fix='Give the line a "prompt", or the template a question.',
            )
        schema = TURNS_SCHEMA if template.reply == "turns" else None
        return Request(self.system, self.text(item), item.images, schema)

    def fault(self, item: ToAnnotate, reply: Reply) -> str | None:
        """Return why a reply about a line cannot be used, if so."""
        return conversation(item, self.of(item), reply)[1]


def own_prompts() -> str:
    """Return the text of the file that comes with visift."""
    return files("visift.annotate").joinpath("prompts.yaml").read_text(encoding="utf-8")


def text_of(path: Path) -> str:
    """Return the text of a file that --prompt names; raises `InputError`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}).", where=str(path), fix="Check --prompt."
        ) from error
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8.", where=str(path), fix="Check --prompt.") from None


def _prompts(said: Any, where: str, name: str | None) -> Prompts:
    known = [field.name for field in fields(Prompts) if field.name != "name"]
    said = _mapping(said, "the file", where, known)
    listed = _mapping(said.get("templates"), "templates", where, None)
    templates = {key: _template(key, value, where) for key, value in listed.items()}
    texts = {key: _string(said, key, where, key) or "" for key in known if key != "templates"}
    for key in ("given", "otherwise"):
        if texts[key] not in templates:
            near = did_you_mean(texts[key], templates)
            raise InputError(f'"{key}" names no template.{near}', where=where, fix=_FIX)
    return Prompts(name=name, templates=templates, **texts)


def _template(name: str, said: Any, where: str) -> Template:
    known = [field.name for field in fields(Template) if field.name != "name"]
    said = _mapping(said, name, where, known)
    asks, reply = _string(said, "asks", where, f"{name}.asks"), said.get("reply")
    question = _string(said, "question", where, f"{name}.question")
    tasks = said.get("tasks") or []
    if not asks:
        raise InputError(f'template "{name}" asks nothing.', where=where, fix="Write its asks.")
    if reply not in _REPLIES:
        raise InputError(
            f'template "{name}": reply is neither turns nor answer.', where=where, fix=_FIX
        )
    if not isinstance(tasks, list) or not all(isinstance(one, str) for one in tasks):
        raise InputError(f'template "{name}": tasks is no list of texts.', where=where, fix=_FIX)
    for mark in _MARK.findall(asks):
        if mark not in _MARKS:
            raise InputError(
                f'template "{name}" says {{{mark}}}.{did_you_mean(mark, _MARKS)}',
                where=where,
                fix="There are {task} and {question}.",
            )
    return Template(name, asks, reply, tuple(tasks), question)


def _mapping(said: Any, what: str, where: str, known: list[str] | None) -> dict[str, Any]:
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise InputError(f"{what}: names with values were expected.", where=where, fix=_FIX)
    for key in said:
        if known is not None and key not in known:
            raise InputError(
                f'unknown name "{key}" in {what}.{did_you_mean(key, known)}',
                where=where,
                fix=f"Known: {', '.join(known)}.",
            )
    return said


def _string(said: dict[str, Any], key: str, where: str, what: str) -> str | None:
    text = said.get(key)
    if text is not None and not isinstance(text, str):
        raise InputError(f"{what} is no text.", where=where, fix=_FIX)
    return text

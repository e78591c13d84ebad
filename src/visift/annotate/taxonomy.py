"""What a teacher is asked about a record: capabilities and styles, in a YAML file for anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from visift.annotate.capabilities import words
from visift.annotate.prompts import text_of
from visift.annotate.rating import dialogue, form, rating, reply_schema
from visift.annotate.replies import Reply
from visift.annotate.request import Request
from visift.annotate.todo import ToAnnotate
from visift.errors import InputError, did_you_mean
from visift.pool.paths import shortened

_OWN = "the definitions of visift"
_FIX = "Start from what visift annotate --for mmssr --show-prompts prints."
_MARK = re.compile(r"\{([a-z_]+)\}")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
#: The mark that each text has to hold.
_TEXTS = {"system": "capabilities", "ask_styles": "styles", "record": "dialogue"}
_TABLES = ("capabilities", "styles")


@dataclass(frozen=True, slots=True)
class Entry:
    """A capability or a style.

    Attributes:
        key: how labels and columns call it.
        definition: what it means, in words for a teacher.
    """

    key: str
    definition: str

    @property
    def name(self) -> str:
        """Return the key as words."""
        return words(self.key)


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """What records are rated by, and the words it is asked in; see the comments of `mmssr.yaml`.

    Attributes:
        source: the file it comes from, or None for the one that comes with visift.
        capabilities: at least one.
        styles: none where styles are not asked for.
        system: with a place for the capabilities.
        ask_styles: with a place for the styles.
        record: with a place for the dialogue.
    """

    source: str | None
    capabilities: tuple[Entry, ...]
    styles: tuple[Entry, ...]
    system: str
    ask_styles: str
    record: str

    @classmethod
    def read(cls, path: Path | None = None) -> Taxonomy:
        """Read a file, by default the one that comes with visift.

        Raises:
            InputError: the file cannot be read, or is not such a file.
        """
        where = _OWN if path is None else str(path)
        said = _loaded(own_taxonomy() if path is None else text_of(path), where)
        known = (*_TEXTS, *_TABLES)
        for key in said:
            if key not in known:
                near = did_you_mean(str(key), known)
                raise InputError(
                    f'unknown name "{shortened(str(key))}".{near}',
                    where=where,
                    fix=f"Known: {', '.join(known)}.",
                )
        return cls(
            source=None if path is None else str(path),
            capabilities=_capabilities(said.get("capabilities"), where),
            styles=_styles(said.get("styles"), where),
            **{name: _text(said, name, mark, where) for name, mark in _TEXTS.items()},
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the names of the capabilities."""
        return tuple(entry.key for entry in self.capabilities)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the styles."""
        return tuple(entry.key for entry in self.styles)

    @property
    def tries(self) -> int:
        """Return how many replies a record may have until one is of the form asked for."""
        return 3

    def only(self, keys: Sequence[str]) -> Taxonomy:
        """Return this with some capabilities alone, and without styles.

        Raises:
            InputError: there is no such capability, or none was named.
        """
        if not keys:
            raise InputError(
                "--only names no capability.", fix=f"There are {', '.join(self.keys)}."
            )
        for key in keys:
            if key not in self.keys:
                raise InputError(
                    f'there is no capability "{key}".{did_you_mean(key, self.keys)}',
                    where=self.source or _OWN,
                    fix=f"There are {', '.join(self.keys)}.",
                )
        kept = tuple(entry for entry in self.capabilities if entry.key in keys)
        return replace(self, capabilities=kept, styles=())

    def request(self, item: ToAnnotate) -> Request:
        """Return what is asked about a line.

        Raises:
            InputError: the line has no conversation to rate.
        """
        if not item.conversations:
            raise InputError(
                f'"{shortened(item.uid)}" has no conversation to rate.',
                fix="visift select --method mmssr writes such a list: labels/to_annotate.jsonl.",
            )
        texts = [_filled(self.system, "capabilities", _listed(self.capabilities))]
        if self.styles:
            texts.append(_filled(self.ask_styles, "styles", _listed(self.styles)))
        texts.append(form(self.keys, self.labels))
        said = dialogue(item.conversations, len(item.images))
        return Request(
            system="\n\n".join(texts),
            text=_filled(self.record, "dialogue", said),
            images=item.images,
            schema=reply_schema(self.keys, self.labels),
        )

    def fault(self, item: ToAnnotate, reply: Reply) -> str | None:
        """Return why a reply about a line cannot be used, if so."""
        return rating(reply, self.keys, self.labels)[1]


def own_taxonomy() -> str:
    """Return the text of the file that comes with visift."""
    return files("visift.annotate").joinpath("mmssr.yaml").read_text(encoding="utf-8")


def _loaded(text: str, where: str) -> dict[str, Any]:
    try:
        twice = next(_repeated(yaml.compose(text, Loader=yaml.SafeLoader)), None)
        said = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InputError(f"is not valid YAML: {problem}.", where=where, fix=_FIX) from None
    if twice is not None:
        raise InputError(
            f'"{shortened(twice)}" stands there twice.', where=where, fix="Rename one of them."
        )
    if not isinstance(said, dict):
        raise InputError("names with values were expected.", where=where, fix=_FIX)
    return said


def _repeated(node: yaml.Node | None, depth: int = 2) -> Iterator[str]:
    """Yield names that a mapping holds twice, of which YAML would keep the last without a word."""
    if not isinstance(node, yaml.MappingNode) or not depth:
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if name in seen:
            yield name
        seen.add(name)
        yield from _repeated(value, depth - 1)


def _text(said: Mapping[str, Any], name: str, mark: str, where: str) -> str:
    text = said.get(name)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{name} is no text.", where=where, fix=_FIX)
    for found in _MARK.findall(text):
        if found != mark:
            raise InputError(
                f"{name} says {{{found}}}.{did_you_mean(found, [mark])}",
                where=where,
                fix=f"Its only place to be filled in is {{{mark}}}.",
            )
    if f"{{{mark}}}" not in text:
        raise InputError(f"{name} has no place {{{mark}}}.", where=where, fix=_FIX)
    return text.strip()


def _capabilities(said: Any, where: str) -> tuple[Entry, ...]:
    entries = _entries(said, "capabilities", where)
    if not entries:
        raise InputError("there are no capabilities.", where=where, fix=_FIX)
    for entry in entries:
        if not _KEY.fullmatch(entry.key):
            raise InputError(
                f'"{shortened(entry.key)}" cannot be the name of a capability.',
                where=where,
                fix="Small letters, digits and _, a letter first: for example medical_imaging.",
            )
    return entries


def _styles(said: Any, where: str) -> tuple[Entry, ...]:
    entries = _entries(said or {}, "styles", where)
    for entry in entries:
        if "," in entry.key or entry.key != " ".join(entry.key.split()):
            raise InputError(
                f'"{shortened(entry.key)}" cannot be the name of a style.',
                where=where,
                fix="Leave commas and needless spaces out: styles are listed with commas between.",
            )
    return entries


def _entries(said: Any, what: str, where: str) -> tuple[Entry, ...]:
    if not isinstance(said, dict):
        raise InputError(f"{what}: names with definitions were expected.", where=where, fix=_FIX)
    for key, definition in said.items():
        # YAML reads an unquoted yes or no as true or false.
        if not isinstance(key, str) or not key:
            raise InputError(
                f"{what}: {key!r} is no name.", where=where, fix='Put it in quotes: "..."'
            )
        if not isinstance(definition, str) or not definition.strip():
            raise InputError(
                f'{what}: "{shortened(key)}" has no definition.',
                where=where,
                fix="Write what it means: the teacher goes by it.",
            )
    return tuple(Entry(key, " ".join(text.split())) for key, text in said.items())


def _listed(entries: Sequence[Entry]) -> str:
    return "\n".join(f"- {entry.key}: {entry.definition}" for entry in entries)


def _filled(text: str, mark: str, value: str) -> str:
    # No format(): definitions and dialogues may hold braces.
    return text.replace(f"{{{mark}}}", value)

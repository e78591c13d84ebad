"""What a model's card says of the data it was trained on, and whether that is the pool at hand.

A model that was tuned on a pool judges what it has learnt already. A card is a file somebody else
wrote: what is found in it is a reason to look, not a proof, and what is not found proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CARD = "README.md"

_READ_BYTES = 1 << 20
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FRONT_MATTER_CHARACTERS = 1 << 16

#: Well-known pools, and how cards and file names spell them. Only what names nothing else: a
#: "LLaVA-OneVision" alone is a model, a "mix" alone is anything.
_KNOWN = {
    "LLaVA-665K": (
        r"llava[-_]v?1[._-]?5[-_]mix[-_]?665k|llava[-_ ](?:mix[-_]?)?665k"
        # How LLaVA-1.5's own cards describe its largest share.
        r"|academic-task-oriented VQA data mixture"
    ),
    "LLaVA-Instruct-150K": r"llava[-_ ]instruct[-_ ]15[08]k",
    "Vision-Flan": r"vision[-_]flan",
    "The Cauldron": r"the[-_]cauldron",
    "FineVision": r"finevision",
    "LLaVA-OneVision-Data": r"llava[-_]onevision[-_](?:1[._]5[-_])?(?:instruct[-_])?data",
    "LLaVA-NeXT-Data": r"llava[-_]next[-_]data",
    "Cambrian-7M": r"cambrian[-_]?7m",
    "Cambrian-10M": r"cambrian[-_]?10m",
    "MAmmoTH-VL-Instruct-12M": r"mammoth[-_]vl[-_]instruct[-_]12m",
    "ALLaVA-4V": r"allava[-_]4v",
}
_PATTERNS = {
    name: re.compile(rf"(?<![a-z0-9])(?:{spelled})(?![a-z0-9])", re.IGNORECASE)
    for name, spelled in _KNOWN.items()
}
#: A pool that another one contains, or is published beside it under one name.
_TOGETHER = {"LLaVA-665K": ("LLaVA-Instruct-150K",), "LLaVA-Instruct-150K": ("LLaVA-665K",)}

#: Words that any pool's file may be called by; a name of nothing else is no name.
_GENERIC = frozenset(
    re.findall(
        r"\w+",
        """all annotations chat clean combined conversations data dataset file filtered final
        finetune full image images instruct instruction instructions json jsonl llava merged mini
        mix mixed mixture multimodal new parquet part pool pretrain qa records sample samples set
        sft shard small subset test text train training tune tuning val validation vision visual
        vqa""",
    )
)
_LEAST_LETTERS = 5


@dataclass(frozen=True, slots=True)
class Named:
    """A pool file that a model's card seems to name.

    Attributes:
        data: the data set, as the card or its usual name says.
        file: the name of the pool file.
    """

    data: str
    file: str


def listed_datasets(folder: Path) -> tuple[str, ...]:
    """Return what a card's front matter lists as `datasets`, in its order; none without a card."""
    head = _front_matter(_text(folder))
    listed = head.get("datasets") if isinstance(head, dict) else None
    entries = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    return tuple(entry for entry in entries if isinstance(entry, str))


def pools_named(folder: Path, files: Iterable[str]) -> tuple[Named, ...]:
    """Return the pool files whose data a model's card names.

    A file is known by its own name and that of its folder: as one of the well-known pools in any
    spelling, or by being called exactly as a data set that the card lists. Names of generic words
    only are never found.

    Args:
        folder: of the model; a folder without a card names nothing.
        files: pool files, by name or path.
    """
    text = _text(folder)
    if not text:
        return ()
    datasets = listed_datasets(folder)
    known = _well_known(text)
    listed = {_plain(entry): entry for entry in datasets if _telling(entry)}
    return tuple(
        Named(data, Path(file).name)
        for file in files
        if (data := _data_of(Path(file), known, listed)) is not None
    )


def _data_of(file: Path, known: set[str], listed: dict[str, str]) -> str | None:
    called = (file.stem, file.parent.name)
    for one in called:
        for pool in sorted(_well_known(one)):
            found = known.intersection((pool, *_TOGETHER.get(pool, ())))
            if found:
                return min(found, key=lambda name: (name != pool, name))
    return next((listed[_plain(one)] for one in called if _plain(one) in listed), None)


def _well_known(text: str) -> set[str]:
    return {name for name, pattern in _PATTERNS.items() if pattern.search(text)}


def _plain(name: str) -> str:
    """Return the last part of a data set's name in lower case, without signs."""
    return "".join(re.findall(r"[a-z0-9]+", name.rpartition("/")[2].lower()))


def _telling(name: str) -> bool:
    """Whether a name says more than generic words, numbers and version letters do."""
    words = re.findall(r"[a-z]+", name.rpartition("/")[2].lower())
    return sum(len(word) for word in words if word not in _GENERIC) >= _LEAST_LETTERS


def _text(folder: Path) -> str:
    try:
        with (folder / CARD).open("rb") as file:
            return file.read(_READ_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _front_matter(text: str) -> Any:
    found = _FRONT_MATTER.match(text[:_FRONT_MATTER_CHARACTERS])
    try:
        # Of the base loader everything is text, whatever tags say: nothing is converted or built.
        return yaml.load(found.group(1), Loader=yaml.BaseLoader) if found else None
    except (yaml.YAMLError, RecursionError):
        return None  # a card somebody wrote by hand: nothing depends on it

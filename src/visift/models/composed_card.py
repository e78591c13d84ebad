"""The card of a model that was put together from parts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from visift.models.card import listed_datasets
from visift.models.ref import ModelRef

_PARTS = ("language model", "vision tower", "projector")


def composed_card(names: Sequence[str], homes: Sequence[Path]) -> str:
    """Return the README.md of a composed folder.

    Args:
        names: of language model, vision tower and projector, as they were given.
        homes: the folder each lies in. What their cards list as training data goes into this one.
    """
    listed = dict.fromkeys(data for home in homes for data in listed_datasets(home))
    hub = [name for name in names[:2] if not Path(name).exists()]
    head: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "image-text-to-text"}
    head |= {"base_model": hub} if hub else {}
    head |= {"datasets": list(listed)} if listed else {}
    table = [
        f"| {part} | {_code(_called(name))} |" for part, name in zip(_PARTS, names, strict=True)
    ]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "# LLaVA, put together from its parts",
            "",
            "| part | from |",
            "|---|---|",
            *table,
            "",
            f"`visift compose` (visift {version('visift')}) put them into one folder. Nothing was "
            "trained; every tensor has the values and the dtype it was published with. Rows of the "
            "two added tokens, and those that fill the embedding up, are the mean of the language "
            "model's own. `composed.json` holds the digests of the parts. Their licences go on "
            "holding.",
            "",
        ]
    )


def _called(name: str) -> str:
    """Return a hub id and its commit, or the last name of a folder: no path of this machine."""
    if Path(name).exists() or "/" not in name:
        return Path(name).resolve().name if Path(name).exists() else name
    revision = ModelRef.parse(name).resolved_revision()
    return f"{name.partition('@')[0]} at {revision}" if revision else name


def _code(text: str) -> str:
    """Return text as a table cell that Markdown shows as it is."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    return f"`{plain.replace('`', '?').replace('|', '?')}`"

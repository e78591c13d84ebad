"""Under which licences the chosen records stand, as far as the records themselves say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from visift.report.text import label

if TYPE_CHECKING:
    from visift.finished import Run

#: Fields of a record that may name its licence.
FIELDS = ("license", "licence")

#: How the Hugging Face Hub writes the licences that data sets use most; others are `other`.
_HUB_NAMES = frozenset(
    {
        "afl-3.0",
        "apache-2.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "c-uda",
        "cc",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nd-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "cdla-sharing-1.0",
        "gfdl",
        "gpl-2.0",
        "gpl-3.0",
        "agpl-3.0",
        "lgpl-3.0",
        "isc",
        "mit",
        "mpl-2.0",
        "odbl",
        "odc-by",
        "openrail",
        "pddl",
        "unlicense",
        "wtfpl",
    }
)


class _Row(msgspec.Struct, gc=False):
    license: Any = None
    licence: Any = None


@dataclass(frozen=True, slots=True)
class LicenceCount:
    """Chosen records of one source under one licence.

    Attributes:
        source: label, or an empty text.
        licence: as the records write it; None where they do not say.
        records: how many.
    """

    source: str
    licence: str | None
    records: int


def licences(run: Run) -> list[LicenceCount]:
    """Count the chosen records by source and licence, sources in alphabetical order.

    Every chosen record is read, and nothing of it but these fields.
    """
    pool = run.pool
    sources = [source or "" for source in run.selection.table["source"].to_pylist()]
    said: Iterable[str | None] = repeat(None, len(sources))
    if any(file.reader.mentions(name) for file in pool.files for name in FIELDS):
        decoder = msgspec.json.Decoder(_Row)
        said = (_licence(decoder, pool.raw(row)) for row in run.rows.tolist())
    pairs = Counter(zip(sources, said, strict=True))
    counts = [LicenceCount(*pair, count) for pair, count in pairs.items()]
    return sorted(counts, key=lambda one: (one.source, -one.records, one.licence or ""))


def hub_name(licence: str) -> str | None:
    """Return a licence as the Hugging Face Hub writes it, None for one it does not list."""
    name = licence.strip().lower().replace(" ", "-").replace("_", "-")
    return name if name in _HUB_NAMES else None


def _licence(decoder: msgspec.json.Decoder[_Row], raw: bytes) -> str | None:
    try:
        said = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    value = said.license if said.license is not None else said.licence
    return (label(value) or None) if isinstance(value, str) else None

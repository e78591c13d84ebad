"""The facts of a run that are lists: settings, records set aside, duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visift.pool.duplicates import exact_duplicates
from visift.report.cards import one_line, uid
from visift.report.outcome import Outcome
from visift.report.text import excerpt, short_path
from visift.selection import SET_ASIDE

if TYPE_CHECKING:
    from visift.finished import Run

_SHOWN_KINDS = 24
_SHOWN_UIDS = 3
_SHOWN_PAIRS = 6
_YOU, _DEFAULT = "you", "default"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting of a run as shown: where its value is from, and what it does."""

    name: str
    value: str
    origin: str
    doc: str


def setting_rows(run: Run) -> list[SettingRow]:
    """Return every setting of a run: those of the command line first, then the method's own."""
    config = run.config
    pool = config.pool
    given = [
        ("method", config.method, config.default_method, "what chooses"),
        ("budget", config.budget, None, "how much is chosen"),
        ("seed", config.seed, 0, "of ties and draws"),
        ("model", config.model and short_path(config.model.name), None, "what measures"),
        ("max_unusable", config.max_unusable, "1%", "share of records that may be set aside"),
        ("task_field", pool.task_field, None, "field that holds the task"),
        ("source_field", pool.source_field, None, "field that holds the source"),
        ("hash_images", pool.hash_images, False, "images are known by their bytes"),
        ("near_duplicates", config.near_duplicates, None, "bits of 64 in which images may differ"),
        ("keep", ", ".join(map(short_path, pool.keep)), "", "records that are always in"),
        ("have", ", ".join(map(short_path, pool.have)), "", "records that are never chosen"),
        ("target", ", ".join(map(short_path, pool.target)), "", "examples of what is to be learnt"),
        ("signals", ", ".join(map(short_path, config.signals)), "", "numbers measured elsewhere"),
        ("labels", ", ".join(map(short_path, config.labels)), "", "of a teacher"),
    ]
    rows = [
        SettingRow(name, _value(value), _DEFAULT if value == default else _YOU, doc)
        for name, value, default, doc in given
        if value != default or name in ("method", "budget", "seed")
    ]
    own = [
        SettingRow(s.name, _value(s.value), s.origin, s.doc.replace("`", "")) for s in run.settings
    ]
    return rows + own


def _value(value: object) -> str:
    return "not set" if value is None else excerpt(str(value))


@dataclass(frozen=True, slots=True)
class SetAside:
    """Records set aside for one kind of reason.

    Attributes:
        kind: what stands before the first colon of the reason.
        records: how many.
        first: uid and reason of the first ones.
    """

    kind: str
    records: int
    first: Sequence[tuple[str, str]]


def set_aside(run: Run) -> list[SetAside]:
    """Return the kinds of reasons by how many records they set aside."""
    found = []
    for kind, count in run.quarantine.kinds().most_common(_SHOWN_KINDS):
        reasons = run.quarantine.reasons.items()
        of_kind = ((row, why) for row, why in reasons if why.partition(":")[0] == kind)
        first = [
            (uid(run.pool, row), excerpt(why, 160))
            for (row, why), _ in zip(of_kind, range(_SHOWN_UIDS), strict=False)
        ]
        found.append(SetAside(kind, count, first))
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """A record that repeats another one."""

    uid: str
    stays: str
    question: str


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Exact duplicates among the usable records, see `visift.pool.duplicates`.

    Attributes:
        records: how many repeat another one.
        chosen: how many of these are in the selection.
        examples: some of them.
    """

    records: int
    chosen: int
    examples: Sequence[Pair]


def duplicates(run: Run, outcome: Outcome) -> Duplicates:
    """Look for exact duplicates among the records that could be used, whatever the method did."""
    pool = run.pool
    mine = ~outcome.having(SET_ASIDE) & pool.offered
    mine[list(run.quarantine.reasons)] = False
    kept = np.flatnonzero(mine & outcome.kept)
    rows = np.flatnonzero(mine & ~outcome.kept)
    repeats, stays = exact_duplicates(pool, rows, pool.tie_keys(run.config.seed), kept)
    pairs = zip(repeats[:_SHOWN_PAIRS].tolist(), stays[:_SHOWN_PAIRS].tolist(), strict=True)
    examples = [Pair(uid(pool, r), uid(pool, s), one_line(pool, r)) for r, s in pairs]
    return Duplicates(len(repeats), int(outcome.chosen[repeats].sum()), examples)

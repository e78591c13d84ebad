"""Finding the records of a published list in a pool.

Records are known by what they say. The k-th entry that names a content takes the k-th record of
that content in pool order, so identical records are taken as often as they are listed.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from visift.errors import InputError
from visift.lists.files import Said, plain_paths, record_id
from visift.lists.published import Key, Published
from visift.pool.pool import Pool
from visift.pool.record import HASH_BYTES

IntArray = NDArray[np.int64]
Ambiguous = Literal["error", "first", "all"]

BY: tuple[Key, ...] = ("content", "uid", "id", "row")
AMBIGUOUS: tuple[Ambiguous, ...] = ("error", "first", "all")
#: What a kind of name is called in a sentence.
CALLED: Mapping[Key, str] = {
    "content": "content hash",
    "uid": "uid",
    "id": "id",
    "row": "row number",
}
_SHOWN = 3


_MISSING, _REPEATED = -1, -2

Places = Mapping[Hashable, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Match:
    """The records of a list that a pool holds.

    Attributes:
        by: the kind of name they were found by.
        rows: (m,) pool rows, best first.
        entries: (m,) the entry that each of them comes from, ascending.
        missing: entries whose record the pool does not hold.
        repeated: entries whose record earlier entries have taken, every copy of it.
        loose: entries found only by images and normalised conversation.
        also: another kind of name that the whole list could be read as, if there is one.
    """

    by: Key
    rows: IntArray = field(repr=False)
    entries: IntArray = field(repr=False)
    missing: IntArray = field(repr=False)
    repeated: IntArray = field(repr=False)
    loose: IntArray = field(repr=False)
    also: Key | None = None

    @property
    def found(self) -> int:
        """How many entries have a record; fewer than `rows` where an id stands for several."""
        return len(np.unique(self.entries))

    @property
    def listed(self) -> int:
        """How many entries there are."""
        return self.found + len(self.missing) + len(self.repeated)


def match(
    listed: Published, pool: Pool, by: Key | None = None, ambiguous: Ambiguous = "error"
) -> Match:
    """Find the records of a list in a pool.

    Args:
        listed: the list.
        pool: where to look.
        by: the kind of name to go by; None takes the content where the list has it, else the kind
            that finds the most: of uid, id and row the first among equals.
        ambiguous: what an id means that stands for different records of the pool: an error, the
            first of them in pool order, or all of them.

    Raises:
        InputError: the list has no such names, or an id that stands for several records.
    """
    if by is not None and by not in listed.keys:
        has = ", ".join(kind for kind in BY if kind in listed.keys)
        raise InputError(
            f"its entries have no {CALLED[by]}.", where=str(listed.path), fix=f"They have: {has}."
        )
    if by == "content" or (by is None and "content" in listed.keys):
        return _by_content(listed, pool)
    kinds = [by] if by is not None else [kind for kind in BY if kind in listed.keys]
    tried = {kind: _places(listed.keys[kind], pool_names(pool, kind)) for kind in kinds}
    found = {kind: sum(map(tried[kind].__contains__, listed.keys[kind])) for kind in kinds}
    best = max(kinds, key=lambda kind: found[kind])
    names, places = listed.keys[best], tried[best]
    if best == "id" and ambiguous == "error":
        _refuse_ambiguous(listed, pool, places)
    rows, entries = _assign(names, places), np.arange(len(names))
    if best == "id" and ambiguous == "all":
        rows, entries = _assign_all(names, places)
    also = next((kind for kind in kinds if kind != best and found[kind] == len(names)), None)
    return _match_of(best, rows, entries, also=also)


def rows_of(names: Sequence[Hashable], there: Iterable[Hashable]) -> IntArray:
    """Return (n,) where each name stands, the k-th of equal ones at the k-th place; -1 if nowhere.

    Args:
        names: n names.
        there: names in the order of the rows; those beyond the places of a name have none.
    """
    return np.maximum(_assign(names, _places(names, there)), -1)


def pool_names(pool: Pool, kind: Key) -> Iterable[Hashable]:
    """Return (N,) what a kind of name calls the records of a pool; None for one without."""
    if kind == "content":
        return pool.content_hashes()
    if kind == "uid":
        return pool.uids(np.arange(len(pool)))
    return range(len(pool)) if kind == "row" else map(record_id, map(pool.raw, range(len(pool))))


def _match_of(
    by: Key,
    rows: IntArray,
    entries: IntArray,
    loose: IntArray | None = None,
    also: Key | None = None,
) -> Match:
    return Match(
        by=by,
        rows=rows[rows >= 0],
        entries=entries[rows >= 0],
        missing=entries[rows == _MISSING],
        repeated=entries[rows == _REPEATED],
        loose=np.empty(0, np.int64) if loose is None else loose,
        also=also,
    )


def _by_content(listed: Published, pool: Pool) -> Match:
    """Find records by their content hash; what is left, by images and normalised conversation."""
    names = listed.keys["content"]
    rows = _assign(names, _places(names, pool_names(pool, "content")))
    lost = np.flatnonzero(rows < 0)
    if listed.said and len(lost):
        said = [listed.said[entry] for entry in lost.tolist()]
        rows[lost] = _assign(said, _said_places(said, pool), set(rows.tolist()))
    return _match_of("content", rows, np.arange(len(rows)), lost[rows[lost] >= 0])


def _places(wanted: Iterable[Hashable], there: Iterable[Hashable]) -> Places:
    """Return, by name, the rows of the records that have it."""
    names = set(wanted) - {None}
    places: dict[Hashable, list[int]] = {}
    for row, name in enumerate(there):
        if name in names:
            places.setdefault(name, []).append(row)
    return places


def _said_places(wanted: Iterable[Said | None], pool: Pool) -> Places:
    """Return, by what a record says and shows, the rows of the records that do."""
    names = {said for said in wanted if said is not None}
    conversations = pa.array({said[0] for said in names}, pa.binary(HASH_BYTES))
    there = pool.index.select(["conversation", "images"])
    near = pc.is_in(there["conversation"], value_set=conversations).to_numpy()
    rows = np.flatnonzero(near)
    table = there.take(pa.array(rows))
    places: dict[Hashable, list[int]] = {}
    pairs = zip(table["conversation"].to_pylist(), table["images"].to_pylist(), strict=True)
    for row, (conversation, images) in zip(rows.tolist(), pairs, strict=True):
        said = (conversation, plain_paths(images))
        if said in names:
            places.setdefault(said, []).append(row)
    return places


def _assign(names: Sequence[Hashable], places: Places, taken: Container[int] = ()) -> IntArray:
    """Return (n,) the row of each entry, `_MISSING`, or `_REPEATED` where all of its are taken."""
    left = {name: iter([n for n in rows if n not in taken]) for name, rows in places.items()}
    nowhere: Iterator[int] = iter(())
    rows = [
        next(left.get(name, nowhere), _REPEATED if name in left else _MISSING) for name in names
    ]
    return np.array(rows, np.int64)


def _assign_all(names: Sequence[Hashable], places: Places) -> tuple[IntArray, IntArray]:
    """Return rows and their entries; what is left of a name goes to its first entry."""
    first, times = dict(zip(reversed(names), range(len(names))[::-1], strict=True)), Counter(names)
    left = [(row, first[name]) for name, rows in places.items() for row in rows[times[name] :]]
    more, owners = np.array(left, np.int64).reshape(-1, 2).T
    rows = np.concatenate([_assign(names, places), more])
    entries = np.concatenate([np.arange(len(names)), owners])
    order = np.argsort(entries, kind="stable")
    return rows[order], entries[order]


def _refuse_ambiguous(listed: Published, pool: Pool, places: Places) -> None:
    """Raise `InputError` for ids listed less often than the pool has different records of them."""
    hashes, times = pool.content_hashes(), Counter(listed.keys["id"])
    several = {
        name: rows
        for name, rows in places.items()
        if len(rows) > times[name] and len({hashes[row] for row in rows}) > 1
    }
    if not several:
        return
    shown = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)} for {len(rows)}"
        for name, rows in itertools.islice(several.items(), _SHOWN)
    )
    plural = "s stand" if len(several) > 1 else " stands"
    raise InputError(
        f"{len(several):,} id{plural} for several different records of the pool ({shown}).",
        where=str(listed.path),
        fix="--ambiguous first takes the first of them, --ambiguous all takes them all. "
        "A list of whole records or of content hashes is never ambiguous.",
    )

"""What is in a pool, counted: nothing is measured, chosen or changed.

Counts come from the index in whole columns; only the ids are read from the records themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.numerics.ties import copy_numbers
from visift.pool.duplicates import exact_duplicates
from visift.pool.findings import IdFacts, ImageFacts, Inspection, SourceFacts, Spread
from visift.pool.pool import Pool
from visift.pool.verify import Finding, verify_images

Rows = NDArray[np.int64]

#: What records without a source label are listed under.
NO_IMAGE, NO_LABEL = "text-only", "no source"

_NUMBERS = ("turns", "tags", "text_bytes", "answer_chars")
_ID_CHUNK = 65_536


def inspect_pool(
    pool: Pool,
    *,
    decode: bool = False,
    progress: Callable[[int], None] = lambda images: None,
) -> Inspection:
    """Count what a pool holds and what is wrong with it.

    Args:
        pool: to look at.
        decode: also decode every image, which takes about ten milliseconds each.
        progress: told how many more images are decoded.
    """
    readable = np.asarray(pool.index["fault"].is_null())
    rows = np.flatnonzero(readable)
    said = rows[~pool.unannotated[rows]]
    in_order = np.arange(len(pool), dtype=np.uint64)
    usable = pool.rows()
    repeating, repeated = exact_duplicates(pool, usable, in_order, np.empty(0, np.int64))
    copies = np.flatnonzero((copy_numbers(pool.content_hashes()) > 0) & readable)
    column = {name: pool.index[name].to_numpy() for name in _NUMBERS}
    images = np.diff(pool.images.offsets)
    tasks = Counter(pool.index["task"].drop_null().to_pylist())
    return Inspection(
        files=tuple(file.name for file in pool.files),
        records=len(pool),
        usable=len(usable),
        set_aside=_set_aside(pool),
        faults=_finding(pool, np.flatnonzero(~readable), pool.index["fault"]),
        text_only=int(pool.text_only.sum()),
        unannotated=int(pool.unannotated.sum()),
        images=_images(pool, rows),
        turns=_spread(column["turns"][said]),
        text_bytes=_spread(column["text_bytes"][said]),
        answer_chars=_spread(column["answer_chars"][said]),
        ids=_ids(pool),
        duplicates=_repeats(pool, repeating, repeated),
        identical=_finding(pool, copies),
        placeholders=_finding(pool, said[(images != column["tags"])[said] & (images > 0)[said]]),
        placeholders_in_text=_finding(pool, rows[(column["tags"] > 0)[rows] & (images == 0)[rows]]),
        sources=_sources(pool, readable),
        tasks=dict(tasks.most_common()),
        verified=verify_images(pool, progress) if decode else None,
    )


def _finding(pool: Pool, rows: Rows, why: pa.ChunkedArray | None = None) -> Finding:
    """Return a finding of some rows, the first by its uid, with the reason if there is one."""
    if not len(rows):
        return Finding(0)
    first = pool.uids(rows[:1])[0]
    return Finding(len(rows), first if why is None else f"{first}: {why[int(rows[0])].as_py()}")


def _repeats(pool: Pool, rows: Rows, repeated: Rows) -> Finding:
    if not len(rows):
        return Finding(0)
    second, first = pool.uids(np.array([rows[0], repeated[0]]))
    return Finding(len(rows), f"{second} repeats {first}")


def _spread(values: NDArray[np.int32]) -> Spread:
    if not len(values):
        return Spread(0, 0, 0)
    # By rank, so that it is a number some record has.
    median, p95, largest = np.quantile(values, [0.5, 0.95, 1.0], method="inverted_cdf")
    return Spread(int(median), int(p95), int(largest))


def _set_aside(pool: Pool) -> dict[str, Finding]:
    """Return by kind of reason, what stands before the first colon, which rows are of no use."""
    counts: Counter[str] = Counter()
    first: dict[str, int] = {}
    for row, reason in enumerate(pool.faults):
        if reason is not None:
            kind = reason.partition(":")[0]
            counts[kind] += 1
            first.setdefault(kind, row)
    uids = dict(zip(first, pool.uids(np.array(list(first.values()), np.int64)), strict=True))
    return {
        kind: Finding(count, f"{uids[kind]}: {pool.faults[first[kind]]}")
        for kind, count in counts.most_common()
    }


def _images(pool: Pool, rows: Rows) -> ImageFacts:
    images = pool.images
    flat = images.sets()[1]
    shown = np.bincount(flat[flat >= 0], minlength=len(images))
    most = Finding(0)
    if len(shown):
        top = int(np.argmax(shown))
        most = Finding(int(shown[top]), images.refs[top].path)
    sizes, times = np.unique(np.diff(images.offsets)[rows], return_counts=True)
    return ImageFacts(
        references=len(images.flat),
        distinct=len(images),
        missing=_missing(pool, np.sort(np.array(list(images.reasons), np.int64))),
        shared=int((shown > 1).sum()),
        most_shared=most,
        per_record=dict(zip(sizes.tolist(), times.tolist(), strict=True)),
    )


def _missing(pool: Pool, places: Rows) -> Finding:
    """Return a finding of positions in `ImageTable.flat`, ascending."""
    if not len(places):
        return Finding(0)
    row = np.searchsorted(pool.images.offsets, places[:1], side="right") - 1
    return Finding(len(places), f"{pool.uids(row)[0]}: {pool.images.reasons[int(places[0])]}")


def _sources(pool: Pool, readable: NDArray[np.bool_]) -> dict[str, SourceFacts]:
    """Return the facts of every source, the largest first."""
    names, of_row = _named_sources(pool)
    sizes = np.bincount(of_row, minlength=len(names))
    rows_of = np.split(np.argsort(of_row, kind="stable"), np.cumsum(sizes)[:-1])
    answers = pool.index["answer_chars"].to_numpy()
    unusable = np.array([fault is not None for fault in pool.faults])
    lost = np.sort(np.array(list(pool.images.reasons), np.int64))
    lost_of = of_row[np.searchsorted(pool.images.offsets, lost, side="right") - 1]
    facts = {}
    for at in np.argsort(-sizes, kind="stable").tolist():
        rows = rows_of[at]
        ids = pool.images.flat[pool.images.positions(rows)]
        if len(rows):
            facts[names[at]] = SourceFacts(
                records=len(rows),
                text_only=int(pool.text_only[rows].sum()),
                references=len(ids),
                images=len(np.unique(ids[ids >= 0])),
                missing=_missing(pool, lost[lost_of == at]),
                set_aside=int(unusable[rows].sum()),
                answer_chars=_spread(answers[rows[readable[rows]]]).median,
            )
    return facts


def _named_sources(pool: Pool) -> tuple[list[str], Rows]:
    """Return names and (N,) which of them a row has; without a label, by whether it has images."""
    groups = pool.groups("source")
    names = list(dict.fromkeys([*groups.labels, NO_IMAGE, NO_LABEL]))
    bare = np.where(pool.text_only, names.index(NO_IMAGE), names.index(NO_LABEL))
    return names, np.where(groups.of_row >= 0, groups.of_row, bare).astype(np.int64)


class _WithId(msgspec.Struct, gc=False):
    """The one field that is looked at; all others are skipped without building objects."""

    id: Any = None


def _ids(pool: Pool) -> IdFacts:
    decoder = msgspec.json.Decoder(_WithId)
    kinds: Counter[str] = Counter()
    chunks: list[pa.Array] = []
    for start in range(0, len(pool), _ID_CHUNK):
        rows = range(start, min(start + _ID_CHUNK, len(pool)))
        ids = [i for i in (_id_of(pool, row, decoder) for row in rows) if i is not None]
        kinds.update(map(_kind, ids))
        chunks.append(pa.array([str(i) for i in ids], pa.large_string()))
    counted = pa.chunked_array(chunks, pa.large_string()).value_counts()
    times = counted.field("counts").to_numpy()
    again = np.flatnonzero(times > 1)
    first = str(counted.field("values")[int(again[0])].as_py()) if len(again) else None
    shared = Finding(len(again), first)
    return IdFacts(sum(kinds.values()), dict(kinds), shared, int(times[again].sum()))


def _id_of(pool: Pool, row: int, decoder: msgspec.json.Decoder[_WithId]) -> Any:
    try:
        return decoder.decode(pool.raw(row)).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # the index says what is wrong with the record


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if number else "other"

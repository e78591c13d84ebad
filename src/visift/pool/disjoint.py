"""Which records of one pool stand in another one: examples to choose for, in what is evaluated on.

Two records meet where they show one image, by key or by bytes, whatever is said about it; without
images, where they say the same. The same words about other images are no meeting: "How many? 5."
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.errors import ImageError, InputError
from visift.pool.pool import Pool

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shared:
    """A record that stands in another pool as well.

    Attributes:
        row: of the record.
        other: row of the first record of the other pool that it meets.
        image: path of the image that both show, None for the same words.
    """

    row: int
    other: int
    image: str | None


def shared_rows(pool: Pool, rows: Rows, others: Pool) -> list[Shared]:
    """Return those of some rows that stand among the records of another pool.

    The images of both are read, unless their keys settle it.

    Args:
        pool: what rows refer to.
        rows: which to look for, ascending.
        others: where to look; of records that cannot be used as far as they can be read.
    """
    shown, said = _shown(others), _said(others)
    by_bytes: dict[bytes, int] | None = None
    found = list[Shared]()
    for row in rows.tolist():
        images = [one for one in pool.images.of_row(row).tolist() if one >= 0]
        met = _first(images, {one: shown.get(pool.images.keys[one]) for one in images})
        if met is None and images:
            if by_bytes is None:
                by_bytes = _first_rows(others)
            known = by_bytes
            met = _first(images, {one: known.get(_digest(pool, one)) for one in images})
        if met is not None:
            found.append(Shared(row, met[1], pool.images.refs[met[0]].path))
        elif not images and pool.text_only[row] and (same := _words(pool, row)) in said:
            found.append(Shared(row, said[same], None))
    return found


def must_be_disjoint(pool: Pool, rows: Rows, others: Pool, flag: str = "--target") -> None:
    """Raise unless no row stands in another pool, which is what is evaluated on.

    Args:
        pool: what rows refer to.
        rows: which.
        others: the evaluation.
        flag: where the rows come from.

    Raises:
        InputError: some do; names how many, and the first.
    """
    found = shared_rows(pool, rows, others)
    if not found:
        return
    first = found[0]
    what = "its words" if first.image is None else f"the image {first.image}"
    (uid,), (other,) = (
        one.uids(np.array([row])) for one, row in ((pool, first.row), (others, first.other))
    )
    raise InputError(
        f"{counted(len(found), 'record')} of {len(rows):,} in {flag} stand in the evaluation: "
        f"{uid} shares {what} with {other}.",
        fix="Take other examples: a selection that has seen the evaluation is measured by nothing.",
    )


def _shown(pool: Pool) -> dict[str, int]:
    """Return the first row that shows each image, by key."""
    return {pool.images.keys[image]: row for image, row in reversed(list(_images(pool)))}


def _first_rows(pool: Pool) -> dict[bytes, int]:
    """Return the first row that shows each image, by bytes; images are read once each."""
    first = dict[int, int]()
    for image, row in _images(pool):
        first.setdefault(image, row)
    digests = ((_digest(pool, image), row) for image, row in reversed(first.items()))
    return {digest: row for digest, row in digests if digest}


def _images(pool: Pool) -> Iterator[tuple[int, int]]:
    """Yield (image, row) for all rows."""
    for row in range(len(pool)):
        for image in pool.images.of_row(row).tolist():
            if image >= 0:
                yield image, row


def _digest(pool: Pool, image: int) -> bytes:
    """Return a digest of an image's bytes, empty where they cannot be read."""
    try:
        data = pool.image_bytes(pool.images.refs[image])
    except ImageError:
        return b""
    return blake2b(data, digest_size=16).digest()


def _said(pool: Pool) -> dict[bytes, int]:
    """Return the first of the records without images that says something, by what it says."""
    rows = np.flatnonzero(pool.text_only)[::-1].tolist()
    return {_words(pool, row): row for row in rows}


def _words(pool: Pool, row: int) -> bytes:
    said: bytes = pool.index["conversation"][row].as_py()
    return said


def _first(images: list[int], met: dict[int, int | None]) -> tuple[int, int] | None:
    """Return the first image that is met, and the row it meets."""
    pairs = ((image, met[image]) for image in images)
    return next(((image, row) for image, row in pairs if row is not None), None)

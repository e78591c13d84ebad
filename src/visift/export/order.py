"""The order of the records in an exported file."""

from __future__ import annotations

import numpy as np

from visift.export.exporter import Order, Rows
from visift.pool.pool import Pool


def arrange(pool: Pool, rows: Rows, order: Order, *, image_first: bool, seed: int = 0) -> Rows:
    """Return rows in the order they are to be written.

    Args:
        pool: what rows refer to.
        rows: in rank order.
        order: see `ExportOptions`.
        image_first: put the first record with an image at the head of the file, and text-only
            records between the others: loaders take the types of a file from its beginning. In
            rank order only the head is changed.
        seed: of `shuffle`.
    """
    if order == "rank":
        return _with_image_at_head(pool, rows) if image_first else rows
    placed = np.sort(rows)
    if order == "shuffle":
        placed = placed[np.argsort(pool.tie_keys(seed, b"export order")[placed], kind="stable")]
    elif image_first:
        placed = _interleaved(pool, placed)
    return _with_image_at_head(pool, placed) if image_first else placed


def _interleaved(pool: Pool, rows: Rows) -> Rows:
    """Spread text-only rows evenly among the others; each kind keeps its order."""
    text = pool.text_only[rows]
    place = np.empty(len(rows))
    for kind in (text, ~text):
        place[kind] = (np.arange(kind.sum()) + 0.5) / max(1, int(kind.sum()))
    return rows[np.lexsort((text, place))]


def _with_image_at_head(pool: Pool, rows: Rows) -> Rows:
    with_image = np.flatnonzero(~pool.text_only[rows])
    if not len(with_image) or with_image[0] == 0:
        return rows
    first = with_image[0]
    return np.concatenate([rows[first : first + 1], rows[:first], rows[first + 1 :]])

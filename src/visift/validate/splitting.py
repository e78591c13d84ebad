"""Which records of a pool are kept apart to ask about, and which questions they hold.

Records that share an image, however indirectly, lie on one side: a model must not have seen the
picture it is asked about. Text-only records with the same conversation stay together likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError
from visift.numerics.ties import text_tie_keys
from visift.pool.pool import Pool

Rows = NDArray[np.int64]

#: Status of a record that is kept apart.
HELD_OUT = "held out to ask about"
#: The label of records without one.
NO_TASK = "no task"


@dataclass(frozen=True, slots=True)
class Questions:
    """Records to ask about.

    Attributes:
        pool: where they are.
        rows: (n,) ascending.
        tasks: (n,) task of each; the source where a record has no task.
        groups: (n,) records of one group share an image, see `image_groups`.
    """

    pool: Pool = field(repr=False)
    rows: Rows
    tasks: Sequence[str]
    groups: Rows

    @classmethod
    def of(cls, pool: Pool, rows: Rows) -> Questions:
        """Return some records of a pool as questions."""
        rows = np.sort(rows)
        return cls(pool, rows, tasks_of(pool, rows), image_groups(pool)[rows])

    def __len__(self) -> int:
        return len(self.rows)

    def without(self, rows: Rows) -> Questions:
        """Return the questions that are not of some rows."""
        stay = ~np.isin(self.rows, rows)
        tasks = [task for task, here in zip(self.tasks, stay.tolist(), strict=True) if here]
        return Questions(self.pool, self.rows[stay], tasks, self.groups[stay])


def tasks_of(pool: Pool, rows: Rows) -> list[str]:
    """Return the task of each of some rows, its source where it has none."""
    tasks, sources = (pool.index[name].take(rows).to_pylist() for name in ("task", "source"))
    return [task or source or NO_TASK for task, source in zip(tasks, sources, strict=True)]


def image_groups(pool: Pool) -> Rows:
    """Return (N,) a number for every row; rows that share an image, or through others, share it.

    Rows without an image share it where their conversations are the same.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, images = len(pool), pool.images
    row_of = np.repeat(np.arange(count), np.diff(images.offsets))
    there = images.flat >= 0
    said = pool.index["conversation"].combine_chunks().dictionary_encode()
    bare = np.flatnonzero(pool.text_only)
    alike = said.indices.to_numpy(zero_copy_only=False)[bare].astype(np.int64)
    one = np.concatenate([row_of[there], bare])
    other = np.concatenate([images.flat[there], alike + len(images)]) + count
    size = count + len(images) + len(said.dictionary)
    edges = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component[:count], np.int64)


def hold_out(pool: Pool, share: Fraction, most: int, seed: int) -> Questions:
    """Draw whole image groups until every task has a share of its records, or as many as it may.

    Groups are looked at in a keyed random order; one is taken where a task that it holds still
    wants some, and none that it holds would lose more than twice what it wants, or everything. So
    tasks that share images with others may get a few more, and a group too large for its tasks
    stays on the other side.

    Args:
        pool: usable candidates with a conversation are drawn from.
        share: of the records of each task; at least one record stays on the other side.
        most: records a task, as far as groups are not cut.
        seed: of the draw.

    Raises:
        InputError: nothing can be held out.
    """
    rows = pool.rows("candidate")
    rows = rows[~pool.unannotated[rows]]
    groups = image_groups(pool)
    # What shows the same as a record that is always in, there already, or chosen for is no fair
    # question.
    roles = (pool.has_role("kept"), pool.has_role("have"), pool.has_role("target"))
    fixed = np.flatnonzero(np.logical_or.reduce(roles))
    rows = rows[~np.isin(groups[rows], groups[fixed])]
    names, task = np.unique(np.array(tasks_of(pool, rows), object).astype(str), return_inverse=True)
    there = np.bincount(task, minlength=len(names))
    wanted = np.array([min(int(share * n), most, n - 1) for n in there], np.int64)
    ceiling = np.minimum(2 * wanted + 1, there - 1)
    held = np.zeros_like(wanted)
    drawn: list[Rows] = []
    for members in _in_random_order(pool, rows, groups[rows], seed):
        mine = task[members]
        if (held[mine] < wanted[mine]).any():
            more = held + np.bincount(mine, minlength=len(names))
            if (more[mine] <= ceiling[mine]).all():
                drawn.append(rows[members])
                held = more
        if (held >= wanted).all():
            break
    if not drawn:
        raise InputError(
            f"a pool of {len(rows):,} records is too small to hold {float(share):.0%} of it out.",
            fix="Name records to ask about: --eval FILE",
        )
    return Questions.of(pool, np.concatenate(drawn))


def _in_random_order(pool: Pool, rows: Rows, groups: Rows, seed: int) -> list[Rows]:
    """Return the positions of the rows of each group; its size has no say in its place."""
    hashes = pool.content_hashes()
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(groups[order], return_index=True)
    parts = np.split(order, starts[1:])
    held = (sorted(hashes[row] for row in rows[part].tolist()) for part in parts)
    texts = (blake2b(b"".join(one), digest_size=16).hexdigest() for one in held)
    keys = text_tie_keys(texts, seed, b"held out")
    return [parts[at] for at in np.argsort(keys, kind="stable")]

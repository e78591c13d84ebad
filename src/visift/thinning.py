"""Near-duplicates out of a pool before any method sees it, where that is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visift.engine.lab import Examples, Lab, LocalLab
from visift.engine.measured import Measured
from visift.methods.ranking import by_key
from visift.pool.near_duplicates import near_duplicates
from visift.pool.pool import Pool
from visift.say import Say, say_near_duplicates
from visift.signals.hashes import ImageHash

Rows = NDArray[np.int64]


def ask_hashes(pool: Pool, lab: Lab) -> tuple[Rows, Measured]:
    """Ask for the hashes of the rows that show one image: candidates, kept and had ones."""
    rows = np.concatenate([pool.rows(role) for role in ("kept", "have", "candidate")])
    rows = np.unique(rows[np.diff(pool.images.offsets)[rows] == 1])
    return rows, lab.measure(ImageHash(), Examples(rows))


def thinned(pool: Pool, lab: LocalLab, bits: int | None, seed: int, say: Say) -> Pool:
    """Return the pool that a run chooses from, which its lab knows from then on.

    Args:
        pool: with all rows.
        lab: of the run; hashes that it lacks are measured now.
        bits: see `without_near_duplicates`; None leaves the pool as it is.
        seed: of the tie keys.
        say: called with (label, text).
    """
    if bits is None:
        return pool
    lab.pool, count = without_near_duplicates(pool, *ask_hashes(pool, lab), bits, seed)
    say_near_duplicates(say, count, bits)
    return lab.pool


def without_near_duplicates(
    pool: Pool, rows: Rows, hashes: Measured, bits: int, seed: int
) -> tuple[Pool, int]:
    """Return the pool without rows whose image nearly is one that stays, and how many these are.

    The row with the lowest tie key of those nearly alike stays; kept rows and those that are there
    already (`--have`) stay before all others. Rows of the very same image share its fate.

    Args:
        pool: with all rows.
        rows: (n,) rows that show one image.
        hashes: of their images.
        bits: of 64 that may differ.
        seed: of the tie keys.

    Raises:
        InputError: a number of bits out of range.
    """
    keys = pool.tie_keys(seed)
    rows = by_key(rows[hashes.ok(rows)], keys)
    there = ~np.isin(rows, pool.rows("candidate"))
    rows = np.concatenate([rows[there], rows[~there]])
    image = pool.images.flat[pool.images.offsets[rows]]
    _, first = np.unique(image, return_index=True)
    first = np.sort(first)
    repeats, stays = near_duplicates(
        hashes.take("image_hash", rows[first]),
        np.arange(len(first), dtype=np.uint64),
        bits,
        np.flatnonzero(first < int(there.sum())),
    )
    uids = pool.uids(rows[first[stays]])
    status = {
        int(image[first[at]]): f"near-duplicate: of {uid}"
        for at, uid in zip(repeats.tolist(), uids, strict=True)
    }
    dropped = {
        row: status[shown]
        for row, shown in zip(rows.tolist(), image.tolist(), strict=True)
        if shown in status
    }
    mine = set(pool.rows("candidate").tolist())
    dropped = {row: why for row, why in dropped.items() if row in mine}
    return pool.without(dropped), len(dropped)

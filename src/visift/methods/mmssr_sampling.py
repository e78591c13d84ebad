"""mmSSR's rule (arXiv 2503.13383): capabilities in turn, rare styles first, high scores first.

Every capability in turn picks an equal part of what is left of the budget. Its rows stand in bins,
one a style (and source); the part is shared equally over the bins, the smallest first, and inside a
bin rows that have its style first precede rows that have it second, then high scores precede low
ones. A plain form of the same is `tests/reference/mmssr.py`.

All arrays number the n rows that can be chosen from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: What a row without a style, or without a source, is put under.
OTHER, UNKNOWN = "other", "unknown"


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins that rows stand in: one for each of their styles.

    Attributes:
        names: (B,) in the order of their text, which settles equal sizes.
        of_kind: (K, L) bins of each kind of row (styles and source), first style first, -1 after
            the last; no bin twice.
        kind: (n,) of each row.
    """

    names: tuple[str, ...]
    of_kind: IntArray
    kind: IntArray

    @classmethod
    def of(
        cls,
        styles: Sequence[tuple[str, ...]],
        style: IntArray,
        sources: Sequence[str] | None = None,
        source: IntArray | None = None,
    ) -> Bins:
        """Return the bins of n rows.

        Args:
            styles: the lists of styles that occur; an empty one is `other`.
            style: (n,) which of them each row has.
            sources: the sources that occur; None for bins by style alone.
            source: (n,) which of them each row has.
        """
        ends = [""] if sources is None else [f"+{name}" for name in sources]
        of_row = np.zeros_like(style) if source is None else source
        pairs, kind = np.unique(style * len(ends) + of_row, return_inverse=True)
        said = [
            [f"{one}{ends[pair % len(ends)]}" for one in styles[pair // len(ends)] or (OTHER,)]
            for pair in pairs.tolist()
        ]
        once = [list(dict.fromkeys(labels)) for labels in said]
        names = sorted({label for labels in once for label in labels})
        number = {label: at for at, label in enumerate(names)}
        width = max((len(labels) for labels in once), default=1)
        table = np.full((len(once), width), -1, np.int64)
        for row, labels in enumerate(once):
            table[row, : len(labels)] = [number[label] for label in labels]
        return cls(tuple(names), table, kind)

    def at(self, position: int, rows: IntArray) -> IntArray:
        """Return (m,) the bin of each row's style number `position`, -1 where it has fewer."""
        return np.asarray(self.of_kind[:, position][self.kind[rows]])


@dataclass(frozen=True, slots=True)
class Queue:
    """The rows that one capability may pick, bin after bin, each bin in its order.

    Attributes:
        rows: (E,) rows; one with several styles stands in several bins.
        starts: (B + 1,) where each bin begins.
        lower: (E,) whether an entry ranks below the one before, or begins a bin: entries up to the
            next one that does are ties.
    """

    rows: NDArray[np.int32]
    starts: IntArray
    lower: NDArray[np.bool_]

    @classmethod
    def of(cls, bins: Bins, order: IntArray, level: IntArray) -> Queue:
        """Put rows into their bins.

        Args:
            bins: of all rows.
            order: (m,) the rows that can be picked, best first.
            level: (m,) ascending; equal for rows that only a tie key tells apart.
        """
        found, of, levels, position = [], [], [], []
        for at in range(bins.of_kind.shape[1]):
            bin_ = bins.at(at, order)
            there = np.flatnonzero(bin_ >= 0)
            found.append(order[there].astype(np.int32))
            of.append(bin_[there].astype(_code_type(len(bins.names))))
            levels.append(level[there].astype(np.int32))
            position.append(np.full(len(there), at, np.int8))
        bin_of = np.concatenate(of)
        sorted_ = np.argsort(bin_of, kind="stable")
        lower = np.ones(len(sorted_), bool)
        lower[1:] = False
        for values in (bin_of, np.concatenate(levels), np.concatenate(position)):
            by_bin = values[sorted_]
            lower[1:] |= by_bin[1:] != by_bin[:-1]
        sizes = np.bincount(bin_of, minlength=len(bins.names))
        return cls(np.concatenate(found)[sorted_], np.concatenate([[0], np.cumsum(sizes)]), lower)


def _code_type(bins: int) -> type[np.uint16 | np.int32]:
    return np.uint16 if bins <= np.iinfo(np.uint16).max else np.int32  # 16 bits sort by radix


def ranked(
    score: Float, thr: float, place: IntArray, before: Float | None = None
) -> tuple[IntArray, IntArray]:
    """Return the rows above a threshold, best first, and their levels (see `Queue.of`).

    Args:
        score: (n,) high is good; NaN is none.
        thr: rows must score more.
        place: (n,) all rows in the order of their tie keys.
        before: (n,) what settles equal scores before the tie key, high is good.
    """
    rows = place[score[place] > thr]
    keys = [-score[rows]] if before is None else [-before[rows], -score[rows]]
    order = np.lexsort(keys)
    changes = np.zeros(len(rows), bool)
    for values in keys:
        by_rank = values[order]
        changes[1:] |= by_rank[1:] != by_rank[:-1]
    return rows[order], np.cumsum(changes)


@dataclass(frozen=True, slots=True)
class Tie:
    """Rows of one bin that were picked, and all that rank like them there."""

    picked: NDArray[np.int32]
    equal: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Picked:
    """What a capability picked at its turn.

    Attributes:
        rows: (k,) in the order picked.
        bins: (k,) from which bin.
        ties: one for each bin in which equal rows were left.
    """

    rows: IntArray
    bins: IntArray
    ties: tuple[Tie, ...] = ()


#: Given the sizes of all bins, returns those that are not empty in the order they are served.
Serve = Callable[[IntArray], IntArray]


def smallest_first(sizes: IntArray) -> IntArray:
    """Return the bins that are not empty, small ones first, equal ones by name."""
    there = np.flatnonzero(sizes)
    return there[np.argsort(sizes[there], kind="stable")]


def pick(queue: Queue, free: NDArray[np.bool_], q: int, serve: Serve = smallest_first) -> Picked:
    """PICK: share q picks over the bins equally; what a small bin lacks, later ones make up for.

    Fewer than q come where shares are rounded down, and more may where q is below the number of
    bins, because a row with several styles thins several of them out.

    Args:
        queue: of the capability.
        free: (n,) rows nobody picked yet; those picked here are marked.
        q: how many are wanted.
        serve: in which order bins are served.
    """
    there = np.flatnonzero(free[queue.rows])
    bounds = np.searchsorted(there, queue.starts)
    order = serve(np.diff(bounds))
    share, debt, count = max(q // max(len(order), 1), 1), 0, 0
    rows, bins, ties = [np.empty(0, np.int64)], [np.empty(0, np.int64)], list[Tie]()
    for bin_ in order.tolist():
        if count >= q:
            break
        mine = there[bounds[bin_] : bounds[bin_ + 1]]
        mine = mine[free[queue.rows[mine]]]
        wanted = share + debt
        taken, debt = mine[:wanted], max(wanted - len(mine), 0)
        if 0 < len(taken) < len(mine):
            ties += _tie(queue, taken, int(mine[wanted]))
        rows.append(queue.rows[taken].astype(np.int64))
        bins.append(np.full(len(taken), bin_))
        free[rows[-1]] = False
        count += len(taken)
    return Picked(np.concatenate(rows), np.concatenate(bins), tuple(ties))


def _tie(queue: Queue, taken: IntArray, left: int) -> list[Tie]:
    """Return the tie that a cut went through, if it did: `left` is the best entry left."""
    last = int(taken[-1])
    if queue.lower[last + 1 : left + 1].any():
        return []
    start = last - int(np.argmax(queue.lower[last::-1]))
    after = queue.lower[left + 1 :]
    stop = left + 1 + (int(np.argmax(after)) if after.any() else len(after))
    return [Tie(queue.rows[taken[taken >= start]], queue.rows[start:stop])]


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows that were picked.

    Attributes:
        rows: (k,) in the order picked.
        capability: (k,) number of the one that picked it.
        bins: (k,) from which bin.
        tied: (k,) whether a row that was never picked ranked like it in that bin.
        exhausted: capabilities that had no row left when it was their turn, in that order.
    """

    rows: IntArray
    capability: IntArray
    bins: IntArray
    tied: NDArray[np.bool_]
    exhausted: tuple[int, ...]


#: Called with the number of a capability, the rows that are free, and how many it may pick.
Take = Callable[[int, NDArray[np.bool_], int], Picked]


def sample(n: int, rows: int, capabilities: int, take: Take, *, exact: bool = True) -> Sample:
    """Let capabilities pick in turn until there are n rows.

    A capability without rows is left out from then on; it is over early where that is all of them.

    Args:
        n: rows wanted.
        rows: how many there are.
        capabilities: how many there are.
        take: what a capability does at its turn.
        exact: whether what the last turn picked beyond n (see `pick`) is given back.
    """
    free, left = np.ones(rows, bool), list(range(capabilities))
    turns, exhausted, count = list[tuple[int, Picked]](), list[int](), 0
    while count < n and left:
        quota = max((n - count) // len(left), 1)
        for c in tuple(left):
            if count >= n:
                break
            quota = min(quota, n - count)
            got = take(c, free, quota)
            if not len(got.rows):
                left.remove(c)
                exhausted.append(c)
            turns.append((c, got))
            count += len(got.rows)
    return _joined(turns, free, tuple(exhausted), n if exact else count)


def _joined(
    turns: Sequence[tuple[int, Picked]],
    free: NDArray[np.bool_],
    exhausted: tuple[int, ...],
    most: int,
) -> Sample:
    none = [np.empty(0, np.int64)]
    rows = np.concatenate(none + [got.rows for _, got in turns])
    by = np.concatenate(none + [np.full(len(got.rows), c) for c, got in turns])
    bins = np.concatenate(none + [got.bins for _, got in turns])
    tied = np.zeros(len(free), bool)
    for _, got in turns:
        for tie in got.ties:
            tied[tie.picked] = free[tie.equal].any()
    rows = rows[:most]
    return Sample(rows, by[:most], bins[:most], tied[rows], exhausted)


def sample_queues(n: int, rows: int, queues: Sequence[Queue], *, exact: bool = True) -> Sample:
    """Return n rows by the rule with nothing left to chance; see `sample`."""
    return sample(n, rows, len(queues), lambda c, free, q: pick(queues[c], free, q), exact=exact)


def feasible(scores: Sequence[Float], thr: float) -> int:
    """Return how many rows some capability can pick.

    Args:
        scores: (n,) of every capability.
        thr: rows must score more in one of them.
    """
    some = np.zeros(len(scores[0]) if scores else 0, bool)
    for score in scores:
        some |= score > thr
    return int(some.sum())

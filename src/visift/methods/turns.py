"""Targets that take turns, each the nearest item that nobody has taken before.

Whole lists of distances would be a number for every pair: only the nearest items of each target
are held, and more of them are looked up where they turn out to be too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from visift.numerics.neighbours import unit_rows
from visift.numerics.rounding import significant

IntArray = NDArray[np.int64]
Float = NDArray[np.float64]

#: Items of each target that are held at first, at least.
FEWEST = 64
_MORE = 4
#: Cosines smaller than this are what is left of sums that cancel out.
_ZERO = 1e-12


@dataclass(frozen=True, slots=True)
class Nearest:
    """Items by their cosine to targets.

    Attributes:
        blocks: the vectors of the n items from the first on, each time it is called.
        targets: (m, d) unit vectors.
        keys: (n,) what settles equal cosines.
        digits: significant digits of a cosine that count.
    """

    blocks: Callable[[], Iterable[NDArray[Any]]]
    targets: NDArray[Any]
    keys: NDArray[np.uint64]
    digits: int

    def cosines(self) -> Iterable[tuple[int, Float]]:
        """Yield (number of the first item, (b, m) cosines) of b items at a time."""
        wanted = self.targets.astype(np.float64).T
        start = 0
        with threadpool_limits(1, user_api="blas"):
            for block in self.blocks():
                cosines = unit_rows(block).astype(np.float64) @ wanted
                cosines[np.abs(cosines) <= _ZERO] = 0.0
                yield start, significant(cosines, self.digits)
                start += len(block)

    def largest(self) -> Float:
        """Return (n,) the cosine of each item to the nearest target."""
        return np.concatenate([cosines.max(axis=1) for _, cosines in self.cosines()])

    def lists(self, count: int) -> list[tuple[IntArray, Float]]:
        """Return, for each target, the `count` items of the highest cosine and these, in order."""
        held = [(np.empty(0, np.int64), np.empty(0)) for _ in self.targets]
        for start, cosines in self.cosines():
            for target, (items, best) in enumerate(held):
                column = cosines[:, target]
                worst = best[-1] if len(best) == count else -np.inf
                new = np.flatnonzero(column >= worst)
                if not len(new):
                    continue
                items = np.concatenate([items, start + new])
                best = np.concatenate([best, column[new]])
                order = np.lexsort((self.keys[items], -best))[:count]
                held[target] = items[order], best[order]
        return held


@dataclass(frozen=True, slots=True)
class Turns:
    """Items in the order in which they were taken.

    Attributes:
        items: (k,) their numbers.
        by: (k,) the target that took each.
        cosine: (k,) to it.
    """

    items: IntArray
    by: IntArray
    cosine: Float


def take_turns(nearest: Nearest, count: int) -> Turns:
    """Return the first `count` items that targets take in turn; at most all of them.

    Args:
        nearest: the items; targets take turns in the order in which they stand there.
        count: how many.
    """
    most, targets = len(nearest.keys), len(nearest.targets)
    held = min(max(FEWEST, _MORE * count // targets + 1), most)
    while True:
        found = _from_lists(nearest.lists(held), count)
        if found is not None:
            return found
        held = min(held * _MORE, most)


def _from_lists(lists: Sequence[tuple[IntArray, Float]], count: int) -> Turns | None:
    """Return the turns, None where a list ends before they do."""
    taken, items, by, cosine = set[int](), list[int](), list[int](), list[float]()
    queues = [list(zip(some.tolist(), near.tolist(), strict=True))[::-1] for some, near in lists]
    while len(items) < count:
        target = len(items) % len(queues)
        queue = queues[target]
        while queue and queue[-1][0] in taken:
            queue.pop()
        if not queue:
            return None
        item, near = queue.pop()
        taken.add(item)
        items.append(item)
        by.append(target)
        cosine.append(near)
    return Turns(np.array(items, np.int64), np.array(by, np.int64), np.array(cosine))

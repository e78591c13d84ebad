"""Holding selections against each other: overlap, agreement of ranks and scores, mix.

Records are known by content hash, the k-th identical one by its number, so selections from
reordered, renamed or converted pools compare.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from visift.comparing.comparison import Agreement, Comparison, Example, Mix, Pair, Part, Split
from visift.comparing.sides import Side
from visift.numerics.agreement import kendall, spearman
from visift.selection import NOT_SELECTED, SELECTED

IntArray = NDArray[np.int64]

MOST_EXAMPLES = 12
#: Below this share of the smaller pool two pools are other pools.
_SAME_POOL = 0.5


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A side with numbers for its records, the same in every side for the same record.

    Attributes:
        side: the side.
        chosen: (n,) in rank order.
        pool: (N,) in pool order; empty if the pool is not known.
    """

    side: Side
    chosen: IntArray
    pool: IntArray


def compare(sides: Sequence[Side]) -> Comparison:
    """Hold every two of some selections against each other.

    Args:
        sides: two or more, from `open_sides`.
    """
    keyed = _keyed(sides)
    pairs = [_pair(a, b) for a, b in itertools.combinations(keyed, 2)]
    mixes = [
        _mix(sides, kind)
        for kind, other in (("source", "task"), ("task", "source"))
        if any(side.chosen[kind].null_count < len(side) for side in sides)
        and (kind == "source" or any(not s.chosen[kind].equals(s.chosen[other]) for s in sides))
    ]
    return Comparison(tuple(sides), tuple(pairs), tuple(mixes), tuple(_notices(sides, pairs)))


# --- the same record in several tables ---------------------------------------------------------


def _keyed(sides: Sequence[Side]) -> list[_Keyed]:
    tables = [table for side in sides for table in (side.chosen, _pool(side))]
    hashes = pa.chunked_array([c for t in tables for c in t["content_hash"].chunks], pa.string())
    codes = hashes.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    size = int(codes.max(initial=0)) + 1
    ends = np.cumsum([table.num_rows for table in tables])
    found = np.split(codes, ends[:-1])
    return [
        _Keyed(
            side,
            found[2 * at] + size * copy_numbers(found[2 * at]),
            found[2 * at + 1] + size * copy_numbers(found[2 * at + 1], _chosen_first(side)),
        )
        for at, side in enumerate(sides)
    ]


def _pool(side: Side) -> pa.Table:
    return side.chosen.slice(0, 0) if side.pool is None else side.pool


def _chosen_first(side: Side) -> NDArray[np.bool_]:
    """Return (N,) False for chosen records, so that their copies are numbered before others."""
    if side.pool is None:
        return np.empty(0, bool)
    return np.asarray(pc.not_equal(side.pool["status"].fill_null(""), SELECTED))


def copy_numbers(codes: IntArray, later: NDArray[np.bool_] | None = None) -> IntArray:
    """Return 0 for the first record of a code, k for the k-th later one.

    Args:
        codes: (n,) equal for identical records.
        later: (n,) records to number after the others of their code.
    """
    order = np.argsort(codes, kind="stable") if later is None else np.lexsort((later, codes))
    run = np.flatnonzero(np.diff(codes[order], prepend=-1))
    starts = np.repeat(run, np.diff(run, append=len(codes)))
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - starts
    return numbers


# --- two selections ----------------------------------------------------------------------------


def _pair(a: _Keyed, b: _Keyed) -> Pair:
    common, rank_a, rank_b = np.intersect1d(
        a.chosen, b.chosen, assume_unique=True, return_indices=True
    )
    in_b, in_a = np.isin(a.chosen, common), np.isin(b.chosen, common)
    either = len(a.chosen) + len(b.chosen) - len(common)
    shared, expected, spread = _by_chance(a, b)
    return Pair(
        first=a.side.name,
        second=b.side.name,
        both=len(common),
        only_first=int((~in_b).sum()),
        only_second=int((~in_a).sum()),
        jaccard=len(common) / either if either else 0.0,
        expected=expected,
        spread=spread,
        shared=shared,
        ranks=Agreement(
            len(common),
            spearman(rank_a.astype(np.float64), rank_b.astype(np.float64)),
            kendall(rank_a.astype(np.float64), rank_b.astype(np.float64)),
        ),
        scores=_score_agreement(a, b),
        sources=_splits(a.side, in_b, b.side, in_a),
        left_out_by_second=_examples(a, in_b, b),
        left_out_by_first=_examples(b, in_a, a),
    )


def _by_chance(a: _Keyed, b: _Keyed) -> tuple[int | None, float | None, float | None]:
    """Return what both could choose from, and mean and deviation of a random overlap.

    Each of S shared records is in both with probability (n_a / N_a) (n_b / N_b). Where both choose
    from the same N records the overlap is hypergeometric.
    """
    if a.side.pool is None or b.side.pool is None:
        return None, None, None
    from_a, from_b = a.pool[a.side.offered()], b.pool[b.side.offered()]
    shared = len(np.intersect1d(from_a, from_b, assume_unique=True))
    if not shared:
        return 0, 0.0, None
    n, m = len(a.chosen), len(b.chosen)
    expected = shared * (n / len(from_a)) * (m / len(from_b))
    if not shared == len(from_a) == len(from_b) or shared < 2:
        return shared, expected, None
    variance = expected * (1 - n / shared) * (shared - m) / (shared - 1)
    return shared, expected, math.sqrt(max(variance, 0.0))


def _score_agreement(a: _Keyed, b: _Keyed) -> Agreement | None:
    """Compare scores over all records of both pools, or over the records in both selections."""
    whole = a.side.pool is not None and b.side.pool is not None
    keys = (a.pool, b.pool) if whole else (a.chosen, b.chosen)
    _, at_a, at_b = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    x, y = _goodness(a.side, whole)[at_a], _goodness(b.side, whole)[at_b]
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return None
    return Agreement(int(known.sum()), spearman(x[known], y[known]))


def _goodness(side: Side, whole: bool) -> NDArray[np.float64]:
    """Return the scores of a pool or of a selection, good ones high, NaN where there is none."""
    table = side.pool if whole and side.pool is not None else side.chosen
    score = np.asarray(table["score"].to_numpy(), np.float64)
    return -score if side.lowest_first else score


def _splits(a: Side, in_b: NDArray[np.bool_], b: Side, in_a: NDArray[np.bool_]) -> Sequence[Split]:
    sources_a, sources_b = _labels(a, "source"), _labels(b, "source")
    both = Counter(itertools.compress(sources_a, in_b.tolist()))
    only_a = Counter(itertools.compress(sources_a, (~in_b).tolist()))
    only_b = Counter(itertools.compress(sources_b, (~in_a).tolist()))
    names = dict.fromkeys([*only_a, *only_b, *both])
    splits = [Split(name, both[name], only_a[name], only_b[name]) for name in names]
    return tuple(
        sorted(splits, key=lambda split: (-split.only_first - split.only_second, split.source))
    )


def _labels(side: Side, kind: str) -> list[str]:
    return [str(name) for name in side.chosen[kind].fill_null(f"no {kind}").to_pylist()]


def _examples(a: _Keyed, in_b: NDArray[np.bool_], b: _Keyed) -> list[Example]:
    """Return the records that `a` ranks highest of those that `b` leaves out."""
    places = np.flatnonzero(~in_b)[:MOST_EXAMPLES]
    rows = a.side.chosen.take(pa.array(places)).to_pylist()
    return [
        Example(
            rank=int(place) + 1,
            uid=row["uid"],
            source=row["source"],
            score=row["score"],
            reason=row["reason"],
            there=_fate(b, int(a.chosen[place])),
        )
        for place, row in zip(places, rows, strict=True)
    ]


def _fate(side: _Keyed, key: int) -> str:
    """Return what became of a record in a selection that has not taken it."""
    if side.side.pool is None:
        return "not taken"
    place = np.flatnonzero(side.pool == key)
    if not len(place):
        return "not in its pool"
    row = side.side.pool.slice(int(place[0]), 1).to_pylist()[0]
    status, score = row["status"] or NOT_SELECTED, row["score"]
    has_score = status == NOT_SELECTED and score is not None and math.isfinite(score)
    return f"{status} (score {score:.4g})" if has_score else str(status)


# --- all selections ----------------------------------------------------------------------------


def _mix(sides: Sequence[Side], kind: str) -> Mix:
    counts = [Counter(_labels(side, kind)) for side in sides]
    known = next((side.pool for side in sides if side.pool is not None), None)
    pool = Counter(known[kind].fill_null(f"no {kind}").to_pylist()) if known is not None else None
    names = set().union(*counts, pool or ())
    parts = [
        Part(
            name=name,
            pool=None if pool is None else pool[name],
            chosen=tuple(count[name] for count in counts),
            shares=tuple(
                count[name] / len(side) for count, side in zip(counts, sides, strict=True)
            ),
        )
        for name in names
    ]
    return Mix(kind, sorted(parts, key=lambda p: (-(p.pool or 0), -sum(p.chosen), p.name)))


def _notices(sides: Sequence[Side], pairs: Sequence[Pair]) -> list[str]:
    found = [f"{side.name}: {side.warning}" for side in sides if side.warning]
    found += [
        f"{s.name} is a list: its order is taken for its ranks" for s in sides if not s.method
    ]
    found += [
        f"{side.name}: {side.left_out:,} of its entries are not in the pool and not counted"
        for side in sides
        if side.left_out
    ]
    found += [
        f"{a.name} and {b.name} order records by the same seed: where nothing else decides they "
        "take the same ones, more than two random selections would"
        for a, b in itertools.combinations(sides, 2)
        if a.seed is not None and a.seed == b.seed
    ]
    sizes = {side.name: int(side.offered().sum()) for side in sides}
    for pair in pairs:
        names, smaller = (
            f"{pair.first} and {pair.second}",
            min(sizes[pair.first], sizes[pair.second]),
        )
        if pair.shared == 0 or (pair.shared is None and not pair.both):
            found.append(
                f"{names} share no record at all: they come from different pools, or from copies "
                "of one pool whose texts or image paths differ"
            )
        elif pair.shared is not None and pair.shared < _SAME_POOL * smaller:
            found.append(
                f"{names} come from different pools, which share {pair.shared:,} records "
                f"(of {sizes[pair.first]:,} and {sizes[pair.second]:,}): read the figures with that"
            )
        elif pair.shared is not None and pair.shared < max(sizes[pair.first], sizes[pair.second]):
            found.append(
                f"{pair.first} could choose from {sizes[pair.first]:,} records, {pair.second} from "
                f"{sizes[pair.second]:,}; {pair.shared:,} of them are the same"
            )
    return found

"""The tables that mmSSR's report shows: agreement, labels, capabilities, styles, bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.annotate.capabilities import words
from visift.methods.mmssr_agreement import RatingAgreement, StyleAgreement
from visift.methods.mmssr_order import Order
from visift.methods.mmssr_ratings import Rated
from visift.methods.mmssr_sampling import OTHER, UNKNOWN, Bins
from visift.pool.pool import Pool

IntArray = NDArray[np.int64]

#: Bins that a table shows at each end; sources and styles that it shows.
_BINS, _SOURCES, _STYLES = 15, 7, 15


def tables_of(
    pool: Pool,
    rated: Rated,
    bins: Bins,
    order: Order,
    thr: float,
    agreement: tuple[Mapping[str, RatingAgreement], StyleAgreement | None],
    labelled: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return all tables.

    Args:
        pool: what rows refer to.
        rated: the rows that could be picked.
        bins: theirs.
        order: the selection.
        thr: rows rate more.
        agreement: of ratings, by capability, and of styles, with held-out labels.
        labelled: what became of labels, by what is counted.
    """
    tables = [*_agreement_tables(*agreement), *_labels(labelled)]
    tables += [_capabilities(rated, bins, order, thr), _mix(pool, rated, order)]
    return [*tables, _bins(bins, order)]


def _labels(labelled: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what became of labelled records, where any were asked for."""
    if not labelled:
        return []
    lines = [[words(what), f"{count:,}"] for what, count in labelled.items()]
    return [{"title": "Labels", "columns": ["labels", "records"], "rows": lines}]


def _agreement_tables(
    ratings: Mapping[str, RatingAgreement], styles: StyleAgreement | None
) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = []
    if ratings:
        chance = "by chance (always the most frequent rating)"
        lines = [_rating_line(words(key), one) for key, one in ratings.items()]
        if len(ratings) > 1:
            lines.append(_rating_line("all", _overall(list(ratings.values()))))
        tables.append(
            {
                "title": "Scorer against labels that it did not learn from",
                "columns": [
                    *("capability", "labels", "equal", chance, "at most 1 apart"),
                    *("that by chance", "rank correlation"),
                ],
                "rows": lines,
            }
        )
    if styles is not None:
        tables.append(
            {
                "title": "Styler against labels that it did not learn from",
                "columns": ["what", "styler", f"always “{styles.usual}”", "records"],
                "rows": [
                    ["F1 over all styles named", f"{styles.f1:.2f}", f"{styles.chance_f1:.2f}", ""],
                    [
                        "first style equal",
                        f"{styles.first:.0%}",
                        f"{styles.chance_first:.0%}",
                        f"{styles.count:,}",
                    ],
                ],
            }
        )
    return tables


def _rating_line(name: str, one: RatingAgreement) -> list[str]:
    return [
        name,
        f"{one.count:,}",
        f"{one.exact:.0%}",
        f"{one.chance_exact:.0%}",
        f"{one.near:.0%}",
        f"{one.chance_near:.0%}",
        "none" if np.isnan(one.spearman) else f"{one.spearman:.2f}",
    ]


def _overall(each: Sequence[RatingAgreement]) -> RatingAgreement:
    """Return the mean over capabilities by their labels; of rank correlations, the plain mean."""
    count = np.array([one.count for one in each])

    def mean(name: str) -> float:
        return float(np.average([getattr(one, name) for one in each], weights=count))

    ranks = [one.spearman for one in each if not np.isnan(one.spearman)]
    return RatingAgreement(
        int(count.sum()),
        mean("exact"),
        mean("near"),
        float(np.mean(ranks)) if ranks else float("nan"),
        float("nan"),
        mean("chance_exact"),
        mean("chance_near"),
    )


def _capabilities(rated: Rated, bins: Bins, order: Order, thr: float) -> dict[str, Any]:
    """Return what each capability could pick and picked, by first style."""
    sample, taken = order.sample, order.picks[order.picks >= 0]
    rows, of = sample.rows[taken], sample.capability[taken]
    lines = []
    for c, key in enumerate(rated.capabilities):
        mine = taken[of == c]
        score = rated.scores[c]
        lines.append(
            [
                words(key),
                f"{int((score > thr).sum()):,}",
                f"{len(mine):,}",
                f"{len(mine) / max(len(rows), 1):.1%}",
                f"{score[sample.rows[mine]].mean():.2f}" if len(mine) else "none",
                f"{len(np.unique(sample.bins[mine])):,} of {len(bins.names):,}",
                f"{int(sample.tied[mine].sum()):,}",
                f"{int(np.isnan(score).sum()):,}",
                "yes" if c in sample.exhausted else "",
            ]
        )
    return {
        "title": "Capabilities, in the order in which they picked",
        "columns": [
            *("capability", f"rated above {thr:g}", "picked", "of all picked"),
            *("rating of these, mean", "from bins", "in ties", "no rating", "ran out"),
        ],
        "rows": lines,
    }


def _mix(pool: Pool, rated: Rated, order: Order) -> dict[str, Any]:
    """Return rows of each first style by source, in the pool and of those picked."""
    groups = pool.groups("source")
    of = groups.of_row[rated.rows].astype(np.int64)
    names = [*groups.labels, UNKNOWN]
    of = np.where(of < 0, len(names) - 1, of)
    first = [labels[0] if labels else OTHER for labels in rated.styles]
    labels = sorted(set(first))
    number = np.array([labels.index(label) for label in first], np.int64)[rated.style]
    shown, lines = _largest(of, len(names), _SOURCES), _largest(number, len(labels), _STYLES)
    # What is not shown goes into one more row and column.
    cell = _places(shown, len(names))[of] + _places(lines, len(labels))[number] * (len(shown) + 1)
    chosen = order.sample.rows[order.picks[order.picks >= 0]]
    shape = (len(lines) + 1, len(shown) + 1)
    there, taken = (_table(one, shape) for one in (cell, cell[chosen]))
    columns = ["first style", "all sources", *(names[g] for g in shown), "other sources"]
    said = [
        [label, *(f"{n:,} → {k:,}" for n, k in zip(held, got, strict=True))]
        for label, held, got in zip(
            [*(labels[s] for s in lines), "other styles"], there, taken, strict=True
        )
    ]
    if not there[:, -1].any():
        columns, said = columns[:-1], [line[:-1] for line in said]
    if not there[-1].any():
        said = said[:-1]
    return {"title": "Style × source: records → picked", "columns": columns, "rows": said}


def _largest(of: IntArray, count: int, most: int) -> IntArray:
    """Return the largest of some groups that are not empty, large ones first."""
    sizes = np.bincount(of, minlength=count)
    order = np.argsort(-sizes, kind="stable")[:most]
    return order[sizes[order] > 0]


def _places(shown: IntArray, count: int) -> IntArray:
    """Return (count,) where each group is shown; those that are not share the place after."""
    places = np.full(count, len(shown), np.int64)
    places[shown] = np.arange(len(shown))
    return places


def _table(cell: IntArray, shape: tuple[int, int]) -> IntArray:
    """Return counts of cells, the sum of each row before them."""
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    return np.concatenate([counts.sum(axis=1, keepdims=True), counts], axis=1)


def _bins(bins: Bins, order: Order) -> dict[str, Any]:
    """Return how many rows bins have and gave, the smallest and the largest ones."""
    kinds = np.bincount(bins.kind, minlength=len(bins.of_kind))
    sizes = np.zeros(len(bins.names), np.int64)
    for number, held in zip(kinds.tolist(), bins.of_kind, strict=True):
        sizes[held[held >= 0]] += number
    picked = np.bincount(
        order.sample.bins[order.picks[order.picks >= 0]], minlength=len(bins.names)
    )
    by_size = np.argsort(sizes, kind="stable")
    if len(by_size) > 2 * _BINS:
        by_size = np.concatenate([by_size[:_BINS], by_size[-_BINS:]])
    lines = [
        [bins.names[b], f"{sizes[b]:,}", f"{picked[b]:,}", f"{picked[b] / sizes[b]:.1%}"]
        for b in by_size.tolist()
    ]
    some = "" if len(by_size) == len(bins.names) else f" ({_BINS} smallest and largest)"
    return {
        "title": f"{len(bins.names):,} bins, small ones are served first{some}",
        "columns": ["bin", "records", "picked from it", "of them"],
        "rows": lines,
    }

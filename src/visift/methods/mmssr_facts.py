"""What mmSSR says of its choice: a reason a row, tables, and when to doubt it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.methods.mmssr_agreement import RatingAgreement, StyleAgreement
from visift.methods.mmssr_order import Order
from visift.methods.mmssr_raters import Raters, Teacher
from visift.methods.mmssr_ratings import HIGHEST, Rated
from visift.methods.mmssr_sampling import UNKNOWN, Bins
from visift.methods.tables import few
from visift.pool.pool import Pool
from visift.signals.rating_replies import labels_of

IntArray = NDArray[np.int64]

NOT_MMSSR = "not mmSSR"
#: Bins, and sources, that a table shows at each end.
_BINS, _SOURCES = 15, 7

Agreement = tuple[dict[str, RatingAgreement], StyleAgreement | None]


def words(capability: str) -> str:
    """Return a key as it is spoken of."""
    return capability.replace("_", " ")


def reason_of(
    rated: Rated, bins: Bins, order: Order, untrained: Sequence[str]
) -> Callable[[int], str]:
    """Return what says why a pick is in, by its number in the sample."""
    picked = order.sample
    ending = f" ({NOT_MMSSR}: zero-shot)" if untrained else ""
    names = [words(key) for key in rated.capabilities]
    labels = [name.replace("+", " + ") for name in bins.names]

    def reason(at: int) -> str:
        c, row = int(picked.capability[at]), int(picked.rows[at])
        said = f"{names[c]} {rated.scores[c][row]:g} of {HIGHEST}"
        return f"{said}, style {labels[int(picked.bins[at])]}{ending}"

    return reason


def agreements(
    pool: Pool, raters: Raters, rated: Rated, vocabulary: Sequence[str] | None
) -> Agreement:
    """Compare ratings and styles with the labels of the rows that nothing learnt from."""
    ratings: dict[str, RatingAgreement] = {}
    styles = None
    place = np.full(len(pool), -1, np.int64)
    place[rated.rows] = np.arange(len(rated.rows))
    for teacher in raters.teachers:
        held = teacher.held[place[teacher.held] >= 0]
        mine, at = place[held], np.searchsorted(teacher.labels.rows, held)
        for key, scores in teacher.labels.scores.items():
            said = rated.scores[rated.capabilities.index(key)][mine]
            found = RatingAgreement.of(said, scores[at])
            if found is not None:
                ratings[key] = found
        if teacher.labels.styles:
            own = [rated.styles[number] for number in rated.style[mine].tolist()]
            styles = StyleAgreement.of(own, _teacher_styles(teacher, at, vocabulary))
    return ratings, styles


def _teacher_styles(
    teacher: Teacher, at: IntArray, vocabulary: Sequence[str] | None
) -> list[tuple[str, ...]]:
    said = (", ".join(teacher.labels.styles[number]) for number in at.tolist())
    return [labels_of(text, vocabulary) for text in said]


def mmssr_facts(
    pool: Pool,
    raters: Raters,
    rated: Rated,
    bins: Bins,
    order: Order,
    thr: float,
    agreement: Agreement,
) -> dict[str, Any]:
    """Return what report and manifest show.

    Args:
        pool: what rows refer to.
        raters: who rated.
        rated: the rows that could be picked.
        bins: theirs.
        order: the selection.
        thr: rows rate more.
        agreement: from `agreements`.
    """
    sample = order.sample
    taken = order.picks[order.picks >= 0]
    ratings, styles = agreement
    tables = [*_agreement_tables(ratings, styles), _capabilities(rated, bins, order, thr)]
    tables += [_mix(pool, rated, order), _bins(bins, order)]
    return {
        "direction": "in turn",
        "nested": False,
        "score": _score(raters),
        "not_mmssr": bool(raters.untrained),
        "tied_share": float(sample.tied[taken].mean()) if len(taken) else 0.0,
        "ran_out": [rated.capabilities[c] for c in sample.exhausted],
        "without_rating": rated.unrated(),
        "ratings_beyond_5": rated.beyond,
        "unknown_styles": rated.unknown_styles(),
        "without_style": rated.without_style(),
        "agreement": {
            "held_out_rows": sum(len(one.held) for one in raters.teachers),
            "ratings": {key: _plain(one) for key, one in ratings.items()},
            "styles": None if styles is None else asdict(styles),
        },
        "tables": tables,
        "notices": _notices(raters, rated, order, thr, agreement),
    }


def _plain(one: RatingAgreement) -> dict[str, float | None]:
    """Return numbers that JSON has a word for."""
    return {name: None if np.isnan(value) else value for name, value in asdict(one).items()}


def _score(raters: Raters) -> str:
    said = f"highest rating over the capabilities, 0 to {HIGHEST}"
    return f"{said} ({NOT_MMSSR}: zero-shot)" if raters.untrained else said


def _notices(
    raters: Raters, rated: Rated, order: Order, thr: float, agreement: Agreement
) -> list[str]:
    said = []
    if raters.untrained:
        whose = " and ".join(raters.untrained)
        said.append(
            f"{NOT_MMSSR[0].upper()}{NOT_MMSSR[1:]}: {whose} is a model that was asked as it is "
            "(zero-shot). Nobody trained it to rate, and no published result is about that."
        )
    sample, n = order.sample, max(int((order.picks >= 0).sum()), 1)
    tied = int(sample.tied[order.picks[order.picks >= 0]].sum())
    if tied:
        said.append(
            f"{tied / n:.0%} of the picks were decided inside ties: records left out were rated "
            "the same in the same bin."
        )
    if sample.exhausted:
        names = few([words(rated.capabilities[c]) for c in sample.exhausted])
        said.append(f"No record rated above {thr:g} was left for {names}: others picked instead.")
    lost = sum(rated.unrated().values())
    if lost:
        share = lost / max(len(rated.rows) * len(rated.capabilities), 1)
        said.append(
            f"{counted(lost, 'rating')} ({share:.1%}) missing, not readable or beyond 0 to "
            f"{HIGHEST}: these records can be picked through other capabilities only."
        )
    unknown = rated.unknown_styles()
    if unknown:
        said.append(f"{counted(unknown, 'record')} got a style that is none of the candidates.")
    unlearnt = sum(len(one.left_out()) for one in raters.trained)
    if unlearnt:
        said.append(f"Models could not be tuned on {counted(unlearnt, 'labelled record')}.")
    weak = [words(key) for key, one in agreement[0].items() if one.exact <= one.chance_exact < 1]
    if weak:
        said.append(
            f"The scorer agrees with held-out labels no better than always saying the most "
            f"frequent rating: {few(weak)}."
        )
    return said


# --- tables --------------------------------------------------------------------------------------


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
    sizes = np.bincount(of, minlength=len(names))
    shown = np.argsort(-sizes, kind="stable")[:_SOURCES]
    shown = shown[sizes[shown] > 0]
    first = [labels[0] if labels else "other" for labels in rated.styles]
    labels = sorted(set(first))
    number = np.array([labels.index(label) for label in first], np.int64)[rated.style]
    chosen = np.zeros(len(of), bool)
    chosen[order.sample.rows[order.picks[order.picks >= 0]]] = True
    lines = []
    for s, label in enumerate(labels):
        mine = number == s
        parts = [mine, *(mine & (of == g) for g in shown), mine & ~np.isin(of, shown)]
        lines.append([label, *(f"{int(m.sum()):,} → {int((m & chosen).sum()):,}" for m in parts)])
    columns = ["first style", "all sources", *(names[g] for g in shown), "other sources"]
    if len(shown) == int((sizes > 0).sum()):
        columns, lines = columns[:-1], [line[:-1] for line in lines]
    return {"title": "Style × source: records → picked", "columns": columns, "rows": lines}


def _bins(bins: Bins, order: Order) -> dict[str, Any]:
    """Return how many rows bins have and gave, the smallest and the largest ones."""
    held = bins.of_kind[bins.kind]
    sizes = np.bincount(held[held >= 0], minlength=len(bins.names))
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

"""What mmSSR says of its choice: a reason a row, tables, and when to doubt it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.annotate.capabilities import words
from visift.methods.mmssr_agreement import RatingAgreement, StyleAgreement
from visift.methods.mmssr_order import Order
from visift.methods.mmssr_raters import Raters, Teacher
from visift.methods.mmssr_ratings import HIGHEST, Rated
from visift.methods.mmssr_rule import Rule
from visift.methods.mmssr_sampling import Bins
from visift.methods.mmssr_tables import tables_of
from visift.methods.tables import few
from visift.pool.pool import Pool
from visift.signals.rating_replies import labels_of

IntArray = NDArray[np.int64]

NOT_MMSSR = "not mmSSR"
#: A training of fewer steps teaches little [ours].
_FEW_STEPS = 20

Agreement = tuple[dict[str, RatingAgreement], StyleAgreement | None]


def doubt(raters: Raters) -> str:
    """Return what stands behind reasons where nobody taught who rated."""
    return f" ({NOT_MMSSR}: zero-shot)" if raters.untrained else ""


def reason_of(rated: Rated, bins: Bins, order: Order, raters: Raters) -> Callable[[int], str]:
    """Return what says why a pick is in, by its number in the sample."""
    picked, ending = order.sample, doubt(raters)
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
    """Compare ratings and styles with the labels of the rows that nothing learnt from.

    Ratings that were handed in are none of a scorer, and what no capability needs is not rated.
    """
    asked = {key for one in raters.ratings if not one.handed_in for key in one.capabilities}
    ratings: dict[str, RatingAgreement] = {}
    styles = None
    place = np.full(len(pool), -1, np.int64)
    place[rated.rows] = np.arange(len(rated.rows))
    for teacher in raters.teachers:
        held = teacher.held[place[teacher.held] >= 0]
        mine, at = place[held], np.searchsorted(teacher.labels.rows, held)
        for key in (key for key in teacher.labels.scores if key in asked):
            said = rated.scores[rated.capabilities.index(key)][mine]
            found = RatingAgreement.of(said, teacher.labels.scores[key][at])
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
    rule: Rule,
    agreement: Agreement,
) -> dict[str, Any]:
    """Return what report and manifest show.

    Args:
        pool: what rows refer to.
        raters: who rated.
        rated: the rows that could be picked.
        bins: theirs.
        order: the selection.
        rule: how it was made.
        agreement: from `agreements`.
    """
    sample = order.sample
    taken = order.picks[order.picks >= 0]
    ratings, styles = agreement
    labelled = _labelled(raters)
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
            "held_out_rows": labelled.get("held_out", 0),
            "ratings": {key: _plain(one) for key, one in ratings.items()},
            "styles": None if styles is None else asdict(styles),
        },
        "labelled": labelled,
        "tables": tables_of(pool, rated, bins, order, rule.thr, agreement, labelled),
        "notices": [
            *_doubts(raters),
            *_rule_notices(rated, order, rule),
            *_label_notices(raters, labelled, agreement),
        ],
    }


def _plain(one: RatingAgreement) -> dict[str, float | None]:
    """Return numbers that JSON has a word for."""
    return {name: None if np.isnan(value) else value for name, value in asdict(one).items()}


def _labelled(raters: Raters) -> dict[str, int]:
    """Count labelled records, each once, by what became of them; nothing where none were asked."""
    if not raters.teachers:
        return {}
    everything = _union(one.labels.rows.tolist() for one in raters.teachers)
    learnt_from = _union(one.learnt.tolist() for one in raters.teachers)
    candidates = _union(one.rows.tolist() for one in raters.teachers)
    unlearnt = _union(one.tuned.left_out() for one in raters.learners)
    return {
        "labelled": len(everything),
        "learnt_from": len(learnt_from),
        "held_out": len(candidates - learnt_from),
        "cannot_be_chosen": len(everything - candidates),
        "could_not_be_tuned_on": len(unlearnt),
    }


def _union(some: Iterable[Iterable[int]]) -> set[int]:
    return set[int]().union(*some)


def _score(raters: Raters) -> str:
    return f"highest rating over the capabilities, 0 to {HIGHEST}{doubt(raters)}"


def _doubts(raters: Raters) -> Iterator[str]:
    """Say that nobody taught who rated."""
    if raters.untrained:
        whose = " and ".join(raters.untrained)
        yield (
            f"{NOT_MMSSR[0].upper()}{NOT_MMSSR[1:]}: {whose} is a model that was asked as it is "
            "(zero-shot). Nobody trained it to rate, and no published result is about that."
        )
    if raters.untaught:
        yield (
            f"Never taught: {few([words(key) for key in raters.untaught])}. A zero-shot scorer "
            "learns no capability that is added."
        )


def _rule_notices(rated: Rated, order: Order, rule: Rule) -> Iterator[str]:
    """Say where the rule had little to go by."""
    sample, n = order.sample, max(int((order.picks >= 0).sum()), 1)
    tied = int(sample.tied[order.picks[order.picks >= 0]].sum())
    if tied:
        yield (
            f"{tied / n:.0%} of the picks were decided inside ties: records left out were rated "
            "the same in the same bin."
        )
    if sample.exhausted:
        names = few([words(rated.capabilities[c]) for c in sample.exhausted])
        yield f"No record rated above {rule.thr:g} was left for {names}: others picked instead."
    lost = sum(rated.unrated().values())
    if lost:
        share = lost / max(len(rated.rows) * len(rated.capabilities), 1)
        yield (
            f"{counted(lost, 'rating')} ({share:.1%}) missing, not readable or no whole number "
            f"from 0 to {HIGHEST}: these records can be picked through other capabilities only."
        )
    unknown = rated.unknown_styles()
    if unknown:
        yield f"{counted(unknown, 'record')} got a style that is none of the candidates."
    if rule.official and (rule.by_expectation or rule.tie != "expectation"):
        yield "Not used: score and tie. compat=official sorts whole ratings as pandas does."


def _label_notices(
    raters: Raters, labelled: Mapping[str, int], agreement: Agreement
) -> Iterator[str]:
    """Say where little was learnt, and where nothing shows how much."""
    unlearnt, beside = (
        labelled.get(what, 0) for what in ("could_not_be_tuned_on", "cannot_be_chosen")
    )
    if unlearnt:
        yield f"Models could not be tuned on {counted(unlearnt, 'labelled record')}."
    if beside:
        yield (
            f"Not learnt from: {counted(beside, 'labelled record')} that cannot be chosen "
            "(text-only, kept or failed)."
        )
    for one in raters.learners:
        count, steps = one.training
        if steps < _FEW_STEPS:
            yield (
                f"The {one.name} was tuned for {counted(steps, 'step')} only "
                f"({counted(count, 'example')}): more labels (--set labelled=…) teach it more, or "
                f"more and smaller steps (--set {one.setting}=epochs:…,batch_size:…)."
            )
    yield from _checks(raters, *agreement)


def _checks(
    raters: Raters, ratings: Mapping[str, RatingAgreement], styles: StyleAgreement | None
) -> Iterator[str]:
    """Say who is no better than chance, and whom no label was left to check."""
    weak = [words(key) for key, one in ratings.items() if one.exact <= one.chance_exact < 1]
    if weak:
        yield (
            "The scorer agrees with held-out labels no better than always saying the most "
            f"frequent rating: {few(weak)}."
        )
    if styles is not None and styles.first <= styles.chance_first < 1:
        yield (
            "The styler names the first style of held-out records no better than always saying "
            f"“{styles.usual}”."
        )
    found = {"styler"} if styles is not None else set()
    found |= {"scorer"} if ratings else set()
    unchecked = [one.name for one in raters.learners if one.name.partition(" ")[0] not in found]
    if unchecked:
        yield (
            f"No label was left to check {' and '.join(f'the {name}' for name in unchecked)}: "
            "nothing shows what was learnt (--set held_out=…, or more labels)."
        )

"""mmSSR's rule on as many rows as its paper has, and that it is the plain form on a few."""

from __future__ import annotations

import resource
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.reference import mmssr as printed

from benchmarks.harness import in_fresh_process
from benchmarks.table import Line
from visift.methods.mmssr_sampling import Bins, Queue, Sample, ranked, sample_queues

ROWS, QUICK_ROWS, PLAIN_ROWS = 2_600_000, 20_000, 2_000
CAPABILITIES, STYLES, SOURCES = 14, 9, 90
SHARE = 10
#: Shares of the ratings 0 to 5, made up: most records train a capability little.
RATINGS = (0.3, 0.15, 0.15, 0.15, 0.15, 0.1)
LIMIT_SECONDS, LIMIT_BYTES = 60, 4 << 30


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; the limits are those of a whole process."""
    rows = QUICK_ROWS if quick else ROWS
    size = f"{rows:,} rows, {CAPABILITIES} capabilities, {STYLES * SOURCES} bins, {100 // SHARE} %"
    for refined, what in ((False, "content keys settle ties"), (True, "expectations do")):
        done = in_fresh_process(sampled, rows, refined)
        picked, tied, memory = done.value
        within = done.seconds < LIMIT_SECONDS and memory < LIMIT_BYTES
        limits = f"{'within' if within else 'BEYOND'} a minute and 4 GiB ({memory / 2**30:.1f})"
        said = f"{picked:,} picked, {tied:.0%} in ties"
        off = float(picked - rows // SHARE)
        yield Line.of(f"ratings: {what} ({size})", done, limits, said, off)
    plain = in_fresh_process(differences, PLAIN_ROWS)
    yield Line.of(
        f"ratings: the plain form, {PLAIN_ROWS:,} rows",
        plain,
        "",
        f"{plain.value} picks differ",
        float(plain.value),
    )


def sampled(rows: int, refined: bool) -> Generator[None, None, Any]:
    """As a job: everything from ratings to the selection; returns the whole process's peak, too."""
    scores, bins, place, more = made(rows)
    yield
    found = selected(scores, bins, place, more if refined else None)
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return len(found.rows), float(found.tied.mean()), peak


def differences(rows: int) -> Generator[None, None, Any]:
    """As a job: count the picks that differ from the plain form's."""
    scores, bins, place, _ = made(rows)
    yield
    found = selected(scores, bins, place, None)
    labels = [[bins.names[b] for b in kind if b >= 0] for kind in bins.of_kind[bins.kind]]
    key = np.argsort(place).tolist()
    plain = [[None if np.isnan(s) else s for s in score.tolist()] for score in scores]
    wanted = printed.select(plain, labels, rows // SHARE, key=key)[: rows // SHARE]
    yield
    got = zip(found.rows.tolist(), found.capability.tolist(), found.bins.tolist(), strict=True)
    return sum((row, c, bins.names[b]) != one for (row, c, b), one in zip(got, wanted, strict=True))


def made(
    rows: int,
) -> tuple[list[NDArray[np.float32]], Bins, NDArray[np.int64], list[NDArray[np.float32]]]:
    """Return ratings with gaps, styles and sources of very different sizes, keys, expectations."""
    chance = np.random.default_rng(0)
    scores = []
    for _ in range(CAPABILITIES):
        score = chance.choice(6, rows, p=RATINGS).astype(np.float32)
        score[chance.random(rows) < 0.01] = np.nan
        scores.append(score)
    more = [score + chance.normal(0, 0.2, rows).astype(np.float32) for score in scores]
    styles = [(f"s{a}",) for a in range(STYLES)]
    styles += [(f"s{a}", f"s{b}") for a in range(STYLES) for b in range(STYLES) if a != b]
    style = np.where(
        chance.random(rows) < 0.7,
        chance.integers(0, STYLES, rows),
        chance.integers(0, len(styles), rows),
    )
    falling = 1 / np.arange(1, SOURCES + 1) ** 1.2
    source = chance.choice(SOURCES, rows, p=falling / falling.sum())
    bins = Bins.of(styles, style, [f"source {n}" for n in range(SOURCES)], source)
    return scores, bins, chance.permutation(rows), more


def selected(
    scores: list[NDArray[np.float32]],
    bins: Bins,
    place: NDArray[np.int64],
    more: list[NDArray[np.float32]] | None,
) -> Sample:
    """Return what the rule picks."""
    before = [None] * len(scores) if more is None else more
    queues = [
        Queue.of(bins, *ranked(score, 0, place, one))
        for score, one in zip(scores, before, strict=True)
    ]
    return sample_queues(len(place) // SHARE, len(place), queues)

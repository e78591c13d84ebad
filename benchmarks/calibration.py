"""Is the verdict of `visift validate` to be trusted? `python -m benchmarks.calibration`.

Real trainings of `builtin:tiny` on a demo pool in which three of ten answers are wrong, judged
by the same code as a validation:

- random against random, disjoint: of 100 pairs at most 9 may come out better or worse;
- sound records, all tasks alike, against random: better in at least 16 of 20 replicates;
- misleading records and the commonest task against random: worse in at least 16 of 20.

How a pair is made of trainings is said in `benchmarks.calibration_arms`. A replicate holds five
draws of its own against all ten random ones of a partition, so that replicates share no training
either.
Killed at any moment, the same command goes on where it was; answers are kept inside --data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine
from benchmarks.calibration_arms import (
    INVERSE,
    NULL,
    ORACLE,
    Contest,
    Part,
    contests,
    full,
    inverse,
    oracle,
    partitioned,
)
from benchmarks.calibration_pool import Known, known_pool
from visift.config import EngineConfig
from visift.engine.executor import Executor
from visift.models.ref import ModelRef
from visift.staff import staffing
from visift.training.recipe import Recipe, read_recipe
from visift.validate.arms import FULL
from visift.validate.evaluation import Evaluation, Sheet
from visift.validate.judging import MAJORITY, Scored, results_of
from visift.validate.running import Bench, read_answers, run_trials
from visift.validate.standing import check_tasks
from visift.validate.verdict import Verdict, verdicts

MODEL = ModelRef("builtin:tiny", device="cpu")
#: Of so many comparisons, a share must come out as said.
MOST_FALSE, LEAST_FOUND = 9 / 100, 16 / 20


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Attributes:
        records: of the demo pool.
        held: records a task that are held out at most.
        part: records of a training.
        partitions: of the pool, and replicates of the others.
        recipe: as written.
    """

    records: int = 6000
    held: int = 80
    part: int = 300
    partitions: int = 20
    recipe: str = "tiny,epochs:2,batch_size:8,micro_batch:8"

    def recipe_read(self) -> Recipe:
        """Return how models are trained."""
        return read_recipe(self.recipe, MODEL)


#: Enough to go through everything once; too little for any figure.
QUICK = Size(records=600, held=6, part=30, partitions=1, recipe="tiny,epochs:1")


@dataclass(slots=True)
class Told:
    """Says how far the trainings are; see `running.TrialProgress`."""

    total: int = 0
    done: int = 0
    before: int = 0
    started: float = 0.0

    def begin_trials(self, total: int, done: int) -> None:
        """See `TrialProgress`."""
        self.total, self.done, self.before, self.started = total, done, done, time.monotonic()
        print(f"{total} models to train and ask, {done} of them done before", file=sys.stderr)

    def trial_done(self) -> None:
        """See `TrialProgress`."""
        self.done += 1
        each = (time.monotonic() - self.started) / (self.done - self.before)
        left = each * (self.total - self.done) / 60
        print(f"{self.done} of {self.total}, {left:.0f} min left", file=sys.stderr, flush=True)

    def end_trials(self) -> None:
        """See `TrialProgress`."""


def main() -> None:
    """Train, judge, print; a file beside the data holds every verdict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one partition of a small pool")
    parser.add_argument("--partitions", type=int, help=f"default: {Size().partitions}")
    parser.add_argument("--workers", default="auto", help="processes side by side")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--data", type=Path, default=Path("bench-data"), help="generated files")
    given = parser.parse_args()
    size = QUICK if given.quick else Size()
    if given.partitions is not None:
        size = replace(size, partitions=given.partitions)
    folder = given.data / f"calibration-{size.records}"
    folder.mkdir(parents=True, exist_ok=True)
    found = calibrate(folder, size, given.workers)
    text = json.dumps(found, indent=1)
    (folder / "calibration.json").write_text(f"{text}\n", encoding="utf-8")
    print(text if given.json else as_text(found))


def calibrate(folder: Path, size: Size, workers: str) -> dict[str, Any]:
    """Return what came out, as plain data.

    Args:
        folder: of the pool and of everything that is kept.
        size: how much to do.
        workers: see `EngineConfig`.
    """
    began = time.monotonic()
    known = known_pool(folder, size.records, size.held)
    sheet = Sheet.of(known.questions, Evaluation().turns)
    parts = [part for number in range(size.partitions) for part in _parts(known, number, size)]
    recipe = size.recipe_read()
    everything = full(known, recipe)
    trials = [*everything, *(part.trial(recipe) for part in parts)]
    bench, executor = _bench(known, sheet, folder / "cache", workers, len(trials))
    run_trials(bench, trials, executor, Told(), frozenset())
    scored = [Scored.of(sheet, one) for one in read_answers(bench, trials)]
    counting = _counting(sheet, scored[: len(everything)])
    of_part = dict(zip(map(_key, parts), scored[len(everything) :], strict=True))
    judged = [
        (contest.what, _judged(contest, sheet, counting, known.shares))
        for number in range(size.partitions)
        for contest in contests(number, of_part)
    ]
    return {
        "machine": machine(),
        "seconds": round(time.monotonic() - began, 1),
        "trainings": len(trials),
        "records": {"pool": len(known.rows), "arm": size.part},
        "recipe": size.recipe,
        "questions": len(sheet),
        "counting": counting,
        "summary": [summary(what, judged) for what in (NULL, ORACLE, INVERSE)],
        "verdicts": [{"contest": what, **_facts(verdict)} for what, verdict in judged],
    }


def _parts(known: Known, number: int, size: Size) -> Iterator[Part]:
    yield from partitioned(known.rows, number, size.part)
    yield from oracle(known, number, size.part)
    yield from inverse(known, number, size.part)


def _key(part: Part) -> tuple[str, int, int]:
    return part.name, part.partition, part.draw


def _bench(
    known: Known, sheet: Sheet, cache: Path, workers: str, trials: int
) -> tuple[Bench, Executor]:
    """Return what all trials have in common, and who carries them out."""
    devices, executor = staffing(EngineConfig(cache=str(cache), workers=workers), MODEL)
    turns = int(sheet.places[:, 1].max()) + 1
    bench = Bench(
        pool=known.pool,
        questions=known.questions,
        model=MODEL,
        evaluation=replace(Evaluation(), turns=turns),
        cache=cache,
        asking_cache=cache,
        devices=tuple(devices()),
    )
    return bench, executor(trials)


# --- judging -------------------------------------------------------------------------------------


def _counting(sheet: Sheet, everything: Sequence[Scored]) -> list[str]:
    """Return the tasks that count, by the full arm alone."""
    checks = check_tasks(results_of(sheet, everything), FULL, MAJORITY)
    return [check.task for check in checks if check.counts]


def _judged(
    contest: Contest, sheet: Sheet, counting: Sequence[str], shares: Mapping[str, int]
) -> Verdict | None:
    """Return the verdict, as a validation with one method comes to it; None if no task counts."""
    if not counting:
        return None
    results = results_of(sheet, contest.models).only(counting)
    return verdicts(results, [contest.method], contest.control, shares=shares)[0]


# --- what is shown -------------------------------------------------------------------------------


def summary(what: str, judged: Sequence[tuple[str, Verdict | None]]) -> dict[str, Any]:
    """Return how often each word was said in one kind of contest, and whether that is as required.

    Args:
        what: the kind.
        judged: kind and verdict of every contest.
    """
    words = Counter(_word(verdict) for kind, verdict in judged if kind == what)
    count = words.total()
    if what == NULL:
        rule = f"better or worse in at most {MOST_FALSE:.0%}"
        kept = words["better"] + words["worse"] <= MOST_FALSE * count
    else:
        wanted = "better" if what == ORACLE else "worse"
        rule = f"{wanted} in at least {LEAST_FOUND:.0%}"
        kept = words[wanted] >= LEAST_FOUND * count
    said = {word: words[word] for word in ("better", "no evidence", "worse")}
    return {"contest": what, "count": count, **said, "rule": rule, "kept": kept}


def _word(verdict: Verdict | None) -> str:
    return "no evidence" if verdict is None else verdict.word


def _facts(verdict: Verdict | None) -> dict[str, Any]:
    return {"verdict": _word(verdict)} if verdict is None else verdict.facts()


def as_text(found: Mapping[str, Any]) -> str:
    """Return what came out as text, with a table in Markdown."""
    records = found["records"]
    lines = [
        f"{found['machine']}: {found['trainings']} trainings, {found['seconds']:,.0f} s this time",
        f"{records['arm']} of {records['pool']:,} records a training, {found['recipe']}; "
        f"{found['questions']} questions",
        f"tasks that count: {', '.join(found['counting']) or 'none'}",
        "",
        "| contest | count | better | no evidence | worse | rule | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = ("contest", "count", "better", "no evidence", "worse", "rule")
    for one in found["summary"]:
        cells = [*(str(one[name]) for name in columns), "yes" if one["kept"] else "NO"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Pool, questions and labs of a validation: what its steps work with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from visift.amounts import counted
from visift.config import RunConfig
from visift.engine.executor import Executor
from visift.engine.lab import Examples, LocalLab
from visift.engine.progress import Progress
from visift.errors import InputError
from visift.files import disk_errors
from visift.pool.annotations import Annotations
from visift.pool.disjoint import must_be_disjoint
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.run import lab_for
from visift.say import Say
from visift.signals.hashes import ImageHash
from visift.signals.imported import Imported, SignalFile
from visift.staff import cache_folder, staffing
from visift.unusable import Quarantine
from visift.validate.ahead import models_of, train_ahead
from visift.validate.arms import Ground
from visift.validate.choosing import Clock
from visift.validate.decontamination import Contamination, find_contamination
from visift.validate.evaluation import Sheet
from visift.validate.gathering import Gathered, gather
from visift.validate.request import Request
from visift.validate.running import Bench, TrialProgress
from visift.validate.splitting import HELD_OUT, Questions, hold_out, tasks_of
from visift.wanted import open_labels

SECONDS = "seconds.json"
CONTAMINATION = "contamination.parquet"
_SHOWN = 5


class LoopProgress(Progress, TrialProgress, Protocol):
    """Told how measuring, training and asking go on."""

    def begin_models(self, total: int) -> None:
        """So many models that methods measure with are trained; `trial_done` after each."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """Pool, questions and labs of a validation.

    Attributes:
        request: the validation.
        run: the same as far as a selection needs it.
        pool: what is chosen from.
        questions: what is asked, before any of it is left out.
        output: folder for what is written.
        progress: told how measuring goes on.
        imported: numbers measured elsewhere.
        teacher: labels of records.
        labs: those that were made for methods.
        notices: what a reader should know of all budgets.
    """

    request: Request
    run: RunConfig
    pool: Pool
    questions: Questions
    output: Path
    progress: LoopProgress
    imported: Imported
    teacher: TeacherLabels
    labs: list[LocalLab] = field(default_factory=list)
    notices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, request: Request, run: RunConfig, opened: Pool, output: Path, progress: LoopProgress
    ) -> Setting:
        """Open what is asked about, or hold it out of the pool."""
        if opened.unannotated.any():
            raise InputError(
                f"{counted(int(opened.unannotated.sum()), 'record')} of the pool have no "
                "conversation, so that no model can be tuned on them.",
                fix="Have them annotated first: visift annotate",
            )
        imported = Imported(tuple(SignalFile.open(path) for path in run.signals))
        teacher = open_labels(opened, request.labels, output)
        rest = (output, progress, imported, teacher)
        if not request.questions:
            asked = hold_out(opened, request.share, request.most, request.seed)
            pool = opened.without(dict.fromkeys(asked.rows.tolist(), HELD_OUT))
            return cls(request, run, pool, asked, *rest)
        named = replace(
            request.pool,
            files=request.questions,
            image_folder=request.question_images,
            keep=(),
            have=(),
            target=(),
        )
        asking = named.open()
        rows = asking.rows("candidate")
        rows = rows[~asking.unannotated[rows]]
        if not len(rows):
            raise InputError("holds no question.", where=", ".join(request.questions))
        must_be_disjoint(opened, np.flatnonzero(opened.has_role("target")), asking)
        return cls(request, run, opened, Questions.of(asking, rows), *rest)

    @property
    def shares(self) -> Mapping[str, int] | None:
        """Candidates of every task, what is held out among them; None where others are asked about.

        All questions together are to stand for the pool: of a large task, fewer are held out.
        """
        if self.request.questions:
            return None
        there = tasks_of(self.pool, self.pool.rows("candidate"))
        return Counter(there) + Counter(self.questions.tasks)

    def readable(self, say: Say) -> Setting:
        """Return the setting without the candidates that show an image which cannot be decoded.

        Methods that measure would set them aside and take others, and controls would lose them
        only in training: so that all arms choose from the same records, they are decoded now.

        Raises:
            TooManyUnusable: more of them than is allowed.
        """
        rows = self.pool.rows("candidate")
        shown = rows[np.diff(self.pool.images.offsets)[rows] > 0]
        if not len(shown):
            return self
        values = self._plain_lab(self.pool).measure(ImageHash(), Examples(shown))
        bad = shown[~values.ok(shown)]
        if not len(bad):
            return self
        reasons = (str(why) for why in values.reasons(bad))
        lost = Quarantine(dict(zip(bad.tolist(), reasons, strict=True)))
        both = Quarantine.of(self.pool.set_aside(), lost.reasons)
        both.check(self.pool, self.request.allowed, "What is measured is kept.")
        say("Set aside", lost.summary())
        notice = f"set aside before anything was chosen: {lost.summary()}"
        pool = self.pool.without(lost.reasons)
        return replace(self, pool=pool, notices=(*self.notices, notice))

    def lab(self) -> LocalLab:
        """Return a lab for one method."""
        given = (self.imported, self.progress, Annotations(), self.teacher)
        lab = lab_for(self.run, self.pool, *given)
        self.labs.append(lab)
        return lab

    def _plain_lab(self, pool: Pool) -> LocalLab:
        devices, executor = staffing(self.run.engine, self.run.model)
        cache = cache_folder(self.run.engine, pool)
        return LocalLab(pool, cache, devices, executor, progress=self.progress)

    def asked(self, say: Say) -> tuple[Questions, Contamination]:
        """Return the questions that count, and those that stand in the pool."""
        asked = self.questions
        roles = [self.pool.rows(role) for role in ("kept", "candidate", "target")]
        there, free = np.concatenate(roles), len(roles[0]) + len(roles[1])
        tasks = len(set(asked.tasks))
        groups = len(np.unique(asked.groups))
        label = "Questions" if self.request.questions else "Held out"
        say(
            label,
            f"{counted(len(asked), 'record')} of {counted(tasks, 'task')} in "
            f"{counted(groups, 'image group')}; {free:,} are left to choose from",
        )
        silent = sorted(set(self.shares or ()) - set(asked.tasks))
        if silent:
            few = "their records are too few, or share their images with too many"
            say(
                "Note",
                f"nothing is asked about {counted(len(silent), 'task')} ({few}): {_named(silent)}",
            )
        labs = self._plain_lab(asked.pool), self._plain_lab(self.pool)
        met = find_contamination(labs[0], asked, labs[1], there, self.request.near_bits)
        path = self.output / CONTAMINATION
        with disk_errors(path):
            pq.write_table(met.table(asked.pool, self.pool), path)
        if not met.meetings:
            say("Met", "none of them stands in the pool, by its bytes or nearly")
            return asked, met
        stay = "they count all the same" if self.request.keep_contaminated else "they are not asked"
        say("Met", f"{met.summary()} of them stand in the pool: {stay} → {path}")
        if self.request.keep_contaminated:
            return asked, met
        left = asked.without(met.rows)
        if not len(left):
            raise InputError(
                "all questions stand in the pool.",
                where=str(path),
                fix="Ask others: --eval FILE; or count them all the same: --keep-contaminated",
            )
        return left, met

    def train_ahead(self) -> None:
        """Train what methods measure with side by side, where that is faster: on several cores.

        Raises:
            VisiftError: one of them cannot be trained, or a method cannot choose from this pool.
        """
        lab = self.lab()
        if self.run.engine.executor == "ray" or lab.devices()[0] != "cpu":
            return
        if getattr(lab.executor(2), "workers", 1) < 2:
            return
        grounds = [Ground.of(self.pool, budget) for budget in self.request.budgets]
        trainings = models_of(self.request, grounds, lab)
        if len(trainings) < 2:
            return
        self.progress.begin_models(len(trainings))
        try:
            train_ahead(trainings, lab.executor, self.progress.trial_done)
        finally:
            self.progress.end_trials()

    def gathered(self, budget: str, say: Say) -> Gathered:
        """Draw the arms of a budget."""
        ground = Ground.of(self.pool, budget)
        text = f", {ground.text:,} of them text-only" if ground.text else ""
        say("Budget", f"{budget}: {counted(ground.size, 'record')} in every arm{text}")
        clock = Clock.open(self.output / SECONDS)
        found = gather(self.request, ground, self.lab, clock, say)
        found.notices += self.notices
        return found

    def bench(self, asked: Questions, sheet: Sheet, trials: int) -> tuple[Bench, Executor]:
        """Return what all trials have in common, and who carries them out."""
        base, engine = self.request.base, self.run.engine
        assert base is not None, "checked before"
        here = engine if engine.executor != "ray" else replace(engine, executor="processes")
        devices, executor = staffing(here, base)
        turns = int(sheet.places[:, 1].max(initial=0)) + 1
        recipe = self.request.training(0)
        bench = Bench(
            pool=self.pool,
            questions=asked,
            model=base,
            evaluation=replace(self.request.evaluation, turns=turns, max_tokens=recipe.max_tokens),
            cache=cache_folder(engine, self.pool),
            asking_cache=cache_folder(engine, asked.pool),
            devices=tuple(devices()),
        )
        return bench, executor(trials)

    def used_elsewhere(self) -> frozenset[str]:
        """Return the paths of the checkpoints that methods measure with."""
        trainings = (training for lab in self.labs for training in lab.trainings)
        return frozenset(str(training.tuned.path) for training in trainings)


def _named(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
    return ", ".join(tasks[:_SHOWN]) + more

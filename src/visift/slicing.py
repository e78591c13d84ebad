"""One slice of a run: what it would measure is shared out, and nothing is chosen or written."""

from __future__ import annotations

from pathlib import Path

from visift.config import RunConfig
from visift.engine.progress import Progress
from visift.engine.slices import Slice, SliceMeasured, measure_slice
from visift.pool.annotations import Annotations
from visift.pool.labelled import TeacherLabels
from visift.run import counted_budget, lab_for, understand
from visift.say import Say, say_plan, say_pool
from visift.thinning import thinned
from visift.unusable import Quarantine


def execute_slice(config: RunConfig, part: Slice, say: Say, progress: Progress) -> SliceMeasured:
    """Measure one slice of what a run needs; the run itself then finds everything stored.

    No run directory is begun, so that any number of slices may be measured at once.

    Args:
        config: the run.
        part: the slice.
        say: called with (label, text) for every line a person would want to read.
        progress: told how measuring goes on.

    Raises:
        VisiftError: what `visift.run.execute` raises before it chooses.
    """
    config = config.checked()
    asked = understand(config, Path())
    pool = config.pool.open()
    say_pool(say, pool)
    Quarantine.of(pool.set_aside()).check(pool, asked.allowed, "Nothing was measured yet.")
    teacher = TeacherLabels.open(pool, [Path(one) for one in config.labels], handed_in=True)
    lab = lab_for(config, pool, asked.imported, progress, Annotations(), teacher)
    pool = thinned(pool, lab, config.near_duplicates, config.seed, say)
    budget, _ = counted_budget(say, pool, lab, config.model, asked.budget)
    asked.method.measure(pool, lab, budget)
    say_plan(say, lab)
    return measure_slice(lab, part)

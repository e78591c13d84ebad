"""The process that trains: `python -m visift.training.worker FOLDER`, under accelerate or alone.

The folder holds a `Job`. Standard output carries one JSON object a line: steps, and an error that
is the user's to mend. Standard error is a log. The process ends when its standard input does: then
whoever started it is gone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visift.errors import TrainingError, VisiftError
from visift.files import write_atomically
from visift.models.devices import needs_models
from visift.pool.pool import Pool
from visift.training.job import RESULT, Example, Job, Outcome, Step, write_outcome
from visift.training.order import passes_of, steps_of
from visift.training.tuned import OUTCOME

if TYPE_CHECKING:
    from visift.training.data import Look, Reader
    from visift.training.trainer import Tuner
    from visift.training.weights import Trained

Tell = Callable[[dict[str, Any]], None]

_LOOKED_AT = "looked_at.json"
_WAIT_SECONDS = 0.2


def main() -> None:
    """Do the job in the folder that is named; exit code 1 for what the user can mend."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell = _teller()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    try:
        train(folder, lambda step: tell(asdict(step)))
    except Exception as error:
        traceback.print_exc()
        known = _of_the_user(error, folder)
        if known is None:
            sys.exit(2)
        tell({"error": {"what": known.what, "where": known.where, "fix": known.fix}})
        sys.exit(1)


def _of_the_user(error: Exception, folder: Path) -> VisiftError | None:
    """Return what the user can do something about, None for what is our fault."""
    if isinstance(error, VisiftError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "Free some space and run the same command again: it goes on where it was."
        return TrainingError("the disk is full.", where=str(folder), fix=fix)
    if "out of memory" in str(error).lower():
        fix = "Choose a smaller micro_batch in the recipe, or a smaller max_tokens."
        return TrainingError("the memory of the device is full.", fix=fix)
    return None


def _teller() -> Tell:
    """Return what writes to the standard output that was; libraries write into the log instead."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    return tell


def _end_with_parent() -> None:
    while os.read(0, 1):  # not through `sys.stdin`, whose lock would be held at the end
        pass
    os._exit(1)


def train(folder: Path, hear: Callable[[Step], None]) -> None:
    """Train as a job says, from its last checkpoint on, and leave the model in `RESULT`.

    Raises:
        TrainingError: the pool changed, nothing can be trained on, or the loss is no number.
    """
    job = Job.read(folder)
    with needs_models():
        from visift.models.vlm import VLM, import_transformers

    import_transformers()
    import torch

    from visift.models.batch import Collator
    from visift.models.memory import forget_peak
    from visift.training.data import Batches, Reader, plan_of
    from visift.training.trainer import Tuner, to_go_on_from
    from visift.training.weights import mark

    if job.device == "cpu":
        torch.set_num_threads(1)  # sums do not depend on the number of cores
        torch.use_deterministic_algorithms(True, warn_only=True)
    forget_peak()
    examples = sorted((one for one, _ in job.examples), key=lambda one: one.key)
    pool = job.open_pool()
    _must_be_the_same(pool, job)
    vlm = VLM.load(job.model, "cpu")
    reader = Reader(pool, Collator.of(vlm), job.recipe.max_tokens)
    looks = _looks(folder, reader, examples, job.loaders)
    fine = [place for place, look in enumerate(looks) if look.reason is None]
    _must_be_some(fine, looks)
    used, seen = [examples[place] for place in fine], [looks[place] for place in fine]
    steps = steps_of([one.key for one in used], [look.images > 0 for look in seen], job.recipe)
    plan = plan_of(list(passes_of(steps, job.recipe)), seen)
    torch.manual_seed(job.recipe.seed)
    trained = mark(vlm, job.recipe)
    _save_memory(trained.model, job)
    first = int(os.environ.get("RANK", "0")) == 0
    tuner = Tuner(trained, job, Batches(reader, used, plan), folder, _keeper(job, folder), hear)
    tuner.train(resume_from_checkpoint=to_go_on_from(folder, tidy=first))
    if first:
        _finish(tuner, job, folder, examples, looks)


def _must_be_the_same(pool: Pool, job: Job) -> None:
    """See that the rows still hold the records that were asked for."""
    hashes = pool.content_hashes()
    for example, hashed in job.examples:
        if example.row >= len(hashes) or hashes[example.row].hex() != hashed:
            raise TrainingError(
                f"the pool changed while it was trained on: row {example.row} is another record.",
                where=", ".join(map(str, job.pool["files"])),
                fix="Run the same command again.",
            )


def _must_be_some(fine: Sequence[int], looks: Sequence[Look]) -> None:
    if not fine:
        raise TrainingError(
            f"none of {len(looks):,} examples can be trained on; of the first one: "
            f"{looks[0].reason}."
        )


def _looks(
    folder: Path, reader: Reader, examples: Sequence[Example], loaders: int
) -> Sequence[Look]:
    """Return what is seen of each example.

    The first process looks and writes it down, for the others and for those who go on later.
    """
    from visift.training.data import Look, look_at

    path = folder / _LOOKED_AT
    if int(os.environ.get("RANK", "0")) == 0 and not path.is_file():
        seen = [asdict(look) for look in look_at(reader, examples, loaders)]
        write_atomically(path, json.dumps(seen).encode())
    while not path.is_file():
        time.sleep(_WAIT_SECONDS)
    return [Look(**one) for one in json.loads(path.read_bytes())]


def _save_memory(model: Any, job: Job) -> None:
    if job.recipe.checkpointing and model.supports_gradient_checkpointing:
        # Its name changed within the versions of transformers that are supported.
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next(getattr(model, name) for name in names if hasattr(model, name))
        enable({"use_reentrant": False})


def _keeper(job: Job, folder: Path) -> Callable[[Tuner, int], None]:
    """Return what writes one of several checkpoints that are kept."""
    from visift.training.saving import save_state

    def keep(tuner: Tuner, number: int) -> None:
        if job.recipe.checkpoints > 1:
            kept = folder / f"kept-{number}"
            save_state(tuner.trained, tuner.create_optimizer(), job.model, kept)

    return keep


def _finish(
    tuner: Tuner, job: Job, folder: Path, examples: Sequence[Example], looks: Sequence[Look]
) -> None:
    """Write the finished model, what became of the training last."""
    from visift.models.kept import kept_in
    from visift.models.memory import peak_memory
    from visift.training.saving import moments_of_rates, save_model, sync_tree, versions
    from visift.training.trainer import kept_steps, losses_of, seconds_of

    result, state, recipe = folder / RESULT, tuner.state, job.recipe
    shutil.rmtree(result, ignore_errors=True)
    trained: Trained = tuner.trained
    save_model(trained, job.model, result)
    kept = kept_steps(state.max_steps, recipe)
    for number in range(1, len(kept) + 1) if recipe.checkpoints > 1 else ():
        shutil.copytree(folder / f"kept-{number}", kept_in(result, number))
    pairs = list(zip(examples, looks, strict=True))
    outcome = Outcome(
        examples=sum(look.reason is None for look in looks),
        steps=state.global_step,
        losses=losses_of(state),
        seconds=round(seconds_of(state), 3),
        tokens=recipe.epochs * sum(look.tokens for look in looks),
        left_out={one.key: look.reason for one, look in pairs if look.reason is not None},
        checkpoints=moments_of_rates(kept, state.max_steps, recipe),
        memory=peak_memory(),
    )
    beside = {"base": asdict(job.model), "recipe": asdict(recipe), "versions": versions()}
    write_outcome(result / OUTCOME, outcome, **beside)
    sync_tree(result)


if __name__ == "__main__":
    main()

"""lmms-eval as another process, in an environment of its own: public benchmarks for real models.

Nothing of a benchmark is implemented here: the command is run, and its files are read.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from visift.errors import InputError, ModelError
from visift.files import disk_errors, write_atomically
from visift.validate.collect import must_be_one_metric
from visift.validate.collect_answers import Answer, Model
from visift.validate.collect_lmms import read_samples, samples_of
from visift.validate.results import Results

#: What it is called on the command line.
LMMS_EVAL = "lmms-eval"
_LAST_LINES = 5
_LOG = "log.txt"
#: Written when all tasks are evaluated; names them.
_DONE = "done.json"


@dataclass(frozen=True, slots=True)
class LmmsEval:
    """How lmms-eval is run.

    Attributes:
        tasks: names of its tasks.
        model: its name for the kind of model: `llava_hf`, `qwen2_5_vl`.
        python: of the environment that holds it.
        batch_size: of its own.
    """

    tasks: tuple[str, ...]
    model: str
    python: str = "python"
    batch_size: int = 1

    def located(self) -> LmmsEval:
        """Return the same, its Python found from anywhere, where it is named by a path."""
        named = len(Path(self.python).parts) > 1
        return replace(self, python=str(Path(self.python).absolute())) if named else self

    def folder(self, root: Path, checkpoint: str) -> Path:
        """Return where the evaluation of a checkpoint lies; that of other tasks lies elsewhere.

        Args:
            root: of all evaluations.
            checkpoint: its name.
        """
        digest = blake2b(repr(self._marked()).encode(), digest_size=4).hexdigest()
        return root / checkpoint / digest

    def _marked(self) -> dict[str, Any]:
        return {"tasks": sorted(self.tasks), "model": self.model}

    def is_done(self, folder: Path) -> bool:
        """Return whether all tasks were evaluated into a folder, to the end."""
        with suppress(OSError, ValueError):
            return bool(json.loads((folder / _DONE).read_bytes()) == self._marked())
        return False

    def command(self, checkpoint: str, folder: Path) -> list[str]:
        """Return the command that evaluates a checkpoint and writes into a folder."""
        return [
            *(self.python, "-m", "lmms_eval"),
            *("--model", self.model, "--model_args", f"pretrained={checkpoint}"),
            *("--tasks", ",".join(self.tasks), "--batch_size", str(self.batch_size)),
            *("--log_samples", "--output_path", str(folder)),
        ]

    def run(self, checkpoint: str, folder: Path) -> None:
        """Evaluate a checkpoint unless that is done.

        Raises:
            InputError: its Python is not there.
            ModelError: it failed; the last lines that it said.
        """
        if self.is_done(folder):
            return
        with disk_errors(folder):
            if folder.exists():  # what one that was stopped has left
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        command = self.command(checkpoint, folder)
        log = folder / _LOG
        # Its environment is not ours: what ours says of packages must not leak into it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            with log.open("wb") as file:
                done = subprocess.run(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
                )
        except FileNotFoundError:
            raise InputError(
                "there is no such Python.",
                where=self.python,
                fix="Name the environment that holds lmms-eval: --evaluator-env FOLDER",
            ) from None
        if done.returncode != 0 or not evaluated(folder, self.tasks):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise ModelError(
                f"lmms-eval failed (exit code {done.returncode}): {shlex.join(command)}",
                where=str(log),
                fix="Its last words:\n" + "\n".join(lines[-_LAST_LINES:]),
            )
        with disk_errors(folder):
            write_atomically(folder / _DONE, json.dumps(self._marked()).encode())


def evaluated(folder: Path, tasks: Sequence[str]) -> bool:
    """Return whether a folder holds samples of every task, or of the tasks of a group of them."""
    found = {task for task, _ in _samples(folder).values()}
    return set(tasks) <= {_asked(one, tasks) for one in found}


def _asked(found: str, tasks: Sequence[str]) -> str | None:
    """Return the task that samples are of, or the group of tasks; the longest name that fits."""
    fits = [task for task in tasks if found == task or found.startswith(f"{task}_")]
    return max(fits, key=len, default=None)


def read_evaluations(folders: Sequence[tuple[Model, Path]]) -> Results:
    """Read what was evaluated: for every model its folder.

    Raises:
        InputError: a file that is no evaluation, models that were asked different questions, or
            scores of one question by different metrics.
    """
    answers = [answer for model, folder in folders for answer in _answers(model, folder)]
    must_be_one_metric(answers)
    return Results.from_columns(
        arm=[str(one.model.arm) for one in answers],
        selection_seed=[one.model.selection_seed for one in answers],
        training_seed=[one.model.training_seed for one in answers],
        task=[one.task for one in answers],
        group=[one.group or _name(one) for one in answers],
        question=[_name(one) for one in answers],
        score=[one.score for one in answers],
    )


def _name(answer: Answer) -> str:
    return f"{answer.task}/{answer.question}"


def _answers(model: Model, folder: Path) -> Iterator[Answer]:
    """Yield the answers of the newest evaluation of every task."""
    newest: dict[str, tuple[str, Path]] = {}
    for path, (task, date) in _samples(folder).items():
        if date >= newest.get(task, ("", path))[0]:
            newest[task] = (date, path)
    for task, (_, path) in sorted(newest.items()):
        yield from read_samples(path, model, task)


def _samples(folder: Path) -> dict[Path, tuple[str, str]]:
    """Return task and date of every file of samples below a folder."""
    found = {path: samples_of(path) for path in sorted(folder.rglob("*.jsonl"))}
    return {path: said for path, said in found.items() if said is not None}

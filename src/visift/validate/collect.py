"""The evaluation of arms that were trained elsewhere, from whatever evaluated them.

Reads lmms-eval, LLaMA-Factory, and tables with one row an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from visift.config import RunConfig
from visift.errors import InputError
from visift.validate.collect_answers import (
    ONE_TASK,
    PREDICTIONS,
    Answer,
    Model,
    read_predictions,
    read_table,
)
from visift.validate.collect_lmms import read_samples, samples_of
from visift.validate.metrics import METRICS, metric_for
from visift.validate.results import Results

#: The arms that an export of a run holds, and the whole pool.
ARMS = ("subset", "control", "random", "full")
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_NAMED = re.compile(r"(?P<arm>[A-Za-z][\w.-]*)(?::(?P<seed>\d+))?=(?P<path>.+)", re.DOTALL)
_TRAINING = re.compile(r"(?:^|[^a-z])(?:training[-_]?)?s(?:eed)?[-_=]?(\d+)(?![a-z\d])")
_SELECTION = re.compile(r"(?:^|[^a-z])sel(?:ection)?(?:[-_]?seed)?[-_=]?(\d+)(?![a-z\d])")
_WORD = re.compile(r"[a-z]+")
_EXAMPLE = "Name it: --results subset=PATH, or --results subset:1=PATH for training seed 1."


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, and what its name says of the answers in it."""

    path: Path
    model: Model
    task: str
    date: str = ""


def collect(run_dir: Path, results: Sequence[str]) -> Results:
    """Put the evaluations of a run's arms together.

    Args:
        run_dir: of the selection whose export the arms were trained on.
        results: files or folders, `PATH`, `ARM=PATH` or `ARM:SEED=PATH`. Without an arm it is read
            from the names of folders (`subset`, `control`, `random`, `full`, as words), and so
            are seeds (`seed3`, `s3`, `selection2`); tables may have columns for them.

    Raises:
        InputError: no finished run, a file that cannot be read, one whose arm nobody names, or
            arms that were evaluated on different questions, or by different metrics.
    """
    note = _about(run_dir)
    sources = [source for named in results for source in _sources(named)]
    if not sources:
        raise InputError("nothing to collect.", fix="Name files or folders: --results PATH")
    newest, notes = _newest(sources)
    answers = [answer for source in newest for answer in _read(source)]
    if not answers:
        raise InputError("there is no answer in these files.", where=", ".join(results))
    _must_be_the_same_questions(answers)
    scored, told = _scored(answers)
    must_be_one_metric(scored)
    return _put_together(scored, [note, *notes, *told])


def _about(run_dir: Path) -> str:
    """Return which selection `subset` is; raises `InputError` where there is none."""
    if not (run_dir / "manifest.json").is_file():
        raise InputError(
            "holds no finished run.",
            where=str(run_dir),
            fix="Name the --output of a visift select that ended.",
        )
    config = RunConfig.from_yaml(run_dir / "run.yaml")
    budget = f" at {config.budget}" if config.budget else ""
    return f'"subset" is the selection of {config.method or config.default_method}{budget}.'


# --- which files, and whose --------------------------------------------------------------------


def _sources(named: str) -> Iterator[_Source]:
    """Yield the files that one `--results` names."""
    found = None if Path(named).exists() else _NAMED.fullmatch(named)
    path = Path(found["path"]) if found else Path(named)
    if not path.exists():
        raise InputError("there is no such file or folder.", where=str(path))
    files = [path] if path.is_file() else _evaluations(path)
    for file in files:
        said = _model(path, file)
        if found:
            seed = int(found["seed"]) if found["seed"] else said.training_seed
            said = replace(said, arm=found["arm"], training_seed=seed)
        yield _source(file, said)


def _evaluations(folder: Path) -> list[Path]:
    """Return the evaluations below a folder: of a known tool, or else tables."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    known = [path for path in files if path.name == PREDICTIONS or samples_of(path)]
    found = known or [path for path in files if path.suffix.lower() == ".csv"]
    if not found:
        raise InputError(
            "holds no evaluation.",
            where=str(folder),
            fix=f"Looked for *_samples_*.jsonl (lmms-eval --log_samples), {PREDICTIONS} "
            "(LLaMA-Factory) and *.csv.",
        )
    return found


def _source(file: Path, model: Model) -> _Source:
    if samples := samples_of(file):
        return _Source(file, _known(file, model), *samples)
    if file.name == PREDICTIONS:
        return _Source(file, _known(file, model), _task(file))
    if file.suffix.lower() not in _TABLES:
        raise InputError(
            "is no evaluation that is known here.",
            where=str(file),
            fix=f"Give a table ({', '.join(_TABLES)}) with one row an answer.",
        )
    return _Source(file, model, "")


def _known(file: Path, model: Model) -> Model:
    if model.arm is None:
        raise InputError("which arm is this?", where=str(file), fix=_EXAMPLE)
    return model


def _model(given: Path, file: Path) -> Model:
    """Return what the names of folders, and that of a table, say; the innermost first."""
    top = given.parent if file != given else file.parent.parent
    parts = file.relative_to(top).with_suffix("").parts
    tool = file.name == PREDICTIONS or samples_of(file) is not None
    names = [name.casefold() for name in reversed(parts[:-1] if tool else parts)]
    arms = (_arm(name) for name in names)
    return Model(
        arm=next((arm for arm in arms if arm), None),
        selection_seed=_seed(_SELECTION, names),
        training_seed=_seed(_TRAINING, [_SELECTION.sub(" ", name) for name in names]),
    )


def _arm(name: str) -> str | None:
    """Return the arm whose name stands as a word in another name, if it is one arm's alone."""
    found = set(_WORD.findall(name)) & set(ARMS)
    return found.pop() if len(found) == 1 else None


def _seed(pattern: re.Pattern[str], names: Iterable[str]) -> int:
    found = (match for name in names if (match := pattern.search(name)))
    first = next(found, None)
    return int(first[1]) if first else 0


def _task(file: Path) -> str:
    """Return the name of the folder, where it is that of a data set."""
    name = file.parent.name
    plain = name.casefold()
    says_who = _arm(plain) or _TRAINING.search(plain) or _SELECTION.search(plain)
    return ONE_TASK if says_who or not name else name


def _newest(sources: Sequence[_Source]) -> tuple[list[_Source], list[str]]:
    """Return the newest evaluation of each model on each task, and what was left out."""

    def place(source: _Source) -> tuple[str, int, int, str]:
        model = source.model
        return model.arm or "", model.selection_seed, model.training_seed, source.task

    kept, notes = [], []
    by_date = sorted(dict.fromkeys(sources), key=lambda one: (*place(one), one.date, one.path))
    for _, same in groupby(by_date, key=place):
        group = list(same)
        dated = [source for source in group if source.date]
        if len(dated) < 2:
            kept += group
            continue
        kept.append(group[-1])
        notes.append(f"{group[-1].path} counts, the newest of {len(group)} of its kind.")
    return kept, notes


# --- answers and scores ------------------------------------------------------------------------


def _read(source: _Source) -> Iterator[Answer]:
    if samples_of(source.path):
        return read_samples(source.path, source.model, source.task)
    if source.path.name == PREDICTIONS:
        return read_predictions(source.path, source.model, source.task)
    return read_table(source.path, source.model)


def _must_be_the_same_questions(answers: Iterable[Answer]) -> None:
    """Raise `InputError` where one question has different right answers in two files."""
    first: dict[tuple[str, str], Answer] = {}
    for answer in answers:
        before = first.setdefault((answer.task, answer.question), answer)
        if answer.truths != before.truths:
            raise InputError(
                f"question {answer.question} of {answer.task} has another right answer than in "
                f"{before.where}.",
                where=answer.where,
                fix="Evaluate every arm on the same questions.",
            )


def must_be_one_metric(answers: Iterable[Answer]) -> None:
    """Raise `InputError` where one question is scored by different metrics in two files."""
    first: dict[tuple[str, str], Answer] = {}
    for answer in (one for one in answers if one.metric is not None):
        before = first.setdefault((answer.task, answer.question), answer)
        if answer.metric != before.metric:
            raise InputError(
                f"question {answer.question} of {answer.task} is scored by {answer.metric}, and by "
                f"{before.metric} in {before.where}.",
                where=answer.where,
                fix="Keep *_results.json of lmms-eval beside its samples, or give scores as a CSV.",
            )


def _scored(answers: Sequence[Answer]) -> tuple[list[Answer], list[str]]:
    """Score the answers that come without a score; returns how, too."""
    truths: dict[str, dict[str, str]] = {}
    for answer in answers:
        if answer.score is None and answer.prediction is not None:
            truths.setdefault(answer.task, {})[answer.question] = answer.truths[0]
    metric = {task: metric_for(task, list(known.values())) for task, known in truths.items()}
    by_metric = {name: [t for t, m in metric.items() if m == name] for name in metric.values()}
    notes = [f"Scored by {name}: {', '.join(tasks)}." for name, tasks in by_metric.items()]
    return [_with_score(answer, metric) for answer in answers], notes


def _with_score(answer: Answer, metric: Mapping[str, str]) -> Answer:
    reply = answer.prediction
    if reply is None:
        return answer
    name = metric[answer.task]
    score = max(METRICS[name](reply, truth) for truth in answer.truths)
    return replace(answer, score=score, metric=name)


def _put_together(answers: Sequence[Answer], notes: Sequence[str]) -> Results:
    _must_be_once(answers)
    found = Results.from_columns(
        arm=[answer.model.arm or "" for answer in answers],
        selection_seed=[answer.model.selection_seed for answer in answers],
        training_seed=[answer.model.training_seed for answer in answers],
        task=[answer.task for answer in answers],
        group=[_group(answer) for answer in answers],
        question=[f"{answer.task}/{answer.question}" for answer in answers],
        score=[answer.score for answer in answers],
    )
    return replace(found, notes=(*notes, *_gaps(answers, found)))


def _gaps(answers: Iterable[Answer], found: Results) -> Iterator[str]:
    """Yield what the evaluations do not say."""
    bare = sorted({answer.task for answer in answers if answer.group is None})
    if bare:
        yield (
            f"Nothing says which questions of {', '.join(bare)} are about one image: each counts "
            "as independent, and intervals may be too narrow."
        )
    if lacking := found.missing():
        said = ", ".join(f"{arm} {count:,}" for arm, count in lacking.items())
        yield f"Replies that are missing score 0: {said}."


def _group(answer: Answer) -> str:
    return f"{answer.task}/{answer.question}" if answer.group is None else answer.group


def _must_be_once(answers: Iterable[Answer]) -> None:
    """Raise `InputError` where a model answers a question twice, and say in which files."""
    first: dict[tuple[Model, str, str], Answer] = {}
    for answer in answers:
        key = (answer.model, answer.task, answer.question)
        before = first.setdefault(key, answer)
        if before is not answer:
            raise InputError(
                f"{answer.model.arm}, training seed {answer.model.training_seed}, answers "
                f"question {answer.question} of {answer.task} again; first in {before.where}.",
                where=answer.where,
                fix=f"Models of other seeds must be told apart. {_EXAMPLE}",
            )

"""`visift validate`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visift.cli.choices import (
    AsJson,
    HashImages,
    Have,
    ImageFolder,
    Keep,
    Model,
    Pools,
    Signals,
    SourceField,
    Target,
    TaskField,
    Text,
)
from visift.cli.output import Printer
from visift.cli.progress import counting_what_is_kept
from visift.cli.terminal import printable_json
from visift.cli.validation import (
    LoopShown,
    print_collected,
    print_foreseen,
    print_validation,
)
from visift.config import EngineConfig, PoolConfig
from visift.errors import InputError
from visift.models.ref import BUILTIN_TINY, ModelRef

if TYPE_CHECKING:
    from visift.validate.evaluator import LmmsEval
    from visift.validate.request import Request

_SEVERAL: list[str] = []
_DEMO_METHODS = "balanced,prism,tive,presel,mllm_selector,mmssr"
_DEMO_SEEDS = 3
#: So that all of it takes less than half an hour on two cores.
_DEMO_RECORDS, _DEMO_LABELS = 4200, 100
#: All that --collect looks at.
_COLLECTING = frozenset(("collect", "results", "output", "as_json"))


def command(
    pool: Pools = _SEVERAL,
    image_folder: ImageFolder = None,
    keep: Keep = _SEVERAL,
    have: Have = _SEVERAL,
    target: Target = _SEVERAL,
    model: Model = None,
    train_model: Annotated[
        Text, typer.Option(metavar="NAME", help="What is tuned on every arm. [--model]")
    ] = None,
    methods: Annotated[
        Text, typer.Option(metavar="A,B,C", help="Arms beside the controls. [balanced]")
    ] = None,
    budget: Annotated[
        list[str],
        typer.Option(metavar="AMOUNT", help="15% or 100000; repeatable, for a curve. [15%]"),
    ] = _SEVERAL,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Draws of every arm, each trained once. [5]")
    ] = None,
    selection_seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Draws, each trained with all training seeds.")
    ] = None,
    training_seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Trainings of every draw.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The first of all seeds.")] = 0,
    recipe: Annotated[
        str, typer.Option(metavar="RECIPE", help="auto, llava, or llava,epochs:2,rate:1e-4.")
    ] = "auto",
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Mixture only, score only, inverted, as arms.")
    ] = False,
    rounds: Annotated[
        int, typer.Option(metavar="N", help="Choose in rounds, too, each by a model newly tuned.")
    ] = 1,
    equal: Annotated[
        list[str],
        typer.Option(
            metavar="WHAT", help="tokens or compute: random arms that cost as much; repeatable."
        ),
    ] = _SEVERAL,
    questions: Annotated[
        list[str],
        typer.Option("--eval", metavar="FILE", help="Records to ask about. [some of the pool's]"),
    ] = _SEVERAL,
    question_images: Annotated[
        Text, typer.Option("--eval-images", metavar="FOLDER", help="Their images. [beside them]")
    ] = None,
    held_out: Annotated[
        str, typer.Option(metavar="SHARE", help="Of every task, where --eval names none.")
    ] = "20%",
    keep_contaminated: Annotated[
        bool, typer.Option("--keep-contaminated", help="Ask what stands in the pool, too.")
    ] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the models that are trained.")
    ] = False,
    signals: Signals = _SEVERAL,
    labels: Annotated[
        list[str], typer.Option(metavar="FILE", help="A teacher's labels, as for select.")
    ] = _SEVERAL,
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="METHOD.NAME=VALUE", help="Of a method; repeatable."),
    ] = _SEVERAL,
    output: Annotated[
        Text,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="For what is written. [validated; RUN_DIR/verdict with --collect]",
        ),
    ] = None,
    cache: Annotated[
        Text, typer.Option(metavar="FOLDER", help="Folder of measured values, as for select.")
    ] = None,
    workers: Annotated[
        str, typer.Option(metavar="N", help="Models trained side by side, too.")
    ] = "auto",
    max_unusable: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of records that may be set aside.")
    ] = "1%",
    task_field: TaskField = None,
    source_field: SourceField = None,
    hash_images: HashImages = False,
    evaluator: Annotated[
        Text, typer.Option(metavar="NAME", help="lmms-eval: ask benchmarks too, with --tasks.")
    ] = None,
    tasks: Annotated[
        Text, typer.Option(metavar="A,B,C", help="Of the evaluator, by its own names.")
    ] = None,
    evaluator_model: Annotated[
        str, typer.Option(metavar="KIND", help="Its name for such models: llava_hf, qwen2_5_vl.")
    ] = "llava_hf",
    evaluator_env: Annotated[
        Text, typer.Option(metavar="FOLDER", help="The virtual environment that holds it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    collect: Annotated[
        Text,
        typer.Option(metavar="RUN_DIR", help="Judge arms of its export that were evaluated."),
    ] = None,
    results: Annotated[
        list[str],
        typer.Option(
            metavar="PATH",
            help="With --collect: PATH, ARM=PATH or ARM:SEED=PATH of lmms-eval, LLaMA-Factory or "
            "a table; repeatable.",
        ),
    ] = _SEVERAL,
    demo: Annotated[
        bool, typer.Option("--demo", help="With a small pool and the bundled toy model.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another validation in --output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train on a selection and on random ones, ask all of them, and say which is better."""
    given = dict(locals())
    if results and collect is None:
        raise InputError("--results goes with --collect RUN_DIR.")
    if collect is not None:
        _must_only_collect(given)
        from visift.validate.collected import judge_collected

        where = None if output is None else Path(output)
        print_collected(Printer(quiet=as_json), judge_collected(Path(collect), results, where))
        return
    from visift.cli.select import read_settings
    from visift.validate.loop import execute
    from visift.validate.request import Request, Seeds

    if demo and (pool or model):
        raise InputError("--demo brings a pool and a model.", fix="Leave out --pool and --model.")
    printer = Printer(quiet=as_json)
    named = methods or (_DEMO_METHODS if demo else "balanced")
    request = Request(
        pool=PoolConfig(
            tuple(pool),
            image_folder,
            task_field,
            source_field,
            hash_images,
            tuple(keep),
            tuple(have),
            tuple(target),
        ),
        model=ModelRef.parse(model) if model else None,
        tuned=ModelRef.parse(train_model) if train_model else None,
        methods=tuple(name.strip() for name in named.split(",") if name.strip()),
        settings=read_settings(settings),
        budgets=tuple(budget) or ("15%",),
        seeds=Seeds.read(seeds, selection_seeds, training_seeds),
        seed=seed,
        recipe=recipe,
        questions=tuple(questions),
        question_images=question_images,
        held_out=held_out,
        ablations=ablations,
        rounds=rounds,
        equal=tuple(equal),
        keep_contaminated=keep_contaminated,
        evaluator=_evaluator(evaluator, tasks, evaluator_model, evaluator_env),
        max_unusable=max_unusable,
        signals=tuple(signals),
        labels=tuple(labels),
    )
    engine, folder = EngineConfig(cache, workers), Path(output or "validated")
    if demo:
        few = seeds or selection_seeds or training_seeds
        request = request if few else replace(request, seeds=Seeds(_DEMO_SEEDS, _DEMO_SEEDS))
        request, engine = _demo(request, engine, folder, printer)
    progress = LoopShown(printer)
    if dry_run:
        from visift.validate.foreseeing import foresee

        print_foreseen(printer, foresee(request, folder, engine, printer.say, progress))
        return
    with counting_what_is_kept(progress):
        done = execute(
            request,
            folder,
            engine,
            say=printer.say,
            progress=progress,
            keep_checkpoints=keep_checkpoints,
            overwrite=overwrite,
        )
    if as_json:
        from visift.validate.writing import facts

        print(printable_json(facts(done)))
    print_validation(printer, done)


def _must_only_collect(given: Mapping[str, Any]) -> None:
    """Raise `InputError` for flags that have no say in what was evaluated elsewhere.

    Args:
        given: the arguments of the command, by name.
    """
    from visift.cli.parameters import of_command

    usual = inspect.signature(command).parameters.values()
    extra = [
        told.flags[0]
        for one, told in zip(usual, of_command("validate"), strict=False)  # in the same order
        if one.name not in _COLLECTING and (given[one.name] or None) != (one.default or None)
    ]
    if extra:
        raise InputError(
            "--collect judges what was evaluated elsewhere.", fix=f"Leave out {', '.join(extra)}."
        )


def _evaluator(
    name: str | None, tasks: str | None, model: str, folder: str | None
) -> LmmsEval | None:
    """Return what evaluates the models beside us; raises `InputError`."""
    from visift.validate.evaluator import LMMS_EVAL, LmmsEval

    if name is None:
        if tasks:
            raise InputError("--tasks goes with --evaluator.", fix=f"Add --evaluator {LMMS_EVAL}")
        return None
    if name != LMMS_EVAL:
        raise InputError(f'there is no evaluator "{name}".', fix=f"There is {LMMS_EVAL}.")
    named = tuple(task.strip() for task in (tasks or "").split(",") if task.strip())
    if not named:
        raise InputError("an evaluator needs tasks.", fix="For example: --tasks mme,gqa")
    python = "python" if folder is None else str(Path(folder) / "bin" / "python")
    return LmmsEval(named, model, python)


def _demo(
    request: Request, engine: EngineConfig, output: Path, printer: Printer
) -> tuple[Request, EngineConfig]:
    """Make the demo's pool beside the output; return the request for it."""
    from visift.demo import write_demo_pool
    from visift.demo.ratings import write_demo_labels
    from visift.files import disk_errors

    beside = output.with_name(f"{output.name}-demo")
    if beside.exists() and not (beside / "pool" / "planted.parquet").exists():
        raise InputError("holds other files.", where=str(beside), fix="Choose another --output.")
    with disk_errors(beside):
        made = write_demo_pool(beside / "pool", seed=request.seed, records=_DEMO_RECORDS)
        labels = write_demo_labels(beside / "pool", _DEMO_LABELS, request.seed)
    printer.say("Wrote", f"{made.pool}: {made.records:,} records over {len(made.tasks)} tasks")
    # By bytes: pools of other seeds have images of the same names, and at times sizes.
    pool = PoolConfig((str(made.pool),), str(made.images), hash_images=True)
    engine = replace(engine, cache=engine.cache or str(beside / "cache"))
    request = replace(request, labels=request.labels or (str(labels),))
    return replace(request, pool=pool, model=ModelRef(BUILTIN_TINY)), engine

"""`visift select`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from visift.cli.choices import (
    AsJson,
    Evaluation,
    HashImages,
    Have,
    ImageFolder,
    Keep,
    Labels,
    Model,
    NearDuplicates,
    Pools,
    Settings,
    Signals,
    SourceField,
    Target,
    TaskField,
    Text,
)
from visift.cli.output import Printer, print_need, print_run, summary
from visift.cli.progress import MeasureProgress, counting_what_is_kept
from visift.cli.terminal import printable_json
from visift.config import EngineConfig, PoolConfig, RunConfig
from visift.errors import AnnotationNeeded, InputError
from visift.models.ref import ModelRef


def command(
    pool: Pools = [],  # noqa: B006 - typer reads the default, nothing changes it
    image_folder: ImageFolder = None,
    keep: Keep = [],  # noqa: B006
    have: Have = [],  # noqa: B006
    target: Target = [],  # noqa: B006
    evaluation: Evaluation = [],  # noqa: B006
    model: Model = None,
    method: Annotated[
        Text, typer.Option(metavar="NAME", help="See: visift methods. [balanced]")
    ] = None,
    budget: Annotated[
        Text,
        typer.Option(
            metavar="AMOUNT",
            help='15%, 100000, 50k-images, 2M-tokens, "5x keep". [the method\'s own]',
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of ties and draws. [0]")] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Run directory.")
    ] = "out",
    cache: Annotated[
        Text,
        typer.Option(
            metavar="FOLDER", help="Folder of measured values. [one a pool, ~/.cache/visift]"
        ),
    ] = None,
    workers: Annotated[
        Text, typer.Option(metavar="N", help="Processes that measure. [auto]")
    ] = None,
    executor: Annotated[
        Text, typer.Option(metavar="NAME", help="processes, inline or ray. [processes]")
    ] = None,
    address: Annotated[
        Text,
        typer.Option(
            metavar="ADDRESS", help="Of a Ray cluster; with --executor ray. [this machine]"
        ),
    ] = None,
    shard_range: Annotated[
        Text,
        typer.Option(metavar="I/N", help="Measure the I-th of N slices only, and choose nothing."),
    ] = None,
    signals: Signals = [],  # noqa: B006
    labels: Labels = [],  # noqa: B006
    settings: Settings = [],  # noqa: B006
    export: Annotated[
        list[str],
        typer.Option(metavar="TRAINER", help="llava, llama-factory or trl; repeatable. [llava]"),
    ] = [],  # noqa: B006
    max_unusable: Annotated[
        Text, typer.Option(metavar="SHARE", help="Share of records that may be set aside. [1%]")
    ] = None,
    config: Annotated[
        Text, typer.Option(metavar="FILE", help="run.yaml of another run; flags win.")
    ] = None,
    task_field: TaskField = None,
    source_field: SourceField = None,
    hash_images: HashImages = False,
    near_duplicates: NearDuplicates = None,
    nested: Annotated[bool | None, typer.Option("--nested", help="Export in rank order.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run in --output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Choose the subset of a pool worth training on."""
    from visift.run import execute

    base = RunConfig.from_yaml(config) if config else RunConfig()
    given = RunConfig(
        pool=_replaced(
            base.pool,
            files=tuple(pool) or None,
            image_folder=image_folder,
            task_field=task_field,
            source_field=source_field,
            hash_images=hash_images or None,
            keep=tuple(keep) or None,
            have=tuple(have) or None,
            target=tuple(target) or None,
            evaluation=tuple(evaluation) or None,
        ),
        method=method or base.method,
        settings={**base.settings, **read_settings(settings)},
        model=ModelRef.parse(model) if model else base.model,
        budget=budget or base.budget,
        seed=base.seed if seed is None else seed,
        max_unusable=max_unusable or base.max_unusable,
        signals=tuple(signals) or base.signals,
        labels=tuple(labels) or base.labels,
        export=tuple(export) or base.export,
        nested=base.nested if nested is None else nested,
        near_duplicates=base.near_duplicates if near_duplicates is None else near_duplicates,
        engine=_replaced(
            base.engine,
            cache=cache,
            workers=workers,
            executor=executor,
            address=address,
            shard_range=shard_range,
        ),
    )
    printer = Printer(quiet=as_json)
    progress = MeasureProgress(printer)
    if given.engine.shard_range is not None:
        _measure_slice(given, given.engine.shard_range, printer, progress)
        return
    try:
        with counting_what_is_kept(progress):
            run = execute(
                given, Path(output), overwrite=overwrite, say=printer.say, progress=progress
            )
    except AnnotationNeeded as need:
        print_need(printer, need)
        return
    if as_json:
        print(printable_json(summary(run)))
    print_run(printer, run)


def _measure_slice(
    config: RunConfig, written: str, printer: Printer, progress: MeasureProgress
) -> None:
    """Measure one slice and say how to go on."""
    from visift.engine.slices import Slice
    from visift.slicing import execute_slice

    part = Slice.parse(written)
    with counting_what_is_kept(progress):
        done = execute_slice(config, part, printer.say, progress)
    if printer.quiet:
        said = {"slice": str(part), **dataclasses.asdict(done)}
        print(printable_json(said))
    text = f"slice {part} · {done.measured:,} measured now · {done.elsewhere:,} in other slices"
    printer.say("Measured", text)
    if done.lost:
        first = f"{len(done.lost):,} could not be measured and are tried again: {done.lost[0]}"
        printer.warn(first)
    printer.say("Next", "when all slices are measured, run without --shard-range to choose")


def _replaced(part: Any, **values: Any) -> Any:
    """Return a part of the configuration with the flags that were given."""
    assert isinstance(part, PoolConfig | EngineConfig)
    return dataclasses.replace(part, **{k: v for k, v in values.items() if v is not None})


def read_settings(pairs: list[str]) -> dict[str, str]:
    """Return the parameters that `--set` names; raises `InputError` for one without a value."""
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f'--set "{pair}" has no "=".', fix="For example: --set tau=0.25")
        settings[name.strip()] = value.strip()
    return settings

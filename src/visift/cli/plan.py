"""`visift plan`."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from visift.cli.choices import (
    AsJson,
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
from visift.cli.output import Printer
from visift.cli.terminal import printable_json
from visift.config import EngineConfig, PoolConfig, RunConfig, share
from visift.errors import InputError
from visift.models.ref import ModelRef

if TYPE_CHECKING:
    from rich.table import Table

    from visift.planning.outcome import MethodPlan, Plan

_SEVERAL: list[str] = []


def command(
    pool: Pools = _SEVERAL,
    image_folder: ImageFolder = None,
    keep: Keep = _SEVERAL,
    have: Have = _SEVERAL,
    target: Target = _SEVERAL,
    method: Annotated[Text, typer.Option(metavar="NAME", help="Plan this method. [all]")] = None,
    all_methods: Annotated[bool, typer.Option("--all", help="Plan every method.")] = False,
    model: Model = None,
    budget: Annotated[Text, typer.Option(metavar="AMOUNT", help="As for select.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of ties and draws.")] = 0,
    signals: Signals = _SEVERAL,
    labels: Labels = _SEVERAL,
    settings: Settings = _SEVERAL,
    cache: Annotated[
        Text, typer.Option(metavar="FOLDER", help="Folder of measured values, as for select.")
    ] = None,
    workers: Annotated[str, typer.Option(metavar="N", help="Processes that measure.")] = "auto",
    task_field: TaskField = None,
    source_field: SourceField = None,
    hash_images: HashImages = False,
    near_duplicates: NearDuplicates = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure a sample here for the times; keeps nothing.")
    ] = False,
    probe_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Of each signal; implies --probe. [60]")
    ] = None,
    flops: Annotated[
        Text,
        typer.Option(
            metavar="NAME", help="Estimate times for h100, h200, a100, l40s, 4090, or for TFLOPS."
        ),
    ] = None,
    utilisation: Annotated[
        Text, typer.Option(metavar="SHARE", help="Of the peak, with --flops. [40%]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a selection would cost before it is measured."""
    from visift.cli.select import read_settings
    from visift.planning.clock import PROBE_SECONDS, UTILISATION
    from visift.planning.planner import ALL, Times, make_plan

    if method and all_methods:
        raise InputError("--method and --all contradict each other.", fix="Give one of them.")
    if utilisation and flops is None:
        raise InputError("--utilisation goes with --flops.", fix="For example: --flops h100")
    config = RunConfig(
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
        method=method or ALL,
        settings=read_settings(settings),
        model=ModelRef.parse(model) if model else None,
        budget=budget,
        seed=seed,
        signals=tuple(signals),
        labels=tuple(labels),
        near_duplicates=near_duplicates,
        engine=EngineConfig(cache, workers),
    )
    seconds = probe_seconds if probe_seconds is not None else PROBE_SECONDS if probe else None
    reached = float(share(utilisation)) if utilisation else UTILISATION
    printer = Printer(quiet=as_json)
    plan = make_plan(config, Times.read(flops, reached, seconds), say=printer.say)
    if as_json:
        print(printable_json(plan.to_dict()))
        return
    print_plan(printer, plan)


def print_plan(printer: Printer, plan: Plan) -> None:
    """Print a plan: the table, what training saves, where times come from, what comes next."""
    printer.say("", "")
    printer.table(plan_table(plan))
    printer.say("", "")
    for line in (_saving(plan), _source(plan)):
        printer.say(*line)


def plan_table(plan: Plan) -> Table:
    """Return one row a method; the second column gives way where the terminal is narrow."""
    from rich.table import Table
    from rich.text import Text as Cell

    from visift.amounts import data_size

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("method", no_wrap=True, header_style="")
    table.add_column("asks for", overflow="fold", header_style="")
    on_gpu = plan.clock is not None and plan.clock.on_gpu
    for name in ("GPU-h" if on_gpu else "time", "disk", "pays off after"):
        table.add_column(name, justify="right", no_wrap=True, header_style="")
    for one in plan.methods:
        stored = one.cost.bytes_stored
        table.add_row(
            Cell(one.method),
            Cell(one.asks_for),
            _time(one, on_gpu),
            data_size(stored) if stored and one.counted else "–",
            _runs(one),
        )
    return table


def _time(one: MethodPlan, on_gpu: bool) -> str:
    from visift.amounts import duration

    if not one.counted or one.wall_seconds is None or one.device_seconds is None:
        return "–"
    if not on_gpu:
        return duration(one.wall_seconds)
    return gpu_hours(one.device_seconds)


def gpu_hours(seconds: float) -> str:
    """Return device-seconds in hours: two digits, and what is less than 0.01 h as that."""
    hours = seconds / 3600
    if not hours:
        return "0"
    if hours < 0.01:
        return "< 0.01"
    return f"{hours:.2f}" if hours < 0.1 else f"{hours:.1f}" if hours < 9.95 else f"{hours:,.0f}"


def _runs(one: MethodPlan) -> str:
    if one.runs is None:
        return "–"
    if math.isinf(one.runs):
        return "never"
    return f"{one.runs:,.0f} run{'' if one.runs == 1 else 's'}"


def _saving(plan: Plan) -> tuple[str, str]:
    """Return what one training on the subset saves, as far as that is known."""
    from visift.amounts import duration, short

    saving = plan.saving
    if saving is None:
        return "Training", "without --budget nobody knows what a subset saves"
    rows = f"{float(Fraction(saving.selected, saving.usable)):.1%} of the records instead of all"
    image = f"{plan.facts.image_tokens} tokens an image{', assumed' if plan.facts.assumed else ''}"
    tokens = f"{short(saving.tokens_selected)} of {short(saving.tokens)} tokens an epoch ({image})"
    if saving.flops is None:
        needs = "a model with safetensors weights" if plan.model else "--model"
        return "Training", f"{rows}: {tokens}; {needs} tells what that saves"
    if saving.device_seconds is None or plan.clock is None:
        return "Training", f"{rows} saves {short(saving.flops)}FLOP a run: {tokens}"
    saved = saving.device_seconds
    time = f"{gpu_hours(saved)} GPU-h" if plan.clock.on_gpu else f"{duration(saved)} of one core"
    return "Training", f"{rows} saves {time} a run at the same speed: {tokens}"


def _source(plan: Plan) -> tuple[str, str]:
    if plan.clock is not None:
        return "Times", plan.clock.source()
    return "Times", "none asked for: --probe measures a sample here, --flops h100 estimates"

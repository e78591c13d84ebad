"""`visift annotate`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visift.cli.choices import AsJson, Text
from visift.cli.output import Printer
from visift.cli.terminal import printable_json
from visift.errors import InputError

if TYPE_CHECKING:
    from visift.annotate.asking import Advance
    from visift.annotate.outcome import Annotated as Outcome

_KEY = "OPENAI_API_KEY"
_OUTPUT = "annotated.jsonl"
_LABELS = "labels.parquet"
_LOCAL_FILES = "/data/local-files/?d="


class _Purpose(StrEnum):
    mmssr = "mmssr"


class _Tasks(StrEnum):
    label_studio = "label-studio"
    cvat = "cvat"
    csv = "csv"


def command(
    todo: Annotated[
        str, typer.Argument(metavar="TODO", help="The list: to_annotate.jsonl of visift select.")
    ] = "",
    image_folder: Annotated[
        Text, typer.Option(metavar="FOLDER", help="As for select. [the folder of TODO]")
    ] = None,
    output: Annotated[
        Text,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Finished records, .jsonl or .json; of --for: labels, .parquet; of --tasks: "
            "a folder. [annotated.jsonl; labels.parquet; annotation-tasks]",
        ),
    ] = None,
    purpose: Annotated[
        _Purpose | None,
        typer.Option("--for", help="Rate records for this method, instead of writing them."),
    ] = None,
    only: Annotated[
        Text, typer.Option(metavar="KEY,KEY", help="With --for: these capabilities, no styles.")
    ] = None,
    endpoint: Annotated[
        Text,
        typer.Option(metavar="URL", help="OpenAI-compatible, such as http://localhost:8000/v1."),
    ] = None,
    model: Annotated[
        Text, typer.Option(metavar="NAME", help="Model, as the endpoint calls it.")
    ] = None,
    key_env: Annotated[
        Text, typer.Option(metavar="NAME", help=f"Environment variable of the key. [{_KEY}]")
    ] = None,
    prompt: Annotated[
        Text, typer.Option(metavar="FILE", help="What to ask, as --show-prompts prints it.")
    ] = None,
    show_prompts: Annotated[
        bool, typer.Option("--show-prompts", help="Print what is asked by default, and end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost; ask nothing, write nothing.")
    ] = False,
    max_cost: Annotated[
        Text, typer.Option(metavar="DOLLARS", help="For this list, earlier runs included.")
    ] = None,
    price_in: Annotated[
        Text, typer.Option(metavar="DOLLARS", help="Of a million tokens sent.")
    ] = None,
    price_out: Annotated[
        Text, typer.Option(metavar="DOLLARS", help="Of a million tokens received.")
    ] = None,
    tokens_per_image: Annotated[
        int, typer.Option(metavar="N", help="Assumed before the first reply.")
    ] = 1000,
    tokens_per_answer: Annotated[int, typer.Option(metavar="N", help="Assumed likewise.")] = 250,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", help="Of one reply; longer ones are set aside.")
    ] = 1024,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Parameter of requests, as temperature=0; repeatable.",
        ),
    ] = [],  # noqa: B006 - typer reads the default, nothing changes it
    no_schema: Annotated[
        bool, typer.Option("--no-schema", help="For servers that know no response_format.")
    ] = False,
    max_side: Annotated[
        int, typer.Option(metavar="PIXELS", help="Larger images are scaled down; 0: none.")
    ] = 2048,
    concurrency: Annotated[int, typer.Option(metavar="N", help="Requests at a time.")] = 8,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="For one request.")] = 60.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again where a reply could not be used.")
    ] = False,
    tasks: Annotated[
        _Tasks | None, typer.Option(help="Write the list for people instead, for this program.")
    ] = None,
    image_url: Annotated[
        str, typer.Option(metavar="URL", help="What Label Studio finds images under.")
    ] = _LOCAL_FILES,
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="With --tasks: copy the images, too.")
    ] = False,
    finished: Annotated[
        Text,
        typer.Option(
            "--from", metavar="FILE", help="Read what people wrote: .json, .xml, .zip, .csv."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is at --output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have conversations written for selected images, by a model or by people; or records rated."""
    if show_prompts:
        print(_own_prompts(purpose), end="")
        return
    printer = Printer(quiet=as_json)
    if not todo:
        raise InputError(
            "TODO is missing: the list of what is to be annotated.",
            fix="visift select writes it: to_annotate.jsonl. All options: visift annotate --help",
        )
    _one_way(endpoint, tasks, finished)
    _one_purpose(purpose, only, tasks, finished)
    if tasks is not None:
        from visift.cli.people import give

        folder = Path(output or "annotation-tasks")
        images = Path(_images(image_folder, todo))
        give(
            printer,
            Path(todo),
            images,
            folder,
            tasks.value,
            url=image_url,
            copy_images=copy_images,
            overwrite=overwrite,
        )
        return
    if finished is not None:
        from visift.cli.people import take_back

        take_back(printer, Path(todo), Path(finished), Path(output or _OUTPUT), overwrite=overwrite)
        return
    from visift.annotate.asking import Manners
    from visift.annotate.endpoint import Endpoint
    from visift.annotate.money import Spending
    from visift.annotate.request import Settings

    if model is None:
        raise InputError("no model was named.", fix="Name it as the endpoint does: --model NAME")
    counts = {"--concurrency": concurrency, "--timeout": timeout, "--max-tokens": max_tokens}
    for flag, number in {**counts, "--max-side": max_side + 1}.items():
        if number <= 0:
            raise InputError(f"{flag} is too small.", fix="Leave it out: its default will do.")
    carry_out = _annotate(prompt) if purpose is None else _label(prompt, only)
    outcome = carry_out(
        todo,
        image_folder=_images(image_folder, todo),
        endpoint=Endpoint.parse(endpoint or "", _key(key_env)),
        settings=Settings(model, max_tokens, _parameters(settings), max_side, not no_schema),
        output=output or (_OUTPUT if purpose is None else _LABELS),
        spending=Spending.parse(
            price_in=price_in,
            price_out=price_out,
            max_cost=max_cost,
            tokens_per_image=tokens_per_image,
            tokens_per_answer=tokens_per_answer,
        ),
        manners=Manners(concurrency=concurrency, timeout=timeout),
        retry_failed=retry_failed,
        dry_run=dry_run,
        overwrite=overwrite,
        say=printer.say,
        watch=_watch,
    )
    if as_json:
        print(printable_json(outcome.summary()))
    from visift.cli.asked import print_outcome

    print_outcome(printer, outcome, rated=purpose is not None)


def _own_prompts(purpose: _Purpose | None) -> str:
    if purpose is None:
        from visift.annotate.prompts import own_prompts

        return own_prompts()
    from visift.annotate.taxonomy import own_taxonomy

    return own_taxonomy()


def _annotate(prompt: str | None) -> Callable[..., Outcome]:
    from visift.annotate.annotating import annotate
    from visift.annotate.prompts import Prompts

    return partial(annotate, prompts=Prompts.read(Path(prompt) if prompt else None))


def _label(prompt: str | None, only: str | None) -> Callable[..., Outcome]:
    from visift.annotate.labelling import label
    from visift.annotate.taxonomy import Taxonomy

    taxonomy = Taxonomy.read(Path(prompt) if prompt else None)
    if only is not None:
        taxonomy = taxonomy.only([key.strip() for key in only.split(",") if key.strip()])
    return partial(label, taxonomy=taxonomy)


def _one_way(endpoint: str | None, tasks: _Tasks | None, finished: str | None) -> None:
    """Raise `InputError` unless exactly one says who writes."""
    ways = {"--endpoint": endpoint, "--tasks": tasks, "--from": finished}
    given = [flag for flag, value in ways.items() if value is not None]
    if not given:
        raise InputError(
            "nothing says who writes.",
            fix="A model: --endpoint URL --model NAME. People: --tasks label-studio, then --from.",
        )
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} exclude each other.", fix="Give one of them.")


def _one_purpose(
    purpose: _Purpose | None, only: str | None, tasks: _Tasks | None, finished: str | None
) -> None:
    """Raise `InputError` where ratings are not asked for and --only is given, or are of people."""
    if purpose is None and only is not None:
        raise InputError("--only is about ratings.", fix="Add --for mmssr, or leave --only out.")
    if purpose is not None and (tasks is not None or finished is not None):
        raise InputError(
            "ratings are asked of a model, not of people.",
            fix="Name one: --endpoint URL --model NAME. A table of ratings that you have goes to "
            "visift select --labels FILE.",
        )


def _images(folder: str | None, todo: str) -> str | Path:
    return folder if folder is not None else Path(todo).parent


def _key(name: str | None) -> str | None:
    """Return the key; without one a server that needs none is asked, or says so itself."""
    key = os.environ.get(name or _KEY)
    if name is not None and not key:
        raise InputError(
            f"the environment variable {name} is not set.", fix=f"export {name}=..., without spaces"
        )
    return key


def _parameters(pairs: list[str]) -> dict[str, Any]:
    """Return parameters of requests: JSON where a value is that, else text."""
    from visift.annotate.request import RESERVED

    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f'--set "{pair}" has no "=".', fix="For example: --set temperature=0")
        if name in RESERVED:
            raise InputError(
                f"--set {name} is not possible.", fix="visift annotate sets it itself."
            )
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters


def _watch(total: int) -> AbstractContextManager[Advance | None]:
    from visift.cli.progress import bar

    return bar("requests", total)

"""Flags and values that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

Text = str | None
Texts = list[str]

Pools = Annotated[
    Texts,
    typer.Option(
        metavar="FILE",
        help="LLaVA JSON or JSONL, a folder of them, or images: a folder, .zip, .tar, .csv, "
        ".parquet; repeatable.",
    ),
]
ImageFolder = Annotated[
    Text,
    typer.Option(
        metavar="FOLDER", help="Folder, archive, or folder of archives. [the pool's folder]"
    ),
]
Keep = Annotated[
    Texts, typer.Option(metavar="FILE", help="Records that are always in, in the pool's format.")
]
Have = Annotated[
    Texts,
    typer.Option(metavar="FILE", help="Records trained on already, which are never chosen."),
]
Target = Annotated[
    Texts,
    typer.Option(metavar="FILE", help="Examples of what is to be learnt, for less, icons and rds."),
]
Model = Annotated[Text, typer.Option(metavar="NAME", help="Folder, hub id or NAME@REVISION.")]
Signals = Annotated[
    Texts,
    typer.Option(metavar="FILE", help="Parquet file of numbers measured elsewhere; repeatable."),
]
Evaluation = Annotated[
    Texts,
    typer.Option(
        "--eval", metavar="FILE", help="Records to be judged by; --target must not hold them."
    ),
]
Labels = Annotated[
    Texts,
    typer.Option(metavar="FILE", help="Parquet file of a teacher's labels (mmssr); repeatable."),
]
Settings = Annotated[
    Texts,
    typer.Option("--set", metavar="NAME=VALUE", help="Parameter of the method; repeatable."),
]
TaskField = Annotated[Text, typer.Option(metavar="NAME", help="Field that holds the task.")]
SourceField = Annotated[Text, typer.Option(metavar="NAME", help="Field that holds the source.")]
HashImages = Annotated[bool, typer.Option("--hash-images", help="Know images by their bytes.")]
NearDuplicates = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        help="Leave out images that nearly equal another: at most BITS of 64 differ.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

RunDir = Annotated[str, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run.")]
PoolOfRun = Annotated[
    Texts, typer.Option(metavar="FILE", help="The pool, if it is not where the run found it.")
]
ImagesOfRun = Annotated[Text, typer.Option(metavar="FOLDER", help="Its images, likewise.")]


class By(StrEnum):
    """What a list names records by, see `visift.lists.matching.BY`."""

    content = "content"
    uid = "uid"
    id = "id"
    row = "row"


class Ambiguous(StrEnum):
    """What an id of several records stands for, see `visift.lists.matching.match`."""

    error = "error"
    first = "first"
    all = "all"

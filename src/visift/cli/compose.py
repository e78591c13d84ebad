"""`visift compose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.amounts import data_size
from visift.cli.output import Printer

if TYPE_CHECKING:
    from visift.models.compose import Parts


def command(
    llm: Annotated[
        str, typer.Option(metavar="FOLDER", help="Language model: a folder or a hub id.")
    ],
    vision: Annotated[
        str, typer.Option(metavar="FOLDER", help="CLIP vision tower: a folder or a hub id.")
    ],
    projector: Annotated[
        str, typer.Option(metavar="FILE", help="What lies between them: mm_projector.bin.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="The model; a new folder.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model composed earlier.")
    ] = False,
) -> None:
    """Put a LLaVA-1.5 together from the parts that its checkpoint before tuning is published in."""
    from visift.models.devices import needs_models

    with needs_models():
        from visift.models.compose import Parts, check_output, compose

    folder = Path(output)
    printer = Printer(quiet=False)
    check_output(folder, overwrite=overwrite)
    parts = Parts.read(llm, vision, Path(projector))
    _say_parts(printer, parts)
    done = compose(parts, folder, overwrite=overwrite)
    files = "1 file" if len(done.files) == 1 else f"{len(done.files)} files"
    printer.say("Wrote", f"{done.folder}: {data_size(done.n_bytes)} in {files}")
    printer.say("Next", f"visift select --method prism --model {done.folder} --pool ...")


def _say_parts(printer: Printer, parts: Parts) -> None:
    text, tower = parts.config.text_config, parts.config.vision_config
    size = f"{tower.image_size} × {tower.image_size} pixels"
    printer.say(
        "Language",
        f"{parts.names[0]} · {text.model_type}, {text.num_hidden_layers} blocks of width "
        f"{text.hidden_size:,} · {parts.known_rows:,} rows of tokens → {text.vocab_size:,}",
    )
    printer.say(
        "Vision",
        f"{parts.names[1]} · {tower.num_hidden_layers} blocks of width {tower.hidden_size:,} · "
        f"{size} → {parts.config.image_seq_length} image tokens",
    )
    printer.say("Projector", f"{parts.names[2]} · {tower.hidden_size:,} → {text.hidden_size:,}")

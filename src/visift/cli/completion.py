"""`visift completion`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def command(
    shell: Annotated[
        Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)
    ],
) -> None:
    """Print what completes commands and options in your shell.

    bash: visift completion bash >> ~/.bash_completion

    zsh: visift completion zsh > _visift, in a folder of $fpath

    fish: visift completion fish > ~/.config/fish/completions/visift.fish
    """
    from visift.cli.shells import SCRIPTS

    print(SCRIPTS[shell.value](), end="")

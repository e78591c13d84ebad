"""What every command takes, read from the signature of its function."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from visift.cli import COMMANDS
from visift.cli.everywhere import FLAGS
from visift.cli.single import command_function

#: A value with one of these words in its name is a file or a folder.
_FILES = ("FILE", "FOLDER", "DIR", "PATH")
#: So may the values of these be, beside what their name says.
_FILES_TOO = ("--model",)
_NUMBERS = {int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option or an argument.

    Attributes:
        flags: `("--output", "-o")`; empty for an argument.
        value: what stands for its value, empty for a switch.
        help: one or two sentences.
        repeatable: whether it may be given several times.
        required: whether it must be given.
        choices: all values there are; empty where any is allowed.
        number: `a whole number` or `a number`, where its value is one.
    """

    flags: tuple[str, ...]
    value: str
    help: str
    repeatable: bool = False
    required: bool = False
    choices: tuple[str, ...] = ()
    number: str = ""

    @property
    def is_file(self) -> bool:
        """Whether its value may be a file or a folder."""
        named = any(word in self.value.upper() for word in _FILES)
        return named or any(flag in _FILES_TOO for flag in self.flags)


def parameters() -> dict[str, list[Parameter]]:
    """Return the parameters of every command, in the order of its help."""
    return {name: of_command(name) for name in COMMANDS}


def of_command(name: str) -> list[Parameter]:
    """Return the parameters of one command."""
    return [*_of(name), *everywhere()]


def everywhere() -> list[Parameter]:
    """Return what every command takes."""
    return [Parameter((flag,), value, text) for flag, (value, text) in FLAGS.items()]


def _of(name: str) -> list[Parameter]:
    """Read the signature itself: what typer makes of it differs between its versions."""
    function = command_function(name)
    hints = get_type_hints(function, include_extras=True)
    named = inspect.signature(function).parameters.values()
    return [_parameter(name, one, hints[one.name], _choices()) for one in named]


def _parameter(
    command: str, one: inspect.Parameter, hint: Any, known: Mapping[str, Sequence[str]]
) -> Parameter:
    kind, info = get_args(hint)[0], hint.__metadata__[0]
    inner = [part for part in get_args(kind) or (kind,) if part is not type(None)]
    enum = isinstance(inner[0], type) and issubclass(inner[0], Enum)
    own = [str(member.value) for member in inner[0]] if enum else []
    # Inside Annotated the first spelling stands where a default would.
    spelled = [text for text in (info.default, *(info.param_decls or ())) if type(text) is str]
    flags = _flags(one.name, spelled, bool in inner)
    value = info.metavar or ("|".join(own) if own else one.name.upper())
    option = isinstance(info, OptionInfo)
    choices = own or known.get(flags[0] if option else f"{command} {value}", ())
    return Parameter(
        flags=flags if option else (),
        value="" if bool in inner else value,
        help=info.help or "",
        repeatable=get_origin(kind) in (list, tuple),
        required=one.default is inspect.Parameter.empty,
        choices=tuple(choices),
        number=next((_NUMBERS[part] for part in inner if part in _NUMBERS), ""),
    )


def _flags(name: str, spelled: Sequence[str], switch: bool) -> tuple[str, ...]:
    """Return the spellings of an option, the long one first."""
    long = name.replace("_", "-")
    own = [f"--{long}", f"--no-{long}"] if switch else [f"--{long}"]
    flags = [flag for text in spelled for flag in text.split("/") if flag.startswith("-")]
    return tuple(sorted(flags or own, key=len, reverse=True))


def _choices() -> dict[str, Sequence[str]]:
    """Return by flag, or by command and argument, values that come from tables of their own."""
    from visift.export.trainers import TRAINERS
    from visift.methods.method import METHODS
    from visift.pool.findings import FINDINGS
    from visift.staff import EXECUTORS

    return {
        "--method": tuple(METHODS),
        "--export": tuple(TRAINERS),
        "--executor": EXECUTORS,
        "--fail-on": tuple(FINDINGS),
        "methods NAME": tuple(METHODS),
    }

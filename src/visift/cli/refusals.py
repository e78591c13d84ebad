"""Command lines that do not parse, in our words: those of typer differ between its versions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from visift.cli.parameters import Parameter, of_command
from visift.errors import InputError, did_you_mean

_EXTRA = re.compile(r"unexpected extra arguments?(?:\(s\))? \((.*)\)", re.DOTALL)


def refusal(command: str, arguments: Sequence[str], error: Exception) -> InputError:
    """Return what is wrong with the arguments of a command, and what would be right.

    Args:
        command: name of the command.
        arguments: as given, without the command.
        error: of typer's parser, known by the name of its class.
    """
    known = of_command(command)
    flag = str(getattr(error, "option_name", "") or "")
    said = str(getattr(error, "message", "") or error)
    extra = _EXTRA.search(said)
    fix = f"All options: visift {command} --help"
    match type(error).__name__:
        case "NoSuchOption":
            near = did_you_mean(flag, (spelling for one in known for spelling in one.flags))
            what = f'there is no option "{flag}" of visift {command}.{near}'
        case "BadOptionUsage" | "BadArgumentUsage" if flag:
            one = next((one for one in known if flag in one.flags), None)
            what = f"{flag} takes no value." if one and not one.value else f"{flag} needs a value."
        case "MissingParameter":
            what = _missing(_named(known, error))
        case "BadParameter":
            what = _unfit(_named(known, error), arguments) or said
        case _ if extra:
            what = f'"{extra[1]}" is more than was expected.'
            fix = f"A flag with several values is repeated: --pool A --pool B. {fix}"
        case _:
            what = said
    return InputError(what, fix=fix)


def _named(known: Sequence[Parameter], error: Exception) -> Parameter | None:
    """Return the parameter an error is about; one that typer does not name is the argument."""
    spellings = set(getattr(getattr(error, "param", None), "opts", ()))
    named = next((one for one in known if spellings & set(one.flags)), None)
    return named or next((one for one in known if one.required), None)


def _label(one: Parameter) -> str:
    return one.flags[0] if one.flags else one.value


def _missing(one: Parameter | None) -> str:
    if one is None:
        return "Something is missing."
    first, _, others = one.help.rstrip(".").partition(" ")
    first = first.lower() if first.istitle() else first
    return f"{_label(one)} is missing: {first} {others}."


def _unfit(one: Parameter | None, arguments: Sequence[str]) -> str | None:
    """Say which value does not fit and what would; None where that is not known."""
    if one is None or not (one.number or one.choices):
        return None
    value = _given(one, arguments)
    wanted = one.number or f"one of {', '.join(one.choices)}"
    return f'{_label(one)} "{value}": {wanted} was expected.{did_you_mean(value, one.choices)}'


def _given(one: Parameter, arguments: Sequence[str]) -> str:
    """Return the last value a parameter was given."""
    if not one.flags:
        return next((word for word in arguments if not word.startswith("-")), "")
    value = ""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, rest = word.partition("=")
        if name in one.flags:
            value = rest if equals else following
    return value

"""Running one command's function through typer, with our exit codes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from visift.errors import InputError


def run_command(name: str, function: Callable[..., Any], arguments: list[str]) -> int:
    """Parse the arguments of a command and call it.

    Raises:
        InputError: unknown flags and values that do not parse.
        KeyboardInterrupt: Ctrl-C or SIGTERM, as it came.
    """
    stopped: list[KeyboardInterrupt] = []

    @functools.wraps(function)
    def watched(**options: Any) -> Any:
        try:
            return function(**options)
        except KeyboardInterrupt as stop:  # what typer makes of it differs between its versions
            stopped.append(stop)
            return None

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(context_settings={"help_option_names": ["-h", "--help"]})(watched)
    try:
        code = app(arguments, prog_name=f"visift {name}", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise InputError(
            str(error.format_message()), fix=f"All options: visift {name} --help"
        ) from None
    if stopped:
        raise stopped[0]
    return code if isinstance(code, int) else 0

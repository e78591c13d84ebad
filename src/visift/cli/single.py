"""Running one command's function through typer, with our exit codes."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import typer

from visift.cli.everywhere import FLAGS


def command_function(name: str) -> Callable[..., Any]:
    """Return the function behind a command."""
    function: Callable[..., Any] = importlib.import_module(f"visift.cli.{name}").command
    return function


def run_command(name: str, arguments: list[str]) -> int:
    """Parse the arguments of a command and call it.

    Raises:
        InputError: unknown flags and values that do not parse.
        KeyboardInterrupt: Ctrl-C or SIGTERM, as it came.
    """
    stopped: list[KeyboardInterrupt] = []
    function = command_function(name)

    @functools.wraps(function)
    def watched(**options: Any) -> Any:
        try:
            return function(**options)
        except KeyboardInterrupt as stop:  # what typer makes of it differs between its versions
            stopped.append(stop)
            return None

    everywhere = ", ".join(f"{flag} {value}".strip() for flag, (value, _) in FLAGS.items())
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=f"As every command: {everywhere}",
    )(watched)
    try:
        code = app(arguments, prog_name=f"visift {name}", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        from visift.cli.refusals import refusal

        raise refusal(name, arguments, error) from None
    if stopped:
        raise stopped[0]
    return code if isinstance(code, int) else 0

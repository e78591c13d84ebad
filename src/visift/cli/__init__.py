"""The command line: one file a command, which parses, makes one public call and prints.

The table below is literal, so that `visift --help` imports nothing. Exit codes: 0 done, 1 the
user's input, 2 our fault, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

from visift.errors import InputError, VisiftError, did_you_mean

#: Command -> one line of help; the module `visift.cli.<command>` has its function `command`.
COMMANDS = {
    "select": "choose the subset of a pool worth training on",
    "export": "write a finished run for a trainer",
    "methods": "list the selection methods, or the parameters of one",
    "demo": "make a small pool with planted structure and select from it",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM, so that it ends a run as cleanly as Ctrl-C does."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no "→" shows "?": never a reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return _dispatch(arguments)
    except Terminated as stop:
        _complain(str(stop) or "Stopped.")
        return 143
    except KeyboardInterrupt as stop:
        _complain(f"\n{stop}" if str(stop) else "\nStopped.")
        return 130
    except VisiftError as error:
        text = str(error) if error.where else str(error)[:1].upper() + str(error)[1:]
        _complain(f"error  {text}".replace("\n", "\n       "))
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception:
        traceback.print_exc()
        _complain("error  This is a fault of visift, not of your input: please report these lines.")
        return 2


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(_help())
        return 0
    if first == "--version":
        from importlib.metadata import version

        print(f"visift {version('visift')}")
        return 0
    if first not in COMMANDS:
        raise InputError(
            f'there is no command "{first}".{did_you_mean(first, COMMANDS)}',
            fix=f"Commands: {', '.join(COMMANDS)}.",
        )
    from visift.cli.single import run_command

    return run_command(first, importlib.import_module(f"visift.cli.{first}").command, arguments[1:])


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: visift COMMAND [OPTIONS]",
            "",
            "Choose the image-text conversations worth training on.",
            "",
            *lines,
            "",
            "visift COMMAND --help lists its options; visift --version says which this is.",
        ]
    )


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated

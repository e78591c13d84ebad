"""The command line: one file a command, which parses, makes one public call and prints.

The table below is literal, so that `visift --help` imports nothing. Exit codes: 0 done, 1 the
user's input, 2 our fault, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import errno
import io
import signal
import sys
import traceback
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from visift.cli.everywhere import FLAGS, Everywhere
from visift.cli.terminal import let_go_of_stdout, printable_lines
from visift.errors import InputError, StorageError, VisiftError, did_you_mean

if TYPE_CHECKING:
    from visift.cli.logfile import LogFile

#: Command -> one line of help; the module `visift.cli.<command>` has its function `command`.
COMMANDS = {
    "inspect": "look at a pool: counts, missing images, duplicates, lengths",
    "plan": "say what a selection would cost before it is measured",
    "select": "choose the subset of a pool worth training on",
    "export": "write a finished run for a trainer",
    "report": "write the report of a finished run again",
    "apply": "rebuild a selection elsewhere, or from a published list",
    "compare": "hold selections against each other",
    "validate": "train on a selection and on random ones, and say which is better",
    "annotate": "have images annotated, by a model or by people",
    "methods": "list the selection methods, or the parameters of one",
    "demo": "make a small pool with planted structure and select from it",
    "compose": "put a LLaVA together from the parts it is published in",
    "cache": "show the size of measured values, or clear them",
    "completion": "print what completes commands and options in your shell",
}

_FULL = "Free some space and run the same command again: what is measured is kept."


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
        asked, others = Everywhere.taken_from(arguments)
        if asked.log_file is None:
            return _carry_out(others, asked, None)
        from visift.cli.logfile import logged

        with logged(asked.log_file, arguments) as log:
            code = _carry_out(others, asked, log)
            log.note("end", f"exit code {code}")
            return code
    except VisiftError as error:
        return _explain(error)
    except BrokenPipeError:
        let_go_of_stdout()
        return 0


def _carry_out(arguments: list[str], asked: Everywhere, log: LogFile | None) -> int:
    """Carry out a command; return the exit code, having said why it is not 0."""
    try:
        code = _dispatch(arguments)
        if sys.stdout is not None:  # which it is where it was closed
            sys.stdout.flush()
        return code
    except Terminated as stop:
        _complain(str(stop) or "Stopped.")
        return 143
    except KeyboardInterrupt as stop:
        _complain(f"\n{stop}" if str(stop) else "\nStopped.")
        return 130
    except VisiftError as error:
        if asked.debug:
            traceback.print_exc()
        return _explain(error)
    except BrokenPipeError:
        raise
    except Exception as fault:
        from visift.cli.faults import confession

        if asked.debug:
            traceback.print_exc()
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            let_go_of_stdout()
            where = fault.filename or "standard output, or a temporary file"
            return _explain(StorageError("the disk is full.", where=str(where), fix=_FULL))
        _complain(confession(fault, arguments, log, asked.log_file or ""))
        return 2


def _explain(error: VisiftError) -> int:
    """Say what went wrong, where, and what to do; return the exit code."""
    text = str(error) if error.where else str(error)[:1].upper() + str(error)[1:]
    _complain(f"error  {printable_lines(text)}".replace("\n", "\n       "))
    return error.exit_code


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(_help())
        return 0
    if first == "--version":
        from importlib.metadata import version

        print(f"visift {version('visift')}")
        return 0
    if first.startswith("-"):
        raise InputError(
            f'"{first}" is no command.{did_you_mean(first, ("--help", "--version"))}',
            fix="The command comes first: visift COMMAND [OPTIONS]; visift --help lists them.",
        )
    if first not in COMMANDS:
        raise InputError(
            f'there is no command "{first}".{did_you_mean(first, COMMANDS)}',
            fix=f"Commands: {', '.join(COMMANDS)}.",
        )
    from visift.cli.single import run_command

    return run_command(first, arguments[1:])


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
            "Every command also takes:",
            "",
            *(
                f"  {f'{flag} {value}'.strip():<{width + 5}}  {text}"
                for flag, (value, text) in FLAGS.items()
            ),
            "",
            "visift COMMAND --help lists its options; visift --version says which this is.",
        ]
    )


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated

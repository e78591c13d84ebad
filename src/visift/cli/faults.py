"""A fault of ours, told in one sentence: where it happened is for whoever mends it."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from visift.cli.terminal import printable

if TYPE_CHECKING:
    from visift.cli.logfile import LogFile


def confession(fault: Exception, arguments: list[str], log: LogFile | None, log_name: str) -> str:
    """Keep the traceback of a fault in a file and return what to tell the user.

    Args:
        fault: with its traceback.
        arguments: of the command line.
        log: the log file, if there is one; else a new file in the temporary folder is written.
        log_name: what the user called it.
    """
    trace = "".join(traceback.format_exception(fault))
    if log is not None:
        log.note("fault", trace)
        where = f"They are in {printable(log_name)}"
    else:
        kept = _kept(f"visift {arguments}\nPython {sys.version}\n\n{trace}")
        where = f"They are in {kept}" if kept else "They could not be written to a file"
    said = printable(" ".join(str(fault).split()))
    what = f"{type(fault).__name__}: {said}" if said else type(fault).__name__
    return (
        f"error  This is a fault of visift, not of your input ({what}).\n"
        f"       Please report it with its details. {where}; --debug shows them here."
    )


def _kept(text: str) -> Path | None:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="visift-fault-", suffix=".txt", delete=False, encoding="utf-8",
            errors="backslashreplace",
        ) as file:  # fmt: skip
            file.write(text)
    except OSError:
        return None
    return Path(file.name)

"""`--log-file`: what a person was told, with times, kept for later."""

from __future__ import annotations

import io
import platform
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

from visift.cli.terminal import printable
from visift.errors import StorageError

_PACKAGES = ("visift", "numpy", "pyarrow", "pillow", "scikit-learn", "torch", "transformers")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class LogFile:
    """A file that lines are appended to; any thread may do so."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def note(self, kind: str, text: str) -> None:
        """Write the lines of a text, each with the time and what kind of line it is."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._file.writelines(
                f"{now} {kind:<6} {printable(line)}\n" for line in text.rstrip("\n").split("\n")
            )
            self._file.flush()


class Echo(io.TextIOBase):
    """A stream whose lines are noted as well; a bar that redraws itself is noted once, at its end.

    It is a terminal where the stream itself is one.
    """

    def __init__(self, stream: TextIO, log: LogFile, kind: str) -> None:
        self._stream, self._log, self._kind = stream, log, kind
        self._begun = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters the stream does not know."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """Write a text, and note the lines it ends."""
        written = self._stream.write(text)
        *lines, rest = (self._begun + text).split("\n")
        for line in lines:
            self._note(line)
        self._begun = rest[rest.rfind("\r", 0, -1) + 1 :]
        return written

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def end(self) -> None:
        """Note what was written without a line end."""
        if self._begun:
            self._note(self._begun)
        self._begun = ""

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the number of the stream's file."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def _note(self, line: str) -> None:
        drawn = _ANSI.sub("", line.rstrip("\r")).rpartition("\r")[2]
        if drawn.strip():
            self._log.note(self._kind, drawn)


@contextmanager
def logged(path: str, arguments: Sequence[str]) -> Iterator[LogFile]:
    """Note everything said on stdout and stderr meanwhile, what was asked for, and by what.

    Raises:
        StorageError: the file cannot be appended to.
    """
    started = time.monotonic()
    file = _appending(path)
    with file:
        log = LogFile(file)
        log.note("begin", f"visift {shlex.join(arguments)}")
        log.note("begin", f"in {Path.cwd()} · {_versions()}")
        out, err = Echo(sys.stdout, log, "out"), Echo(sys.stderr, log, "err")
        try:
            with redirect_stdout(out), redirect_stderr(err):
                yield log
        finally:
            out.end()
            err.end()
            log.note("end", f"after {time.monotonic() - started:.1f} s")


def _appending(path: str) -> TextIO:
    try:
        return Path(path).open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror}).", where=path, fix="Choose another --log-file."
        ) from None


def _versions() -> str:
    said = [f"Python {platform.python_version()}", platform.platform()]
    for name in _PACKAGES:
        try:
            said.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return " · ".join(said)

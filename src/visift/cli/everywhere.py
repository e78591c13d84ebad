"""The options that every command takes, before or after its name."""

from __future__ import annotations

import os
from dataclasses import dataclass

from visift.errors import InputError

DEBUG, LOG_FILE = "--debug", "--log-file"

#: Flag -> (name of its value, one line of help).
FLAGS = {
    DEBUG: ("", "Show where in the code an error comes from."),
    LOG_FILE: ("FILE", "Append everything said here, with times, to this file."),
}


@dataclass(frozen=True, slots=True)
class Everywhere:
    """What was asked for.

    Attributes:
        debug: show tracebacks.
        log_file: append what is said to this file.
    """

    debug: bool = False
    log_file: str | None = None

    @classmethod
    def taken_from(cls, arguments: list[str]) -> tuple[Everywhere, list[str]]:
        """Return these options and the other arguments; what follows `--` is left alone.

        Raises:
            InputError: `--log-file` without a file.
        """
        debug = os.environ.get("VISIFT_DEBUG", "0") not in ("", "0")
        log_file: str | None = None
        others: list[str] = []
        left = iter(arguments)
        for word in left:
            if word == "--":
                others += [word, *left]
            elif word == DEBUG:
                debug = True
            elif word == LOG_FILE or word.startswith(f"{LOG_FILE}="):
                log_file = word[len(LOG_FILE) + 1 :] or next(left, "")
                if not log_file or log_file.startswith("-"):
                    raise InputError(
                        f"{LOG_FILE} names no file.", fix=f"For example: {LOG_FILE} visift.log"
                    )
            else:
                others.append(word)
        return cls(debug, log_file), others

"""What can go wrong, said so that a person can act on it: what, where, what to do.

Exit codes of the command line: 1 for everything here (the user's input or machine), 2 for any
other exception (our fault), 130 for Ctrl-C.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class VisiftError(Exception):
    """One clear sentence: what happened, where exactly, and what to do about it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        head = f"{where}: {what}" if where else what
        super().__init__(f"{head}\n{fix}" if fix else head)


class InputError(VisiftError):
    """A flag, a configuration or a parameter that cannot be used as given."""


class PoolError(VisiftError):
    """A pool file, an image folder or an archive that cannot be read."""


class ImageError(VisiftError):
    """One image that is missing, refused or cannot be decoded; `what` is the reason shown."""


class ImageUnavailable(ImageError):
    """An image that cannot be had now, for a reason its content does not decide: it may pass."""


class ModelError(VisiftError):
    """A model that cannot be loaded or does not fit the signal asked of it."""


class InfeasibleBudget(VisiftError):
    """A budget that no selection can meet; the message names the largest feasible one."""


class TooManyUnusable(VisiftError):
    """More records than `--max-unusable` allows cannot be used."""


class MeasuringError(VisiftError):
    """Workers that measure fail, whatever they are given."""


class TrainingError(VisiftError):
    """A model that cannot be fine-tuned on what it is given, or a training that failed."""


class AnnotationNeeded(VisiftError):
    """Records that somebody must annotate before a run can go on: an outcome, no failure.

    Attributes:
        rows: of the pool, in the order in which they are wanted.
        purpose: what they are wanted for, which names their folder: `reference`, `labels`.
        capabilities: what each is to be rated in, where ratings are wanted and no conversations.
        styles: whether ratings name interaction styles, too.
    """

    exit_code = 0

    def __init__(
        self,
        what: str,
        rows: Sequence[int],
        purpose: str,
        fix: str | None = None,
        *,
        capabilities: Sequence[str] = (),
        styles: bool = False,
    ) -> None:
        self.rows = tuple(rows)
        self.purpose = purpose
        self.capabilities = tuple(capabilities)
        self.styles = styles
        super().__init__(what, fix=fix)


class StorageError(VisiftError):
    """The disk is full, or a stored part cannot be read."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "x"?` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""

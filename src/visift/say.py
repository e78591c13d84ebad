"""The lines a person reads while a run goes on, as (label, text) for whoever prints them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from visift.budget import Budget
from visift.engine.counting import left_to_measure, plan_text
from visift.engine.lab import LocalLab
from visift.methods.cutting import BYTES_PER_TOKEN
from visift.methods.method import Method
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.pool.roles import EQUAL_TO, PREFIX, RowRole
from visift.selection import Choice
from visift.signals.imported import Imported

Say = Callable[[str, str], None]

_SHOWN_FILES = 3
_ROLES: tuple[tuple[RowRole, str, str], ...] = (
    ("kept", "Keep", "always in"),
    ("have", "Have", "never chosen"),
)


def say_nothing(label: str, text: str) -> None:
    """Take a line that nobody wants to read."""


def say_pool(say: Say, pool: Pool) -> None:
    """Say what a pool holds and which images were found."""
    offered = ~pool.has_role("have")
    text = int(pool.text_only[pool.has_role("candidate")].sum())
    sources = len(pool.groups("source").labels)
    names = _names(pool, "candidate")
    total = int(pool.has_role("candidate").sum())
    labels = f"{sources} source{'s' if sources > 1 else ''}" if sources else "no source labels"
    labels += _labelled_by(pool)
    say("Pool", f"{names} · {total:,} records · {text:,} text-only · {labels}")
    images = pool.images
    shown = images.flat[images.positions(np.flatnonzero(offered))]
    missing = int((shown < 0).sum())
    plural = "" if missing == 1 else "s"
    lost = f"{missing:,} reference{plural} not found" if missing else "all found"
    if len(shown):
        distinct = len(np.unique(shown[shown >= 0]))
        say("Images", f"{len(shown):,} references · {distinct:,} images · {lost}")
    for role, label, what in _ROLES:
        there = int(pool.has_role(role).sum())
        if there:
            equal = sum(status == EQUAL_TO[role] for status in pool.left_out.values())
            met = f" · {equal:,} of the pool are the same" if equal else ""
            say(label, f"{_names(pool, role)} · {there:,} records, {what}{met}")


def say_plan(say: Say, lab: LocalLab) -> None:
    """Say what is left to measure, before it is."""
    text = plan_text(left_to_measure(lab))
    if text:
        say("Plan", text)


def say_method(say: Say, pool: Pool, method: Method, named: bool, model: ModelRef | None) -> None:
    """Say which method chooses, and what of the command it does not use."""
    name = method.name if named else f"{method.name} (no --method given)"
    say("Method", f"{name}: {method.summary}")
    if model is not None and not hasattr(method, "model"):
        say("Note", f"{method.name} measures nothing: --model is not used")
    if len(pool.rows("have")) and not method.coverage:
        say("Note", f"{method.name} leaves out what --have names, and does not look at it further")


def say_duplicates(say: Say, choice: Choice) -> None:
    """Say how many records repeat another one, where the method looked for them."""
    count = choice.facts.get("duplicates", 0)
    if count:
        records = "record repeats another" if count == 1 else "records repeat others"
        say("Left out", f"{count:,} {records} exactly → scores.parquet names which")


def say_budget(say: Say, budget: Budget | None, exact: bool) -> None:
    """Say what a budget in tokens counts."""
    if budget is None or budget.unit != "tokens":
        return
    how = "by the model's tokeniser" if exact else f"at {BYTES_PER_TOKEN} bytes each (estimate)"
    images = f"{budget.image_tokens} an image" if budget.image_tokens else "images not counted"
    hint = "" if budget.image_tokens else f"; {budget.text}+576/image counts them as 576 each"
    say("Budget", f"{budget.text}: tokens of the text {how}, {images}{hint}")


def _names(pool: Pool, role: RowRole) -> str:
    names = [file.name.removeprefix(PREFIX[role]) for file in pool.files if file.role == role]
    more = f" + {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return " + ".join(names[:_SHOWN_FILES]) + more


def say_unused(say: Say, imported: Imported, lab: LocalLab) -> None:
    """Name the `--signals` files that give nothing the method asks for."""
    wanted = sorted({c.name for handle in lab.handles for c in handle.signal.columns})
    for file in imported.files:
        if not set(wanted) & set(file.columns):
            reads = ", ".join(wanted) or "nothing"
            say("Note", f"{file.path} is not used: the method reads {reads}")


def _labelled_by(pool: Pool) -> str:
    """Say where source labels come from, if not from a source field: ` (by image path)`."""
    words = {"task": "by task", "path": "by image path"}
    used = pool.index["source_by"].unique().to_pylist()
    said = [text for by, text in words.items() if by in used]
    return f" ({', '.join(said)})" if said else ""

"""The lines a person reads while a run goes on, as (label, text) for whoever prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from visift.amounts import counted
from visift.budget import Budget
from visift.engine.counting import left_to_measure, plan_text
from visift.engine.lab import LocalLab
from visift.engine.measured import Measured
from visift.methods.method import Method
from visift.models.card import pools_named
from visift.models.ref import ModelRef
from visift.pool.annotations import Annotations
from visift.pool.labelled import TeacherLabels
from visift.pool.labels import strange_folders
from visift.pool.pool import Pool
from visift.pool.readers.images import ImageList
from visift.pool.roles import EQUAL_TO, PREFIX, SHOWN_BY, RowRole
from visift.selection import Choice
from visift.signals.imported import Imported
from visift.signals.tokens import BYTES_PER_TOKEN

Say = Callable[[str, str], None]

_SHOWN_FILES = 3
_SHOWN_FOLDERS = 5
_ROLES: tuple[tuple[RowRole, str, str], ...] = (
    ("kept", "Keep", "always in"),
    ("have", "Have", "never chosen"),
    ("target", "Target", "examples of what is to be learnt"),
)


def say_nothing(label: str, text: str) -> None:
    """Take a line that nobody wants to read."""


def say_pool(say: Say, pool: Pool) -> None:
    """Say what a pool holds and which images were found."""
    text = int(pool.text_only[pool.has_role("candidate")].sum())
    sources = len(pool.groups("source").labels)
    names = _names(pool, "candidate")
    total = int(pool.has_role("candidate").sum())
    labels = f"{sources:,} source{'s' if sources > 1 else ''}" if sources else "no source labels"
    labels += _labelled_by(pool)
    say("Pool", f"{names} · {total:,} records · {text:,} text-only · {labels}")
    references, images, missing = pool.images.counts(np.flatnonzero(pool.offered))
    plural = "" if missing == 1 else "s"
    lost = f"{missing:,} reference{plural} not found" if missing else "all found"
    if references:
        say("Images", f"{references:,} references · {images:,} images · {lost}")
    strange = strange_folders(pool.index)
    if strange:
        counts = ", ".join(f"{name} {count:,}" for name, count in strange[:_SHOWN_FOLDERS])
        more = f" and {len(strange) - _SHOWN_FOLDERS} more" if len(strange) > _SHOWN_FOLDERS else ""
        say(
            "Note",
            f"LLaVA-665K has no such folder, its records are sources by name: {counts}{more}",
        )
    for file in pool.files:
        if isinstance(file.reader, ImageList) and file.reader.skipped:
            others = ", ".join(f"{count:,} {kind}" for kind, count in file.reader.skipped.items())
            say("Note", f"{file.name}: not taken for images: {others}")
    for role, label, what in _ROLES:
        there = int(pool.has_role(role).sum())
        if there:
            said = [_names(pool, role), f"{counted(there, 'record')}, {what}", *_met(pool, role)]
            say(label, " · ".join(said))


def _met(pool: Pool, role: RowRole) -> Iterator[str]:
    """Yield how the files of a role meet the rest, where a person should know."""
    same = (EQUAL_TO[role], SHOWN_BY[role])
    equal = sum(status in same for status in pool.left_out.values())
    if equal:
        yield f"{equal:,} of the pool are the same"
    if role == "kept":
        hashes = pool.content_hashes()
        had = {hashes[row] for row in np.flatnonzero(pool.has_role("have")).tolist()}
        both = sum(hashes[row] in had for row in pool.rows("kept").tolist())
        if both:
            yield f"{both:,} of them named with --have, too"
        return
    rows = np.flatnonzero(pool.has_role("have"))
    faulty = int(np.asarray(pool.index["fault"].is_valid())[rows].sum())
    unseen = len(rows) - faulty - len(pool.rows("have"))
    if faulty:
        yield f"{faulty:,} cannot be read and rule out nothing"
    if unseen:
        yield f"{unseen:,} whose images are not here"


def say_plan(say: Say, lab: LocalLab) -> None:
    """Say what is left to measure, before it is."""
    text = plan_text(left_to_measure(lab))
    if text:
        say("Plan", text)


def say_card(say: Say, files: Sequence[str], model: ModelRef | None) -> None:
    """Say where the card of a model names the pool that it is to judge."""
    folder = None if model is None or model.is_toy else model.here()
    if model is None or folder is None:
        return
    for one in pools_named(folder, files):
        say(
            "Note",
            f"the card of {model.name} names {one.data}, and the pool is {one.file}: a model tuned "
            "on a pool judges what it has learnt; see docs/checkpoints.md",
        )


def say_method(say: Say, pool: Pool, method: Method, named: bool, model: ModelRef | None) -> None:
    """Say which method chooses, and what of the command it does not use.

    Args:
        say: what to say it with.
        pool: what it chooses from.
        method: the method.
        named: whether the user named it.
        model: the one that nothing but the method could use, if there is one.
    """
    name = method.name if named else f"{method.name} (no --method given)"
    say("Method", f"{name}: {method.summary}")
    if model is not None and not hasattr(method, "model"):
        say("Note", f"{method.name} measures nothing: --model is not used")
    if len(pool.rows("have")) and not method.coverage:
        say("Note", f"{method.name} leaves out what --have names, and does not look at it further")


def say_left_out(say: Say, choice: Choice) -> None:
    """Say how many records the method's own rule left out, and why."""
    count = choice.facts.get("duplicates", 0)
    if count:
        records = "record repeats another" if count == 1 else "records repeat others"
        say("Left out", f"{count:,} {records} exactly → scores.parquet names which")
    for kind, left in choice.facts.get("left_out", {}).items():
        say("Left out", f"{counted(left, 'record')}: {kind} → scores.parquet names which")


def say_near_duplicates(say: Say, count: int, bits: int) -> None:
    """Say how many records show nearly what another one shows."""
    near = f"near-duplicates (at most {bits} of 64 bits differ)"
    say("Left out", f"{counted(count, 'record')}: {near} → scores.parquet names of which")


def say_annotations(say: Say, annotations: Annotations) -> None:
    """Say what was written for images without a conversation, and what of it is not used."""
    if annotations.pool is None:
        return
    said = [f"{counted(len(annotations.of_row), 'image')} of the pool", *annotations.remarks]
    say("Annotated", " · ".join(said))


def say_labels(say: Say, teacher: TeacherLabels) -> None:
    """Say how many records a teacher labelled, and what of the files is not used."""
    count = len(teacher.labelled())
    if not count:
        return
    said = [f"{counted(count, 'record')} of the pool by a teacher", *teacher.remarks]
    if teacher.failed:
        said.append(f"{len(teacher.failed):,} could not be labelled")
    say("Labels", " · ".join(said))


def say_budget(say: Say, lab: LocalLab, budget: Budget, exact: bool) -> None:
    """Say what a budget in tokens counts, and who does; `exact` where it is no estimate."""
    if budget.unit != "tokens":
        return
    how = f"at {BYTES_PER_TOKEN} bytes each (estimate)"
    if exact:
        how = "as in --signals" if lab.given("text_tokens") else "by the model's tokeniser"
    images = f"{budget.image_tokens} an image" if budget.image_tokens else "images not counted"
    hint = "" if budget.image_tokens else f"; {budget.text}+576/image counts them as 576 each"
    say("Budget", f"{budget.text}: tokens of the text {how}, {images}{hint}")


def say_uncounted(say: Say, pool: Pool, tokens: Measured | None) -> None:
    """Say how many records have no number of tokens where others have one."""
    if tokens is None:
        return
    rows = np.concatenate([pool.rows("kept"), pool.rows("candidate")])
    lacking = int((~tokens.ok(rows)).sum())
    if lacking:
        how = f"estimated at {BYTES_PER_TOKEN} bytes each"
        say("Note", f"{counted(lacking, 'record')} without a number of tokens, {how}")


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
    words = {"task": "by task", "path": "by image path", "prompt": "coco by prompt"}
    used = pool.index["source_by"].unique().to_pylist()
    said = [text for by, text in words.items() if by in used]
    return f" ({', '.join(said)})" if said else ""

"""The lines a person reads while a run goes on, as (label, text) for whoever prints them."""

from __future__ import annotations

from collections.abc import Callable

from visift.engine.lab import LocalLab
from visift.pool.pool import Pool
from visift.signals.imported import Imported

Say = Callable[[str, str], None]

_SHOWN_FILES = 3


def say_nothing(label: str, text: str) -> None:
    """Take a line that nobody wants to read."""


def say_pool(say: Say, pool: Pool) -> None:
    """Say what a pool holds and which images were found."""
    text = int(pool.text_only.sum())
    sources = len(pool.groups("source").labels)
    names = " + ".join(file.name for file in pool.files[:_SHOWN_FILES])
    more = f" + {len(pool.files) - _SHOWN_FILES} more" if len(pool.files) > _SHOWN_FILES else ""
    labels = f"{sources} source{'s' if sources > 1 else ''}" if sources else "no source labels"
    labels += _labelled_by(pool)
    say("Pool", f"{names}{more} · {len(pool):,} records · {text:,} text-only · {labels}")
    images = pool.images
    missing = len(images.reasons)
    plural = "" if missing == 1 else "s"
    lost = f"{missing:,} reference{plural} not found" if missing else "all found"
    if len(images.flat):
        say("Images", f"{len(images.flat):,} references · {len(images):,} images · {lost}")


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

"""RUN.md: how to train on every arm, and what must stay the same between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from visift.amounts import counted
from visift.export.exporter import Export, Exporter
from visift.export.fitting import summary

_ABOUT = {
    "subset": "the selection",
    "control": "random records with the selection's share of every source and of text-only ones",
    "random": "random records in the pool's own mix",
}
_ORDERS = {
    "original": "the pool's order",
    "rank": "rank order: any smaller budget is a prefix",
    "shuffle": "a random order, the same for one seed",
}
#: Control characters, and marks of direction.
_ACTING = re.compile(r"[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MARKDOWN = re.compile(r"([\\`*\[\]<>|])")
#: Where the rules of each trainer were read, and what the tests load exports with.
_CHECKED = {
    "llava": "LLaVA c121f04 (2024-05-12), LLaVA-NeXT df17966 (2026-04-15)",
    "llama-factory": "LLaMA-Factory ff6d4d12e (2026-08-18), release 0.9.5",
    "trl": "TRL f2cd57710 (2026-07-24), release 1.16.0 with datasets 5.2.0",
}


_COMPARE = (
    "Train once on each arm, with everything else the same. What `subset` gains over `control`",
    "is what the selection is worth beyond its mix; what `control` gains over `random` is the",
    "mix.",
)
#: Where images were annotated for the selection, nobody annotated others at random.
_ALONE = (
    "This is the selection alone, of images that were annotated for it. To say what it is worth",
    "beyond chance, have as many random ones annotated, and train on both.",
)


def run_md(exporter: Exporter, export: Export, told: Sequence[str]) -> str:
    """Return the text of RUN.md; `told` is what `notes` says."""
    lines = [
        f"# Training on this selection with {exporter.title}",
        "",
        *(_COMPARE if "control" in export.arms else _ALONE),
        "",
        "| arm | records | text-only | images | what it is |",
        "| --- | ---: | ---: | ---: | --- |",
        *_arms(export),
        "",
        "## Commands",
        "",
        *exporter.instructions(export),
        "",
        "## What to know",
        "",
        *(f"- {fact}" for fact in _facts(exporter, export, told)),
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return a sentence, which may name files and tags, so that Markdown shows it as it is."""
    line = _ACTING.sub(lambda char: f"⟨U+{ord(char[0]):04X}⟩", " ".join(text.split()))
    return _MARKDOWN.sub(r"\\\1", line)


def notes(exporter: Exporter, export: Export) -> Iterator[str]:
    """Yield what a person must know before training, one sentence each."""
    media = export.media
    if media.unread:
        yield (
            f"{exporter.title} cannot open {counted(media.unread, 'image')} where they lie (inside "
            "an archive, below another folder, or written in another way): export again with "
            "--copy-images."
        )
    yield from exporter.remarks(export)
    if export.fit.left_out:
        left = dict(export.fit.left_out)
        yield f"Left out: {counted(len(left), 'record')}: {summary(export.pool, left)}."
    if export.fit.mended:
        count = counted(len(export.fit.mended), "record")
        yield f"Tags were added, taken out or escaped in {count}."


def _arms(export: Export) -> Iterator[str]:
    for arm, rows in export.arms.items():
        text = int(export.pool.text_only[rows].sum())
        images = len(export.pool.images.of_rows(rows))
        about = _ABOUT.get(arm, "")
        yield f"| `{arm}` | {len(rows):,} | {text:,} | {images:,} | {about} |"


def _facts(exporter: Exporter, export: Export, told: Sequence[str]) -> Iterator[str]:
    sizes = [len(rows) for rows in export.arms.values()]
    if len(set(sizes)) <= 1:
        count, size = sizes[0] if sizes else 0, exporter.records_a_step
        yield (
            f"Every arm has {counted(count, 'record')}: as many epochs are as many steps "
            f"({-(-count // size):,} an epoch at {size} records a step, as above on "
            f"{counted(exporter.gpus, 'GPU')})."
        )
    else:
        yield (
            f"The arms have {' / '.join(f'{size:,}' for size in sizes)} records: steps differ with "
            "them; give every arm the same number of steps."
        )
    yield (
        "The files hold exactly these records. Use them whole: a fraction given to a trainer is "
        "rounded by its own rule (15 % of 665,298 becomes 99,794 or 99,795)."
    )
    yield f"Records are in {_ORDERS[export.order]}{_head(exporter, export)}."
    yield _where(export)
    yield from map(_plain, told)
    yield f"Checked against the rules of {_CHECKED[exporter.name]}."


def _head(exporter: Exporter, export: Export) -> str:
    if exporter.verbatim or not any(
        export.pool.text_only[rows].any() for rows in export.arms.values()
    ):
        return ""
    if export.order == "original":
        return ", text-only ones spread among the others, one with an image first"
    return ", except that one with an image comes first"


def _where(export: Export) -> str:
    media = export.media
    if media.mode == "embed":
        return "Images are inside the Parquet files, as the bytes that the pool has."
    if media.mode in ("copy", "symlink"):
        done = "copied" if media.mode == "copy" else "linked"
        return f"Images are {done} into `{media.folder}`."
    named = ", ".join(f"`{source}`" for source in media.sources) or "nowhere (there are none)"
    return f"Images are where they were: {named}."

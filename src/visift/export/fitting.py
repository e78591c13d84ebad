"""Which records a trainer would fail on, and how their placeholders are repaired.

Trainers count the literal placeholders of a conversation and compare them with its media. A text
that merely mentions `<image>` stops some of them; one that lacks it trains without the picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from visift.amounts import counted
from visift.errors import InputError
from visift.export.exporter import Exporter, ExportOptions, Fit
from visift.pool.pool import Pool
from visift.pool.record import IMAGE_TAG, Record

_NOTHING = Fit(frozenset(), {})
_SHOWN_REASONS = 4
_SPEAKS = ("user", "assistant")


def fit_to(
    exporter: Exporter, pool: Pool, rows: Iterable[int], options: ExportOptions, before: str = ""
) -> Fit:
    """Decide which records are changed and which are left out, before anything is written.

    Args:
        exporter: whose rules.
        pool: what rows refer to.
        rows: each once.
        options: what to do about records that do not fit.
        before: what has to be done before `visift export` can be told what to do about them.

    Raises:
        InputError: records do not fit and nothing was said about them, or the exporter changes no
            text and was asked to.
    """
    how = options.on_mismatch
    if exporter.verbatim and (how == "fix" or options.escape_literal_tags):
        raise InputError(
            f"records for {exporter.name} are written byte for byte: their tags stay as they are.",
            fix="Leave such records out: --on-mismatch drop",
        )
    if exporter.verbatim and how is None:
        return _NOTHING
    mended: set[int] = set()
    faults: dict[int, str] = {}
    for row in rows:
        record = pool.record(int(row))
        fault = exporter.fault(record)
        if fault is not None and (how == "fix" or options.escape_literal_tags):
            record = mend(record, exporter, options)
            fault = exporter.fault(record)
            mended.add(int(row))
        if fault is not None:
            faults[int(row)] = fault
    if faults and how not in ("fix", "drop"):
        raise _misfit(exporter, pool, faults, before)
    return Fit(frozenset(mended - faults.keys()), faults)


def _misfit(exporter: Exporter, pool: Pool, faults: dict[int, str], before: str) -> InputError:
    drop, repair = "--on-mismatch drop leaves them out", "--on-mismatch fix repairs tags"
    escape = "--escape-literal-tags is for text that only mentions a tag"
    ways = (drop,) if exporter.verbatim else (repair, drop, escape)
    return InputError(
        f"{exporter.title} would fail on {counted(len(faults), 'record')}: "
        f"{summary(pool, faults)}.",
        fix=f"{before}visift export RUN_DIR --export {exporter.name}, where {', '.join(ways)}.",
    )


def summary(pool: Pool, faults: dict[int, str]) -> str:
    """Return reasons with their counts and the first record of each, the most frequent first."""
    first: dict[str, int] = {}
    for row in sorted(faults):
        first.setdefault(faults[row], row)
    counts = Counter(faults.values()).most_common()
    said = [
        f"{count:,} × {reason} (first: {pool.record(first[reason]).uid})"
        for reason, count in counts[:_SHOWN_REASONS]
    ]
    rest = len(counts) - _SHOWN_REASONS
    return ", ".join(said) + (f", and {rest} other reasons" if rest > 0 else "")


# --- rules two trainers share ---------------------------------------------------------------------


def tag_fault(record: Record, media_tags: tuple[str, ...]) -> str | None:
    """Return what is wrong with the placeholders of a record.

    Every image needs one `<image>` in what user or assistant say; a system turn has none, and
    other media have nothing behind them.
    """
    for turn in record.turns:
        for tag in media_tags:
            if tag in turn.text and (tag != IMAGE_TAG or turn.role not in _SPEAKS):
                what = "in the system turn" if tag == IMAGE_TAG else "with nothing behind it"
                return f'a "{tag}" tag {what}'
    tags = sum(turn.text.count(IMAGE_TAG) for turn in record.turns)
    if tags == len(record.images):
        return None
    return f'{counted(tags, f""""{IMAGE_TAG}" tag""")} for {counted(len(record.images), "image")}'


def turn_fault(record: Record) -> str | None:
    """Return why turns are no strict exchange of user and assistant, after one system turn."""
    roles = [turn.role for turn in record.turns]
    talk = roles[1:] if roles[0] == "system" else roles
    if any(role != _SPEAKS[number % 2] for number, role in enumerate(talk)):
        return "turns that do not alternate between user and assistant"
    if not talk or len(talk) % 2:
        return "no answer at the end"
    return None


# --- repair ---------------------------------------------------------------------------------------


def mend(record: Record, exporter: Exporter, options: ExportOptions) -> Record:
    """Return a record whose tags stand for its images, as far as the options allow.

    The first tags of the user's turns, then of the assistant's, stand for the images. Other tags
    are escaped where that is asked for, or taken out with the line break that follows them. Missing
    ones go before the first user turn.
    """
    fix = options.on_mismatch == "fix"
    pattern = re.compile("|".join(map(re.escape, exporter.media_tags)))
    places = [
        (number, found.start(), found.group())
        for number, turn in enumerate(record.turns)
        for found in pattern.finditer(turn.text)
    ]
    by_role = {role: [p for p in places if record.turns[p[0]].role == role] for role in _SPEAKS}
    images = [p for role in _SPEAKS for p in by_role[role] if p[2] == IMAGE_TAG]
    kept = set(images[: len(record.images)])
    texts = [turn.text for turn in record.turns]
    for place in reversed(places):
        number, at, tag = place
        if place not in kept and (fix or options.escape_literal_tags):
            before, after = texts[number][:at], texts[number][at + len(tag) :]
            put = escaped(tag) if options.escape_literal_tags else None
            texts[number] = _joined(before, put, after, exporter.media_tags)
    users = [number for number, turn in enumerate(record.turns) if turn.role == "user"]
    missing = len(record.images) - len(kept)
    if fix and users:
        texts[users[0]] = f"{IMAGE_TAG}\n" * missing + texts[users[0]]
    turns = zip(record.turns, texts, strict=True)
    return replace(record, turns=tuple(replace(turn, text=text) for turn, text in turns))


def escaped(tag: str) -> str:
    """Return how a literal tag is written so that no trainer takes it for one."""
    return f"< {tag[1:-1]} >"


def _joined(before: str, put: str | None, after: str, tags: tuple[str, ...]) -> str:
    """Return what stood around a tag, with something else in its place, or with nothing."""
    if put is not None:
        return before + put + after
    after = after.removeprefix("\n")
    # Two halves must not become a tag of their own, as in `<image<image>>`.
    made = any((before + after).count(tag) > before.count(tag) + after.count(tag) for tag in tags)
    return f"{before}{' ' if made else ''}{after}"

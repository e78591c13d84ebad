"""Finished records: what was said about an image, as the LLaVA files that pools are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from visift.annotate.todo import ToAnnotate, one_or_list
from visift.errors import InputError
from visift.files import disk_errors, write_atomically
from visift.pool.record import IMAGE_TAG

#: (question, answer) in order.
Pairs = tuple[tuple[str, str], ...]

_TAGS = re.compile(r"<(?:image|video|audio)>")
_SUFFIXES = (".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class Finished:
    """What has become of a list.

    Attributes:
        said: the conversation of every annotated line, by uid.
        failed: why a line has none, by uid; lines in neither are left for later.
    """

    said: Mapping[str, Pairs]
    failed: Mapping[str, str]


def checked(item: ToAnnotate, pairs: Iterable[tuple[str, str]]) -> tuple[Pairs, str | None]:
    """Return a conversation without outer white space, and why it cannot be used, if so.

    A tag stands for an image wherever trainers find it, so none may be there that we do not put.
    """
    trimmed = tuple((question.strip(), answer.strip()) for question, answer in pairs)
    if not trimmed:
        return (), "nothing was written"
    if not all(question for question, _ in trimmed):
        return trimmed, "a question is empty"
    if not all(answer for _, answer in trimmed):
        return trimmed, "an answer is empty"
    if _has_own_tags(item, trimmed[0][0]):
        trimmed = ((trimmed[0][0].replace(IMAGE_TAG, "\0"), trimmed[0][1]), *trimmed[1:])
    found = next((tag for pair in trimmed for text in pair for tag in _TAGS.findall(text)), None)
    placed = tuple((q.replace("\0", IMAGE_TAG), a) for q, a in trimmed)
    return placed, f"a tag in the text: {found}" if found else None


def record(item: ToAnnotate, pairs: Pairs, annotator: str) -> dict[str, Any]:
    """Return a LLaVA record; tags of its images stand first unless the question places them.

    Args:
        item: the line of the list.
        pairs: a conversation that is `checked`.
        annotator: who wrote it: a model or a program.
    """
    turns: list[dict[str, str]] = []
    for number, (question, answer) in enumerate(pairs):
        placed = number or _has_own_tags(item, question)
        tags = "" if placed else f"{IMAGE_TAG}\n" * len(item.images)
        turns.append({"from": "human", "value": tags + question})
        turns.append({"from": "gpt", "value": answer})
    labels = {"task": item.task, "source": item.source}
    return {
        "id": item.uid,
        "image": one_or_list(item.images),
        **{name: label for name, label in labels.items() if label is not None},
        "annotator": annotator,
        "conversations": turns,
    }


def failed_path(output: Path) -> Path:
    """Return the file beside an output that says what could not be annotated."""
    return output.with_name(f"{output.stem}.failed.jsonl")


def replies_path(output: Path) -> Path:
    """Return the file beside an output that keeps the replies of an endpoint."""
    return output.with_name(f"{output.stem}.replies.jsonl")


def check_output(
    output: Path,
    others: Sequence[Path],
    *,
    overwrite: bool,
    suffixes: Sequence[str] = _SUFFIXES,
) -> None:
    """Refuse an output that would replace something else.

    Args:
        output: the file to write.
        others: files that are read.
        overwrite: replace whatever is there.
        suffixes: how its name may end.

    Raises:
        InputError: its name ends otherwise, it is read too, or not ours.
    """
    if output.suffix.lower() not in suffixes:
        raise InputError(
            f"does not end in {' or '.join(suffixes)}.",
            where=str(output),
            fix=f"For example: -o {output.stem or 'out'}{suffixes[0]}",
        )
    written = {output.absolute(), failed_path(output).absolute()}
    if written & {path.absolute() for path in others}:
        raise InputError("would be overwritten.", where=str(output), fix="Choose another --output.")
    ours = failed_path(output).exists() or replies_path(output).exists()
    if output.exists() and not ours and not overwrite:
        raise InputError(
            "is there already, and not from visift annotate.",
            where=str(output),
            fix="Choose another --output, or replace it: --overwrite",
        )


def write_finished(
    output: Path, items: Sequence[ToAnnotate], finished: Finished, annotator: str
) -> None:
    """Write the records, in the order of the list, and beside them what failed.

    Raises:
        StorageError: a file cannot be written.
    """
    records = [
        record(item, finished.said[item.uid], annotator)
        for item in items
        if item.uid in finished.said
    ]
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, b"".join(_lines(records, output.suffix.lower() == ".json")))
    write_failed(output, items, finished.failed)


def write_failed(output: Path, items: Sequence[ToAnnotate], failed: Mapping[str, str]) -> None:
    """Write the lines that failed, each with its reason, beside an output.

    Raises:
        StorageError: the file cannot be written.
    """
    lines = (
        orjson.dumps({**item.to_dict(), "failed": failed[item.uid]}) + b"\n"
        for item in items
        if item.uid in failed
    )
    path = failed_path(output)
    with disk_errors(path):
        write_atomically(path, b"".join(lines))


def _lines(records: Sequence[dict[str, Any]], as_list: bool) -> Iterator[bytes]:
    if not as_list:
        yield from (orjson.dumps(one) + b"\n" for one in records)
        return
    yield b"[\n"
    for number, one in enumerate(records):
        yield orjson.dumps(one) + (b",\n" if number < len(records) - 1 else b"\n")
    yield b"]\n"


def _has_own_tags(item: ToAnnotate, question: str) -> bool:
    """Return whether a question has exactly one tag an image."""
    return question.count(IMAGE_TAG) == len(item.images)

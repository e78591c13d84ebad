"""Proof of what was written: every export is read back under the trainer's own rules.

The rules are stated here a second time, on purpose: nothing of the writing code checks itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import yaml

from visift.errors import VisiftError
from visift.export.exporter import Export, Rows
from visift.pool.paths import normalise
from visift.pool.pool import Pool
from visift.pool.readers.llava import LlavaFile
from visift.pool.readers.parsed import Parsed, ParseFault
from visift.pool.record import Record

_TAG = re.compile(r"<(?:image|video|audio)>|< (?:image|video|audio) >")
_AROUND_TAG = re.compile(r"\n?<image>\n?")
_BATCH = 64


class ReadbackError(VisiftError):
    """A written file does not say what the pool says: our fault, never the user's."""

    exit_code = 2


def _differs(where: str, what: str = "differs from the pool.") -> ReadbackError:
    return ReadbackError(what, where=where)


# --- LLaVA ----------------------------------------------------------------------------------------


def check_llava(export: Export) -> None:
    """Check every arm of a LLaVA export; raises `ReadbackError`."""
    for arm, rows in export.arms.items():
        check_llava_list(export.pool, rows, export.folder / f"{arm}.json")


def check_llava_list(pool: Pool, rows: Rows, path: Path) -> None:
    """Read a LLaVA export and compare it record by record, under the trainer's own rules.

    Checked: the number of records, their order, turns and images; the bytes of records with an
    image; and that others have no key `image` (LLaVA tests for the key).

    Raises:
        ReadbackError: the first record that differs.
    """
    if not len(rows):
        return
    file = LlavaFile.open(path, None, None)
    if len(file.offsets) != len(rows):
        raise _differs(str(path), f"{len(file.offsets)} records of {len(rows)}.")
    for number, row in enumerate(rows):
        where = f"{path}, record {number}"
        written = file.raw(number)
        if written != pool.raw(int(row)):  # then it may differ by the key `image` alone
            wanted, found = pool.record(int(row)), _parsed(file, number)
            said = [(turn.role, turn.text) for turn in wanted.turns]
            if wanted.images or found.turns != said or found.images:
                raise _differs(where)
        if pool.text_only[row] and _has_image_key(written):
            raise _differs(where)


def _parsed(file: LlavaFile, number: int) -> Parsed:
    try:
        return file.parse(number)
    except ParseFault as fault:
        raise _differs(f"{file.path}, record {number}", f"{fault}.") from None


def _has_image_key(raw: bytes) -> bool:
    return bool(msgspec.json.decode(raw, type=_Keys).image is not msgspec.UNSET)


class _Keys(msgspec.Struct):
    image: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


# --- LLaMA-Factory --------------------------------------------------------------------------------


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    speaker: str = msgspec.field(name="from")
    value: str


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    uid: str
    system: str
    conversations: list[_Message]
    images: list[str]


def check_llama_factory(export: Export) -> None:
    """Check every arm of a LLaMA-Factory export as its loader and its image plugin would.

    Checked: `dataset_info.json` and the configuration lead to the file; every line has the same
    keys and types; the first one has an image if any has; turns alternate and end with an answer;
    the tags of all messages are as many as the images; no other medium is asked for; images are
    found under `media_dir`; and all of it is what the pool says.

    Raises:
        ReadbackError: the first thing that is not so.
    """
    info = json.loads((export.folder / "dataset_info.json").read_text("utf-8"))
    for arm, rows in export.arms.items():
        config = yaml.safe_load((export.folder / f"{arm}.yaml").read_text("utf-8"))
        media_dir = str(export.folder / config["media_dir"])
        path = export.folder / config["dataset_dir"] / info[config["dataset"]]["file_name"]
        _must_start_with_image(export.pool, rows, path)
        with path.open("rb") as file:
            lines = (_line(raw, f"{path}, line {n}") for n, raw in enumerate(file, start=1))
            for number, (row, found) in enumerate(_paired(rows, lines, path), start=1):
                record, where = export.pool.record(row), f"{path}, line {number}"
                _check_messages(export, row, record, found, where)
                _check_names(export, record, found.images, media_dir, where)


def _line(raw: bytes, where: str) -> _Row:
    try:
        return msgspec.json.decode(raw, type=_Row)
    except msgspec.MsgspecError as error:
        raise _differs(where, f"{error}.") from None


def _check_messages(export: Export, row: int, record: Record, found: _Row, where: str) -> None:
    speakers = [message.speaker for message in found.conversations]
    if not speakers or len(speakers) % 2 or speakers != ["human", "gpt"] * (len(speakers) // 2):
        raise _differs(where, "turns do not alternate.")
    texts = [message.value for message in found.conversations]
    others = any("<video>" in text or "<audio>" in text for text in texts)
    if others or sum(text.count("<image>") for text in texts) != len(found.images):
        raise _differs(where, "tags and images differ in number.")
    said = [("system", found.system)] if record.turns[0].role == "system" else []
    names = {"human": "user", "gpt": "assistant"}
    said += [(names[message.speaker], message.value) for message in found.conversations]
    _must_say(export, row, record, said, found.uid, where)


def _check_names(
    export: Export, record: Record, names: Sequence[str], folder: str, where: str
) -> None:
    wanted = [normalise(ref.path) for ref in record.images]
    paths = [os.path.join(folder, name) for name in names]  # noqa: PTH118 (the trainer's own rule)
    if len(paths) != len(wanted) or not all(map(str.endswith, paths, wanted)):
        raise _differs(where)
    if not export.media.unread and not all(map(os.path.isfile, paths)):
        raise _differs(where, "an image is not where the trainer looks.")


# --- TRL ------------------------------------------------------------------------------------------


def check_trl(export: Export) -> None:
    """Check every arm of a TRL export as `datasets` and TRL would.

    Checked: the columns and the Image feature stated in the files; the first record has an image if
    any has; image parts are as many as images; images are whole; no null where a list is expected;
    and all of it is what the pool says.

    Raises:
        ReadbackError: the first thing that is not so.
    """
    for arm, rows in export.arms.items():
        folder = export.folder / arm
        _must_start_with_image(export.pool, rows, folder)
        for number, (row, found) in enumerate(_paired(rows, _parquet_rows(folder), folder)):
            record, where = export.pool.record(row), f"{folder}, record {number}"
            said = [(m["role"], _joined(m["content"], where)) for m in found["messages"]]
            _must_say(export, row, _without_breaks(record), said, found["uid"], where)
            tags = sum(p["type"] == "image" for m in found["messages"] for p in m["content"])
            if tags != len(found["images"]):
                raise _differs(where, "image parts and images differ in number.")
            _check_images(export, record, found["images"], where)


def _parquet_rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            stated = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
            features = stated.get("info", {}).get("features", {})
            if features.get("images", {}).get("feature") != {"_type": "Image"}:
                raise _differs(str(path), "images are not stated to be images.")
            for batch in file.iter_batches(_BATCH):
                yield from batch.to_pylist()


def _joined(content: list[dict[str, str | None]], where: str) -> str:
    if not content or any((part["text"] is None) != (part["type"] == "image") for part in content):
        raise _differs(where, "a part is neither text nor image.")
    return "".join(part["text"] or "<image>" * (part["type"] == "image") for part in content)


def _without_breaks(record: Record) -> Record:
    """Return a record without the line breaks beside its tags, which parts do not have."""
    turns = [replace(turn, text=_AROUND_TAG.sub("<image>", turn.text)) for turn in record.turns]
    return replace(record, turns=tuple(turns))


def _check_images(export: Export, record: Record, images: list[dict[str, Any]], where: str) -> None:
    if len(images) != len(record.images):
        raise _differs(where)
    for ref, image in zip(record.images, images, strict=True):
        if export.media.mode == "embed":
            whole = image["bytes"] == export.pool.image_bytes(ref)
        else:
            name = normalise(ref.path)
            whole = image["path"].endswith(name) and Path(image["path"]).is_file()
        if not whole:
            raise _differs(where, "an image differs from the pool.")


# --- both -----------------------------------------------------------------------------------------


def _paired(rows: Rows, found: Iterator[Any], path: Path) -> Iterator[tuple[int, Any]]:
    """Pair rows with what was read; raises `ReadbackError` if there are more or fewer."""
    count = 0
    for one in found:
        if count == len(rows):
            raise _differs(str(path), f"more than {len(rows)} records.")
        yield int(rows[count]), one
        count += 1
    if count != len(rows):
        raise _differs(str(path), f"{count} records of {len(rows)}.")


def _must_start_with_image(pool: Pool, rows: Rows, path: Path) -> None:
    if len(rows) and pool.text_only[rows[0]] and not pool.text_only[rows].all():
        raise _differs(str(path), "the first record has no image.")


def _must_say(
    export: Export,
    row: int,
    record: Record,
    said: list[tuple[str, str]],
    uid: str,
    where: str,
) -> None:
    """Compare the turns of a row; mended ones are compared without their tags."""
    told: list[tuple[str, str]] = [(turn.role, turn.text) for turn in record.turns]
    if row in export.fit.mended:
        told, said = _without_tags(told), _without_tags(said)
    if uid != record.uid or said != told:
        raise _differs(where)


def _without_tags(turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(role, "".join(_TAG.sub("", text).split())) for role, text in turns]

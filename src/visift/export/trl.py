"""TRL: one folder of Parquet files an arm that `datasets` loads with its images.

Contents are lists of parts, an image part where the tag was. The types of all columns are written
into every file, so no row has to show them: `images` is a list of images in a text-only row too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from visift.export.exporter import Export, Rows
from visift.export.fitting import tag_fault
from visift.export.llama_factory import stated_id
from visift.export.media import image_file, image_name, read_image
from visift.files import disk_errors
from visift.pool.record import IMAGE_TAG, ImageRef, Record

MEDIA_TAGS = (IMAGE_TAG,)

_STRING = {"dtype": "string", "_type": "Value"}
# Lists are written as lists and `Sequence`: every version of datasets reads these.
_FEATURES = {
    "id": _STRING,
    "uid": _STRING,
    "messages": [{"role": _STRING, "content": [{"type": _STRING, "text": _STRING}]}],
    "images": {"feature": {"_type": "Image"}, "_type": "Sequence"},
}
_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(_PART))])
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("uid", pa.string()),
        ("messages", pa.list_(_MESSAGE)),
        ("images", pa.list_(_IMAGE)),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)

_SHARD_BYTES = 500_000_000
_GROUP_BYTES = 64_000_000
_GROUP_ROWS = 1_000


def fault(record: Record) -> str | None:
    """Return why TRL would stop at a record."""
    return tag_fault(record, MEDIA_TAGS)


def write(export: Export) -> None:
    """Write `<arm>/train-*.parquet` and `train.py`.

    Raises:
        PoolError: an image cannot be read any more.
        StorageError: the disk is full or the folder cannot be written.
    """
    script = files("visift.export").joinpath("train_with_trl.txt").read_text("utf-8")
    with disk_errors(export.folder):
        (export.folder / "train.py").write_text(script, "utf-8")
        for arm, rows in export.arms.items():
            _write_arm(export, rows, export.folder / arm)


def _write_arm(export: Export, rows: Rows, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.parquet"):  # a second export may have fewer files
        stale.unlink()
    groups = _row_groups(export, rows)
    group = next(groups, SCHEMA.empty_table())
    number = 0
    while group is not None:
        with pq.ParquetWriter(folder / f"train-{number:05d}.parquet", SCHEMA) as file:
            written = 0
            while group is not None and written < _SHARD_BYTES:
                file.write_table(group)
                written += group.nbytes
                group = next(groups, None)
        number += 1


def _row_groups(export: Export, rows: Rows) -> Iterator[pa.Table]:
    """Yield tables that are small enough to hold in memory."""
    held: list[dict[str, Any]] = []
    n_bytes = 0
    for row in rows:
        held.append(_row(export, int(row)))
        n_bytes += sum(len(image["bytes"] or b"") for image in held[-1]["images"])
        if n_bytes >= _GROUP_BYTES or len(held) == _GROUP_ROWS:
            yield pa.Table.from_pylist(held, SCHEMA)
            held, n_bytes = [], 0
    if held:
        yield pa.Table.from_pylist(held, SCHEMA)


def _row(export: Export, row: int) -> dict[str, Any]:
    record = export.record(row)
    return {
        "id": stated_id(record),
        "uid": record.uid,
        "messages": [
            {"role": turn.role, "content": parts(turn.text, turn.role != "system")}
            for turn in record.turns
        ],
        "images": [_image(export, ref) for ref in record.images],
    }


def _image(export: Export, ref: ImageRef) -> dict[str, Any]:
    if export.media.mode == "embed":
        return {"bytes": read_image(export.pool, ref), "path": Path(ref.path).name}
    name = image_name(export.media, export.pool, ref)
    return {"bytes": None, "path": image_file(export.media, name)}


def parts(text: str, with_images: bool = True) -> list[dict[str, str | None]]:
    """Return a text as parts: an image part for every tag, and what stands between them.

    One line break beside a tag goes with it: it belongs to how LLaVA writes the tag, and chat
    templates bring their own.
    """
    if not with_images or IMAGE_TAG not in text:
        return [{"type": "text", "text": text}]
    pieces = text.split(IMAGE_TAG)
    said: list[dict[str, str | None]] = []
    for number, piece in enumerate(pieces):
        if number:
            said.append({"type": "image", "text": None})
            piece = piece.removeprefix("\n")
        if number < len(pieces) - 1:
            piece = piece.removesuffix("\n")
        if piece:
            said.append({"type": "text", "text": piece})
    return said


def instructions(export: Export) -> list[str]:
    """Return the command of every arm, and how large the data are."""
    folder = export.folder.absolute()
    n_bytes = sum(file.stat().st_size for file in folder.glob("*/*.parquet"))
    inside = export.media.mode == "embed"
    images = "are in them: a copy an arm" if inside else "are named in them by absolute path"
    return [
        "With TRL installed (`pip install trl peft datasets pillow`), and your model:",
        "",
        "```bash",
        f"cd {shlex.quote(str(folder))}",
        *(f"python train.py {arm} --model Qwen/Qwen2.5-VL-3B-Instruct" for arm in export.arms),
        "```",
        "",
        "`train.py` is short and yours to change, for all arms alike. It trains a LoRA adapter on",
        "the answers; where a model's chat template cannot tell answers apart, TRL says so, and",
        "`--all-tokens` trains on questions as well.",
        "",
        f"The Parquet files of all arms are {n_bytes / 1e6:,.1f} MB. Images {images}.",
    ]

"""LLaVA and LLaVA-NeXT: one JSON list an arm, images named relative to `--image_folder`.

A record is written as the very bytes its pool file holds. Only what the trainer would crash on is
touched: a text-only record must not have the key `image` at all.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from visift.amounts import counted
from visift.export.exporter import Export, Rows
from visift.files import disk_errors
from visift.pool.pool import Pool
from visift.pool.record import IMAGE_TAG, Record

_BLANK = " \t\r\n"
_SPEAKERS = ("human", "gpt")


def write(export: Export) -> None:
    """Write `<arm>.json` for every arm; raises `StorageError` if that cannot be."""
    for arm, rows in export.arms.items():
        write_list(export.pool, rows, export.folder / f"{arm}.json")


def write_list(pool: Pool, rows: Rows, path: Path) -> None:
    """Write rows of a pool as a LLaVA JSON list.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with disk_errors(path), path.open("wb") as file:
        file.write(b"[")
        for number, row in enumerate(rows):
            raw = pool.raw(int(row))
            file.write(b",\n" if number else b"\n")
            file.write(without_image_key(raw) if pool.text_only[row] else raw)
        file.write(b"\n]\n")


class _Turn(msgspec.Struct, gc=False):
    speaker: str = msgspec.field(name="from")


class _Said(msgspec.Struct, gc=False):
    conversations: list[_Turn]
    image: Any = None


_SAID = msgspec.json.Decoder(_Said)


def fault(record: Record) -> str | None:
    """Return why LLaVA would stop at a record, show it without its image, or an image twice.

    It counts nothing: a second tag takes a second place for one image. In text-only records a tag
    is plain text.
    """
    if stop := _speaker_fault(_SAID.decode(record.raw)):
        return stop
    tags = sum(turn.text.count(IMAGE_TAG) for turn in record.turns)
    if not record.images or tags == len(record.images):
        return None
    return f'{counted(tags, f""""{IMAGE_TAG}" tag""")} for {counted(len(record.images), "image")}'


def _speaker_fault(said: _Said) -> str | None:
    """Return why LLaVA would stop at the speakers: it knows two, who take turns."""
    names = [turn.speaker for turn in said.conversations]
    other = next((name for name in names if name not in _SPEAKERS), None)
    if other is not None:
        return f'a turn of "{other}"'
    talk = names[names[0] == "gpt" :]  # an answer that comes first is left out in silence
    if any(name != _SPEAKERS[number % 2] for number, name in enumerate(talk)):
        return "turns that do not alternate between human and gpt"
    return None


def remarks(export: Export) -> Iterator[str]:
    """Yield what LLaVA would stop at in the middle of training, with counts."""
    said = [_SAID.decode(export.pool.raw(row)) for row in export.all_rows().tolist()]
    faults = Counter(why for one in said if (why := _speaker_fault(one)) is not None)
    listed = sum(bool(one.image) and isinstance(one.image, list) for one in said)
    if faults:
        what = ", ".join(f"{count:,} × {why}" for why, count in faults.most_common())
        yield (
            f"LLaVA stops at {counted(faults.total(), 'record')} ({what}). To leave them out: "
            "visift export RUN_DIR --on-mismatch drop"
        )
    if listed:
        count = counted(listed, "record")
        yield f"Images are a list in {count}: LLaVA-NeXT reads that, LLaVA-1.5 stops there."


def instructions(export: Export) -> list[str]:
    """Return the command of LLaVA-1.5's visual instruction tuning, once an arm."""
    folder = export.folder.absolute()
    images = export.media.folder or (export.media.sources or (folder,))[0]
    lines = [
        "In the LLaVA repository, with your model and the projector of its pre-training:",
        "",
        "```bash",
        "train() {",
        "  deepspeed llava/train/train_mem.py --deepspeed ./scripts/zero3.json \\",
        "    --model_name_or_path lmsys/vicuna-7b-v1.5 --version v1 \\",
        f'    --data_path {shlex.quote(str(folder))}/"$1".json \\',
        f"    --image_folder {shlex.quote(str(images))} \\",
        "    --vision_tower openai/clip-vit-large-patch14-336 \\",
        "    --pretrain_mm_mlp_adapter ./checkpoints/llava-v1.5-7b-pretrain/mm_projector.bin \\",
        "    --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 \\",
        "    --mm_use_im_start_end False --mm_use_im_patch_token False \\",
        "    --image_aspect_ratio pad --group_by_modality_length True --bf16 True --tf32 True \\",
        '    --output_dir ./checkpoints/visift-"$1" --num_train_epochs 1 \\',
        "    --per_device_train_batch_size 16 --gradient_accumulation_steps 1 \\",
        "    --learning_rate 2e-5 --weight_decay 0. --warmup_ratio 0.03 \\",
        "    --lr_scheduler_type cosine --model_max_length 2048 --gradient_checkpointing True \\",
        '    --dataloader_num_workers 4 --lazy_preprocess True --save_strategy "no" \\',
        "    --report_to none",
        "}",
        *(f"train {arm}" for arm in export.arms),
        "```",
        "",
        "LLaVA-NeXT takes the same `--data_path` and `--image_folder`.",
    ]
    return lines + [f"\n{note}" for note in _notes(export)]


def _notes(export: Export) -> Iterator[str]:
    pool, rows = export.pool, export.all_rows()
    counts = np.diff(pool.images.offsets)[rows]
    empty = int(pool.text_only[rows].sum())
    uneven = int(((counts > 0) & (pool.index["tags"].to_numpy()[rows] != counts)).sum())
    if uneven:
        yield (
            f"Not as many `{IMAGE_TAG}` tags as images in {counted(uneven, 'record')}; the trainer "
            "does not look. To leave them out: `visift export RUN_DIR --on-mismatch drop`."
        )
    if empty:
        count = counted(empty, "record")
        yield f"Text-only, without the key `image` as LLaVA wants it: {count}."


def without_image_key(raw: bytes) -> bytes:
    """Return a JSON object without its top-level key `image`; the same object if it has none."""
    if b'"image"' not in raw and b"\\u" not in raw:
        return raw
    text = raw.decode()
    spans = [(start, end) for key, start, end in _members(text) if key == "image"]
    if not spans:
        return raw
    for start, end in reversed(spans):
        text = _cut_member(text, start, end)
    return text.encode()


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (key, start, end) of the members of a JSON object, from key to end of value."""
    # Numbers stay text: nothing is lost, and none is too long.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    at = _skip(text, text.index("{") + 1)
    while text[at] == '"':
        start = at
        key, at = scanstring(text, at + 1, False)
        at = _skip(text, _skip(text, at) + 1)
        _, end = decoder.raw_decode(text, at)
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _cut_member(text: str, start: int, end: int) -> str:
    """Remove a member with the comma that belongs to it."""
    after = _skip(text, end)
    if text[after] == ",":
        return text[:start] + text[_skip(text, after + 1) :]
    before = start
    while text[before - 1] in _BLANK:
        before -= 1
    before -= text[before - 1] == ","
    return text[:before] + text[end:]


def _skip(text: str, at: int) -> int:
    while text[at] in _BLANK:
        at += 1
    return at

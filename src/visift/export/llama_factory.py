"""LLaMA-Factory: JSON lines in its sharegpt format, `dataset_info.json`, one YAML an arm.

Every row has the same keys with one type each, as Arrow wants it: a text-only row has an empty list
of images, a row without a system turn an empty system text. `dataset_info.json` names single files,
so what else lies in the folder does not matter to the trainer.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

import msgspec
import orjson

from visift.export.exporter import Export
from visift.export.fitting import tag_fault, turn_fault
from visift.export.media import IMAGES, image_name
from visift.files import disk_errors
from visift.pool.record import Record, Role

MEDIA_TAGS = ("<image>", "<video>", "<audio>")
_SPEAKERS: dict[Role, str] = {"user": "human", "assistant": "gpt"}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def fault(record: Record) -> str | None:
    """Return why LLaMA-Factory would stop at a record, or leave it out with a warning."""
    return turn_fault(record) or tag_fault(record, MEDIA_TAGS)


def write(export: Export) -> None:
    """Write rows, `dataset_info.json` and configurations; raises `StorageError` if it cannot."""
    info = {dataset_name(arm): _description(arm) for arm in export.arms}
    with disk_errors(export.folder):
        for arm, rows in export.arms.items():
            with (export.folder / f"{arm}.jsonl").open("wb") as file:
                file.writelines(orjson.dumps(_row(export, int(row))) + b"\n" for row in rows)
            (export.folder / f"{arm}.yaml").write_text(_config(export, arm), "utf-8")
        (export.folder / "dataset_info.json").write_text(f"{json.dumps(info, indent=2)}\n", "utf-8")


def dataset_name(arm: str) -> str:
    """Return what an arm is called in `dataset_info.json`."""
    return f"visift_{arm}"


def _description(arm: str) -> dict[str, Any]:
    columns = {"messages": "conversations", "system": "system", "images": "images"}
    return {
        "file_name": f"{arm}.jsonl",
        "formatting": "sharegpt",
        "columns": columns,
        "tags": _TAGS,
    }


def _row(export: Export, row: int) -> dict[str, Any]:
    record = export.record(row)
    has_system = record.turns[0].role == "system"
    return {
        "id": stated_id(record),
        "uid": record.uid,
        "system": record.turns[0].text if has_system else "",
        "conversations": [
            {"from": _SPEAKERS[turn.role], "value": turn.text} for turn in record.turns[has_system:]
        ],
        "images": [image_name(export.media, export.pool, ref) for ref in record.images],
    }


class _Id(msgspec.Struct):
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def stated_id(record: Record) -> str:
    """Return the id of a record as text, whatever its type; its uid where it states none."""
    said = msgspec.json.decode(record.raw, type=_Id).id
    raw = b"null" if isinstance(said, msgspec.UnsetType) else bytes(said)
    if raw == b"null":
        return record.uid
    try:
        return str(msgspec.json.decode(raw, type=str))
    except msgspec.MsgspecError:  # a number, or whatever else: as it stands in the file
        return raw.decode()


def _config(export: Export, arm: str) -> str:
    return f"""### model: yours, with the template that belongs to it
model_name_or_path: llava-hf/llava-1.5-7b-hf
template: llava

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### data: . is the folder that the command is given in
dataset_dir: .
dataset: {dataset_name(arm)}
media_dir: {json.dumps(_media_dir(export))}
cutoff_len: 2048
preprocessing_num_workers: 16

### output
output_dir: saves/{arm}
logging_steps: 10
save_steps: 500
report_to: none

### training: the same for every arm
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 1.0
lr_scheduler_type: cosine
warmup_ratio: 0.03
bf16: true
seed: 42
"""


def _media_dir(export: Export) -> str:
    if export.media.mode in ("copy", "symlink"):
        return IMAGES  # beside the files: the folder can be moved as a whole
    return str(export.media.folder or export.folder.absolute())


def instructions(export: Export) -> list[str]:
    """Return the command of every arm, and what to set before."""
    return [
        "Set `model_name_or_path` and `template` in the YAML files, all three alike, then:",
        "",
        "```bash",
        f"cd {shlex.quote(str(export.folder.absolute()))}",
        *(f"llamafactory-cli train {arm}.yaml" for arm in export.arms),
        "```",
        "",
        "A model that makes more of an image than 2,048 tokens needs a larger `cutoff_len`.",
    ]

"""Labels that methods group by: from the record's fields, else from where its image lies.

LLaVA-665K has no label at all. Its folders tell five sources apart, and the prompts tell apart what
lies in `coco/` [ours: not checked against the file itself].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from visift.errors import ImageError
from visift.pool.paths import normalise

#: The image folders of LLaVA-665K; a pool that has all of them is taken to be of that kind.
LLAVA_665K = ("coco", "gqa", "ocr_vqa", "textvqa", "vg")
COCO = LLAVA_665K[0]

#: Phrases of a prompt, and the data set under `coco/` that uses it; the first that fits decides.
#: VQAv2 and OKVQA share folder and prompt, and so the label.
COCO_PROMPTS = (
    ("option's letter", "a_okvqa"),
    ("description for this region", "refcoco"),
    ("bounding box coordinate", "refcoco"),
    ("single word or phrase", "vqav2+okvqa"),
)
#: What lies under `coco/` without any of these prompts.
COCO_REST = "llava"


def path_prefix(images: Sequence[str]) -> str | None:
    r"""Return the first folder of the first image's path, or None where there is no folder.

    `coco/train2017/1.jpg` and `coco\1.jpg` give `coco`; `1.jpg`, a text-only record, and what is
    no path inside the image root (`/data/1.jpg`, `C:/1.jpg`, `http://a/1.jpg`) give None.
    """
    if not images:
        return None
    try:
        folder, slash, _ = normalise(images[0]).partition("/")
    except ImageError:
        return None
    return folder if slash else None


def coco_label(text: str) -> str:
    """Return which data set of LLaVA-665K a conversation about an image in `coco/` is from."""
    return next((label for phrase, label in COCO_PROMPTS if phrase in text), COCO_REST)


def with_prompt_labels(index: pa.Table) -> pa.Table:
    """Return an index whose `coco/` records are labelled by their prompts, if it is LLaVA-665K's.

    It is where records labelled by path stand in all folders of LLaVA-665K; then `source_by` says
    `prompt` for these. The column `coco`, which holds their labels, is not part of the result.
    """
    table = index.drop_columns("coco")
    by_path = pc.equal(index["source_by"], "path")
    folders = set(pc.unique(index["source"].filter(by_path)).to_pylist())
    if not folders.issuperset(LLAVA_665K):
        return table
    known = index["coco"].is_valid()
    replaced = {
        "source": pc.if_else(known, index["coco"], index["source"]),
        "source_by": pc.if_else(known, "prompt", index["source_by"]),
        "task": pc.if_else(known, index["coco"], index["task"]),
    }
    for name, column in replaced.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def strange_folders(index: pa.Table) -> list[tuple[str, int]]:
    """Return folders and records of a pool like LLaVA-665K that are none of it, most first."""
    if "prompt" not in index["source_by"].unique().to_pylist():
        return []
    by_path = index["source"].filter(pc.equal(index["source_by"], "path"))
    counts = Counter({c["values"]: c["counts"] for c in by_path.value_counts().to_pylist()})
    return [(name, count) for name, count in counts.most_common() if name not in LLAVA_665K]

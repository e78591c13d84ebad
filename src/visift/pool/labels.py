"""Labels that methods group by: from the record's fields, else from where its image lies."""

from __future__ import annotations

from collections.abc import Sequence


def path_prefix(images: Sequence[str]) -> str | None:
    """Return the first folder of the first image's path, or None where there is no folder.

    `coco/train2017/1.jpg` gives `coco`; `1.jpg`, `/data/1.jpg` and a text-only record give None.
    """
    if not images:
        return None
    folder, slash, _ = images[0].removeprefix("./").partition("/")
    return folder if slash and folder and folder != ".." else None

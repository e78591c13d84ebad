"""Labels that methods group by: from the record's fields, else from where its image lies."""

from __future__ import annotations

from collections.abc import Sequence

from visift.errors import ImageError
from visift.pool.paths import normalise


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

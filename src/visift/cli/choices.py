"""Values of flags that several commands share."""

from __future__ import annotations

from enum import StrEnum


class By(StrEnum):
    """What a list names records by, see `visift.lists.matching.BY`."""

    content = "content"
    uid = "uid"
    id = "id"
    row = "row"


class Ambiguous(StrEnum):
    """What an id of several records stands for, see `visift.lists.matching.match`."""

    error = "error"
    first = "first"
    all = "all"

"""visift: choose the image-text conversations worth training on.

    import visift
    run = visift.select("pool.json", method="prism", model="./checkpoint", budget="15%")
    run.selection.to_pandas()

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visift.api import list_methods, measure
    from visift.budget import Budget
    from visift.models.ref import ModelRef
    from visift.planning.planner import plan
    from visift.pool.pool import Pool
    from visift.run import select
    from visift.selection import Selection

__all__ = ["Budget", "ModelRef", "Pool", "Selection", "list_methods", "measure", "plan", "select"]

_WHERE = {
    "Budget": "visift.budget",
    "ModelRef": "visift.models.ref",
    "Pool": "visift.pool.pool",
    "Selection": "visift.selection",
    "list_methods": "visift.api",
    "measure": "visift.api",
    "plan": "visift.planning.planner",
    "select": "visift.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module 'visift' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)

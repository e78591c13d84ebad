"""The page of a comparison: one HTML file that needs nothing else."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from visift.files import disk_errors, write_atomically
from visift.report.html import render

if TYPE_CHECKING:
    from visift.comparing.comparison import Comparison

_SHOWN_PARTS = 24
_SHOWN_SPLITS = 12


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write `index.html` into a folder and return its path.

    Args:
        found: what was compared.
        folder: made if it is not there.

    Raises:
        StorageError: the folder cannot be written.
    """
    page = render(
        "comparison.html",
        found=found,
        two=len(found.sides) == 2,
        shown_parts=_SHOWN_PARTS,
        shown_splits=_SHOWN_SPLITS,
        version=version("visift"),
    )
    path = folder / "index.html"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode("utf-8"))
    return path

"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visift.files import disk_errors, write_atomically
from visift.report.facts import duplicates, set_aside, setting_rows
from visift.report.gallery import report_shelves
from visift.report.html import render
from visift.report.licences import licences
from visift.report.mixture import mixtures
from visift.report.outcome import Outcome, funnel
from visift.report.ratings import capabilities, radar
from visift.report.samples import Samples
from visift.report.scores import SHOWN_GROUPS, spreads
from visift.report.text import label

if TYPE_CHECKING:
    from visift.finished import Run

_SHOWN_FILES = 5
_SHOWN_LICENCES = 48
_SHOWN_ROWS = 40


def write_report(run: Run, folder: Path) -> Path:
    """Write `index.html` into a folder and return its path.

    It holds at most 48 records and 24 sources, tasks and groups each, with texts and pictures cut
    to size, and so stays under 15 MB whatever the pool.

    Args:
        run: a finished run.
        folder: made if it is not there.

    Raises:
        StorageError: the folder cannot be written.
    """
    page = render("page.html", **_contents(run))
    path = folder / "index.html"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode("utf-8"))
    return path


def _contents(run: Run) -> dict[str, Any]:
    outcome = Outcome.of(run)
    groups, counted = spreads(run, outcome), licences(run)
    rated = capabilities(run)
    return {
        "run": run,
        "files": _file_names(run),
        "version": version("visift"),
        "steps": funnel(run, outcome),
        "notices": [str(notice) for notice in run.selection.facts.get("notices", ())],
        "mixtures": mixtures(run),
        "tables": [_shown(table) for table in run.selection.facts.get("tables", ())],
        "capabilities": rated,
        "radar": radar(rated),
        "spreads": groups[:SHOWN_GROUPS],
        "more_spreads": len(groups) - SHOWN_GROUPS,
        "direction": run.selection.facts.get("direction", "none"),
        "shelves": report_shelves(Samples.of(run, outcome)),
        "duplicates": duplicates(run, outcome),
        "set_aside": set_aside(run),
        "settings": setting_rows(run),
        "licences": counted[:_SHOWN_LICENCES],
        "more_licences": len(counted) - _SHOWN_LICENCES,
        "images": len(run.pool.images.of_rows(run.rows)),
        "text_only": int(run.pool.text_only[run.rows].sum()),
    }


def _shown(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table that a method states, cut to what a page shows."""
    rows = table["rows"]
    return {**table, "rows": rows[:_SHOWN_ROWS], "more": max(len(rows) - _SHOWN_ROWS, 0)}


def _file_names(run: Run) -> str:
    names = [label(file.name) for file in run.pool.files]
    more = [f"{len(names) - _SHOWN_FILES:,} more"] if len(names) > _SHOWN_FILES else []
    return " + ".join(names[:_SHOWN_FILES] + more)

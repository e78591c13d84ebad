"""The data-set card of a run directory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visift.run import Run


def dataset_card(run: Run, warning: str | None) -> str:
    """Return `README.md` of a run: what was chosen from what, how, and what was set aside."""
    usable, chosen = int(run.selection.facts["usable"]), len(run.selection)
    before = Counter(run.selection.scores["source"].to_pylist())
    after = Counter(run.selection.table["source"].to_pylist())
    lines = [
        "---",
        "tags: [visift, data-selection]",
        "---",
        "",
        f"# {chosen:,} of {usable:,} records, chosen by {run.config.method}",
        "",
        *([f"**{warning}**", ""] if warning else []),
        f"From {len(run.pool):,} records, {len(run.quarantine.reasons):,} were set aside "
        "(`quarantine.parquet`). `selection.parquet` holds rank, score and reason of each chosen "
        "record, `scores.parquet` those of all, `control.parquet` random rows with the same mix.",
        "",
        "| source | pool | chosen |",
        "|---|---:|---:|",
        *(
            f"| {_cell(source or 'no source')} | {count:,} | {after[source]:,} |"
            for source, count in before.most_common()
        ),
        "",
        "| setting | value | from |",
        "|---|---|---|",
        *(f"| {s.name} | {_cell(s.value)} | {s.origin} |" for s in run.settings),
        "",
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Return a value as one cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")

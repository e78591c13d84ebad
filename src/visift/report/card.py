"""The data-set card of a run directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visift.run import Run


def dataset_card(run: Run, warning: str | None) -> str:
    """Return `README.md` of a run: what was chosen from what, how, and what was set aside."""
    usable, chosen = int(run.selection.facts["usable"]), len(run.selection)
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
            f"| {_cell(source)} | {count:,} | {picked:,} |"
            for source, (count, picked) in run.mix().items()
        ),
        "",
        "| setting | value | from |",
        "|---|---|---|",
        f"| budget | {_cell(run.config.budget or 'own of the method')} | you |",
        f"| seed | {run.config.seed} | you |",
        *([f"| model | {_cell(run.config.model.name)} | you |"] if run.config.model else []),
        *(f"| {s.name} | {_cell(s.value)} | {s.origin} |" for s in run.settings),
        "",
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Return a value as one cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")

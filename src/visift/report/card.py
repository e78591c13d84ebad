"""The data-set card of a run directory: YAML for the Hub, Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from visift.amounts import counted
from visift.report.facts import setting_rows
from visift.report.licences import LicenceCount, hub_name, licences
from visift.report.text import in_markdown, label, share

if TYPE_CHECKING:
    from visift.finished import Run

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
_LARGEST = "n>100M"
_ARMS = ("subset", "control", "random")
#: Exports whose arms are one file each that the Hub can show.
_SHOWN_FILES = {"llava": "json", "llama-factory": "jsonl"}


def dataset_card(run: Run, warning: str | None) -> str:
    """Return `README.md` of a run: what was chosen from what, how, under which licences.

    Text that comes from the data is one line each and means nothing as Markdown, HTML or YAML.
    """
    counts = licences(run)
    return "\n".join(
        [
            "---",
            _front_matter(run, counts).rstrip(),
            "---",
            "",
            f"# {_title(run)}",
            "",
            *([f"**{warning}**", ""] if warning else []),
            *_notices(run),
            *_story(run),
            *_mix(run),
            *_licence_table(counts),
            *_settings(run),
            "",
        ]
    )


def _notices(run: Run) -> list[str]:
    """Return what the method wants readers to know, a paragraph each."""
    notices = run.selection.facts.get("notices", ())
    return [line for one in notices for line in (in_markdown(str(one)), "")]


def _title(run: Run) -> str:
    usable, chosen = int(run.selection.facts["usable"]), len(run.selection)
    return f"{chosen:,} of {counted(usable, 'record')}, chosen by {in_markdown(run.config.method)}"


def _front_matter(run: Run, counts: Sequence[LicenceCount]) -> str:
    import yaml

    chosen = len(run.selection)
    images = bool(len(run.pool.images.of_rows(run.rows)))
    visual = ["image-text-to-text", "visual-question-answering"]
    facts: dict[str, Any] = {
        "pretty_name": f"{chosen:,} records chosen by {label(run.config.method)}",
        **_licence(counts),
        "size_categories": [next((name for most, name in _SIZES if chosen < most), _LARGEST)],
        "task_categories": visual if images else ["text-generation"],
        "tags": ["visift", "data-selection", *(["multimodal"] if images else [])],
        "configs": _configs(run),
    }
    if sources := _named_sources(run):
        facts["source_datasets"] = [f"extended|{name}" for name in sources]
    return str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=1_000))


def _licence(counts: Sequence[LicenceCount]) -> dict[str, str]:
    """Return the licence of the whole subset, if all records name one and the same."""
    said = {one.licence for one in counts}
    if len(said) != 1 or (licence := said.pop()) is None:
        return {}
    if name := hub_name(licence):
        return {"license": name}
    return {"license": "other", "license_name": licence}


def _named_sources(run: Run) -> list[str]:
    """Return the data sets that chosen records themselves name; paths are no such names."""
    by = run.pool.index["source_by"].take(pa.array(run.rows)).to_pylist()
    names = run.selection.table["source"].to_pylist()
    return sorted({label(n) for n, from_ in zip(names, by, strict=True) if from_ == "source"})


def _configs(run: Run) -> list[dict[str, Any]]:
    for trainer in run.config.export:
        if trainer in _SHOWN_FILES:
            end = _SHOWN_FILES[trainer]
            paths = [(arm, f"export/{trainer}/{arm}.{end}") for arm in _ARMS]
            break
    else:
        paths = [("selection", "selection.parquet")]
    return [
        {"config_name": name, "data_files": [{"split": "train", "path": path}]}
        for name, path in paths
    ]


def _story(run: Run) -> list[str]:
    files = ", ".join(in_markdown(file.name) for file in run.pool.files[:5])
    images = len(run.pool.images.of_rows(run.rows))
    text = int(run.pool.text_only[run.rows].sum())
    aside = len(run.quarantine.reasons)
    shown = [counted(n, noun) for n, noun in ((images, "image"), (text, "text-only record")) if n]
    story = f"Chosen from {counted(_offered(run.mix()), 'record')} ({files}): {', '.join(shown)}."
    if aside:
        were = "was" if aside == 1 else "were"
        story += f" {counted(aside, 'record')} could not be used and {were} set aside, with reasons"
        story += " in `quarantine.parquet`."
    return [
        story,
        "",
        "- `selection.parquet`: rank, score and reason of each chosen record; `scores.parquet`: "
        "score or status of all records",
        "- `control.parquet`: random records with the same mix, to compare with",
        "- `export/`: the subset, the control and a random subset, ready to train on",
        "- `report/index.html`: the same with figures and examples; `manifest.json`: versions, "
        "identities, counts",
        "",
    ]


def _offered(mix: Mapping[str, tuple[int, int]]) -> int:
    """Return how many records there are, those of `--have` left out."""
    return sum(count for count, _ in mix.values())


def _mix(run: Run) -> list[str]:
    mix = run.mix()
    chosen, pool = len(run.selection), _offered(mix)
    return [
        "## Mix",
        "",
        "| source | pool | share | chosen | share |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {in_markdown(label(source))} | {count:,} | {share(count, pool)} "
            f"| {picked:,} | {share(picked, chosen)} |"
            for source, (count, picked) in mix.items()
        ),
        "",
    ]


def _licence_table(counts: Sequence[LicenceCount]) -> list[str]:
    return [
        "## Licences",
        "",
        "As far as the chosen records say it themselves.",
        "",
        "| source | licence | records |",
        "|---|---|---:|",
        *(
            f"| {in_markdown(label(one.source)) or 'no source'} "
            f"| {in_markdown(one.licence) if one.licence else 'unknown'} | {one.records:,} |"
            for one in counts
        ),
        "",
    ]


def _settings(run: Run) -> list[str]:
    return [
        "## Settings",
        "",
        "| setting | value | from |",
        "|---|---|---|",
        *(f"| {s.name} | {in_markdown(s.value)} | {s.origin} |" for s in setting_rows(run)),
    ]

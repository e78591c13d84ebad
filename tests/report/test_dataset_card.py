"""The data-set card: YAML for the Hub, Markdown for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import talk, write_json
from report.pages import HOSTILE, random_run, records, scored_run
from visift.finished import Run
from visift.report.card import dataset_card
from visift.report.licences import LicenceCount, hub_name, licences

SIZES = {"coco": 30, "gqa": 15, "vg": 5}


def card(run: Run) -> tuple[dict[str, Any], str]:
    """Return front matter and text."""
    start, front, text = dataset_card(run, run.config.warning).split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front), text


def test_a_card_says_what_the_hub_asks(tmp_path: Path) -> None:
    front, text = card(random_run(tmp_path, records(tmp_path, SIZES, text=10)))
    assert front == {
        "pretty_name": "12 records chosen by stratified",
        "size_categories": ["n<1K"],
        "task_categories": ["image-text-to-text", "visual-question-answering"],
        "tags": ["visift", "data-selection", "multimodal"],
        "configs": [
            {
                "config_name": arm,
                "data_files": [{"split": "train", "path": f"export/llava/{arm}.json"}],
            }
            for arm in ("subset", "control", "random")
        ],
        "source_datasets": ["extended|coco", "extended|gqa", "extended|vg"],
    }
    for config in front["configs"]:
        assert (tmp_path / "out" / config["data_files"][0]["path"]).is_file()
    assert "# 12 of 60 records, chosen by stratified" in text
    assert "| coco | 30 | 50.0\xa0% | 6 | 50.0\xa0% |" in text
    assert "| text-only | 10 |" in text
    assert "| no source | unknown | 2 |" in text
    assert "| budget | 20% | you |" in text


def test_shares_are_of_what_could_be_chosen(tmp_path: Path) -> None:
    """Records that were there already are no part of what the selection is compared with."""
    have = write_json(tmp_path / "had" / "have.json", [talk(f"had {n}") for n in range(40)])
    run = random_run(tmp_path, records(tmp_path, SIZES, text=10), have=[have])
    _, text = card(run)
    assert "Chosen from 60 records (" in text
    assert "| coco | 30 | 50.0\xa0% | 6 | 50.0\xa0% |" in text


def test_sources_read_from_paths_are_no_names_of_data_sets(tmp_path: Path) -> None:
    pool = [{k: v for k, v in r.items() if k != "source"} for r in records(tmp_path, SIZES)]
    front, text = card(random_run(tmp_path, pool))
    assert "source_datasets" not in front
    assert "| coco | 30 |" in text


def test_text_alone_is_no_task_of_images(tmp_path: Path) -> None:
    front, _ = card(random_run(tmp_path, records(tmp_path, {}, text=20)))
    assert front["task_categories"] == ["text-generation"]
    assert front["tags"] == ["visift", "data-selection"]


def test_without_an_export_that_the_hub_shows_the_selection_is_shown(tmp_path: Path) -> None:
    front, _ = card(random_run(tmp_path, records(tmp_path, SIZES), export=()))
    (config,) = front["configs"]
    assert config["data_files"] == [{"split": "train", "path": "selection.parquet"}]


def test_a_warning_stands_at_the_top(tmp_path: Path) -> None:
    run = scored_run(tmp_path, records(tmp_path, SIZES), model="builtin:tiny")
    assert "**toy model: the ranking means nothing outside a demo**" in card(run)[1][:200]


# --- licences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "front"),
    [
        (["MIT"], {"license": "mit"}),
        (["CC BY 4.0"], {"license": "cc-by-4.0"}),
        (["my own"], {"license": "other", "license_name": "my own"}),
        (["MIT", "CC-BY-4.0"], {}),
        (["MIT", None], {}),
        ([None], {}),
        ([["MIT"]], {}),
    ],
)
def test_one_licence_for_all_or_none_in_the_front_matter(
    said: list[Any], front: dict[str, str], tmp_path: Path
) -> None:
    pool = records(tmp_path, SIZES)
    for n, record in enumerate(pool):
        record["license"] = said[n % len(said)]
    found, _ = card(random_run(tmp_path, pool, budget="100%"))
    assert {name: found[name] for name in found if name.startswith("license")} == front


def test_licences_are_counted_exactly(tmp_path: Path) -> None:
    pool = records(tmp_path, SIZES)
    for record in pool[:20]:
        record["licence"] = "MIT"
    run = random_run(tmp_path, pool, budget="100%")
    assert licences(run) == [
        LicenceCount("coco", "MIT", 20),
        LicenceCount("coco", None, 10),
        LicenceCount("gqa", None, 15),
        LicenceCount("vg", None, 5),
    ]


def test_names_of_licences_on_the_hub() -> None:
    assert [hub_name(n) for n in ("Apache-2.0", "CC-BY-NC-SA-4.0", "MIT (repository)")] == [
        "apache-2.0",
        "cc-by-nc-sa-4.0",
        None,
    ]


# --- hostile text ----------------------------------------------------------------------------


def test_text_of_the_data_stays_in_its_cell(tmp_path: Path) -> None:
    pool = records(tmp_path, {"a": 6})
    for record in pool:
        record |= {"source": HOSTILE, "license": HOSTILE}
    front, text = card(random_run(tmp_path, pool, budget="50%"))
    assert front["license"] == "other"
    lines = text.splitlines()
    assert len(lines) == len(text.split("\n")) - 1
    assert [line for line in lines if line.startswith("#")] == [
        "# 3 of 6 records, chosen by stratified", "## Mix", "## Licences", "## Settings",
    ]  # fmt: skip
    (row,) = [line for line in lines if line.endswith(" 3 |") and "script" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
    assert not re.search(r"(?<!\\)[<`*\[]", row)
    assert "\x1b" not in text
    assert "\u202e" not in text

"""The page of a comparison: what it says, and that no data set can make it say something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import talk, write_json
from report.pages import HOSTILE, Page, random_run, read_page, records, scored_run
from visift.comparing.compare import compare
from visift.comparing.sides import open_sides
from visift.errors import StorageError
from visift.report.comparison import write_comparison


def page(folder: Path, *names: str) -> Page:
    found = compare(open_sides([folder / name for name in names], None))
    return read_page(write_comparison(found, folder / "compared"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one pool, `scored/out` and `plain/out`, full of attacks."""
    folder = tmp_path_factory.mktemp("runs")
    for name, make in (("scored", scored_run), ("plain", random_run)):
        pool = records(folder / name, {"coco": 30, "gqa": 15}, text=5)
        for record in pool[:20]:
            record |= {"source": f"{HOSTILE} s", "task": f"{HOSTILE} t", "id": HOSTILE}
        make(folder / name, pool, **({"model": "builtin:tiny"} if name == "scored" else {}))
    return folder


def test_one_sentence_says_what_happened(runs: Path) -> None:
    found = page(runs, "scored/out", "plain/out")
    both = found.section("overlap").split(" · ")[2].split()[1]
    assert found.one("h1").text == f"scored and plain have {both} records in common"
    assert "Two random selections of these sizes would have about 2 in common" in found.html


def test_every_section_is_there_and_named(runs: Path) -> None:
    found = page(runs, "scored/out", "plain/out")
    names = [section.attributes["id"] for section in found.all("section")]
    assert names == ["selections", "overlap", "agreement", "mix", "disagree"]
    assert [a.attributes["href"] for a in found.all("a")] == [
        "#main",
        *(f"#{name}" for name in names),
    ]
    assert all(table.parents[-1] == "div" for table in found.all("table"))
    assert len(found.all("caption")) == len(found.all("table"))


def test_nothing_in_a_pool_is_markup_or_loaded(runs: Path) -> None:
    found = page(runs, "scored/out", "plain/out")
    assert not found.all("script")
    assert not found.all("img")
    assert {a.attributes["href"][0] for a in found.all("a")} == {"#"}
    assert found.one("link").attributes["href"] == "data:,"
    assert "\x1b" not in found.html
    assert "\u202e" not in found.html
    policy = next(m for m in found.all("meta") if "http-equiv" in m.attributes)
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:; style-src")


def test_three_selections_fold_their_examples(runs: Path, tmp_path: Path) -> None:
    third = write_json(runs / "third.json", [talk("nobody says this"), talk("nor this")])
    found = page(runs, "scored/out", "plain/out", third.name)
    assert found.one("h1").text == "3 selections, every two of them held against each other"
    assert len(found.all("details")) == 3
    assert "third.json is a list" in found.one("ul", class_="notices").text


def test_selections_without_labels_have_no_mix(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [talk("x"), talk("y")])
    write_json(tmp_path / "b.json", [talk("y")])
    found = page(tmp_path, "a.json", "b.json")
    assert "mix" not in [section.attributes["id"] for section in found.all("section")]
    assert "not known" in found.section("overlap")


def test_the_same_records_disagree_nowhere(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_json(tmp_path / f"{name}.json", [talk("x"), talk("y")])
    assert "Nowhere: both hold the same records." in page(tmp_path, "a.json", "b.json").section(
        "disagree"
    )


def test_a_folder_that_is_a_file(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = compare(open_sides([runs / "scored/out", runs / "plain/out"], None))
    with pytest.raises(StorageError):
        write_comparison(found, tmp_path / "file")

"""`visift compare`: its tables, its JSON, its page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from helpers import sources_pool, talk, write_json
from visift.cli import run
from visift.run import select

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "compare.schema.json"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs on one pool, from which commands are given."""
    pool = sources_pool(tmp_path / "data", {"coco": 30, "[red] :x:": 15}, text=5)
    for name, seed in (("one", 0), ("two", 1)):
        select(pool, method="stratified", budget="20%", output=tmp_path / name, seed=seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def visift(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_what_it_prints(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = visift(capsys, "compare", "one", "two")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:4] == [
        "  selection  method      budget  records  of pool",
        "  one        stratified  20%          10       50",
        "  two        stratified  20%          10       50",
        "",
    ]
    assert lines[4] == (
        "  overlap    in both  of first  of second  by chance  rank rho   tau-b  score rho"
    )
    assert lines[5].split()[:8] == ["one", "·", "two", "2", "20.0%", "20.0%", "2", "±"]
    assert "  [red] :x:    15  30.0%  30.0%  0.0 points" in lines
    heads = [line.split("  rank")[0].rstrip() for line in lines if "does not" in line]
    assert heads == ["  one takes, two does not", "  two takes, one does not"]


def test_json_keeps_to_its_schema(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = visift(capsys, "compare", "one", "two", "--json", "-o", "page")
    assert (code, err) == (0, "")
    said = json.loads(out)
    jsonschema.validate(said, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert said["report"] == "page/index.html"
    assert Path("page/index.html").is_file()
    (pair,) = said["pairs"]
    assert pair["both"] + pair["only_first"] == pair["both"] + pair["only_second"] == 10
    assert pair["expected"] == pytest.approx(2.0)


def test_lists_keep_to_the_schema_as_well(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(here / "a.json", [talk("x"), talk("y")])
    write_json(here / "b.json", [talk("y"), talk("z")])
    code, out, _ = visift(capsys, "compare", "a.json", "b.json", "one", "--json")
    assert code == 0
    said = json.loads(out)
    jsonschema.validate(said, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [pair["both"] for pair in said["pairs"]] == [1, 0, 0]
    assert said["pairs"][0]["expected"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "A B [C …]"),
        (["one"], "A comparison needs two selections."),
        (["one", "./one"], "is named twice."),
        (["one", "none"], "none: there is no such file or folder."),
        (["one", "data"], "data: holds no selection.parquet."),
        (["one", "two", "--pool", "none.json"], "none.json: cannot be read"),
        (["one", "ids.txt"], "which says nothing without a pool."),
    ],
)
def test_errors_of_the_user(
    here: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "ids.txt").write_text("coco/1.png\n")
    code, out, err = visift(capsys, "compare", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error  ")
    assert said in err
    assert "Traceback" not in err


def test_a_hostile_list_cannot_reach_the_terminal(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack = "[bold]\x1b[31mred\u202e"
    write_json(here / "a.json", [talk("x", id=attack), talk("y")])
    write_json(here / "b.json", [talk("y")])
    code, out, _ = visift(capsys, "compare", "a.json", "b.json")
    assert code == 0
    assert "[bold]⟨U+001B⟩[31mred⟨U+202E⟩" in out

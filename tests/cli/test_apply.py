"""`visift apply`: what it prints, as lines and as JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from helpers import sources_pool, write_json
from visift.cli import run
from visift.run import select

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "apply.schema.json"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return sources_pool(tmp_path / "data", {"coco": 30, "gqa": 15}, text=5)


@pytest.fixture
def here(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, from which commands are given."""
    select(pool, method="stratified", budget="20%", output=tmp_path / "out", export=("llava",))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def visift(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_what_it_prints(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = visift(capsys, "apply", "out", "--pool", "data/pool.json", "-o", "new")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[2:4] == [
        "List      out · 10 entries",
        "Match     10 of 10 records found (100%) by content hash",
    ]
    assert lines[4].startswith("Selected  10 of 50 usable records (20.0%)")
    assert any(line.startswith("Wrote     new/export/llava/subset.json") for line in lines)
    one, two = (Path(f"{name}/export/llava/subset.json") for name in ("out", "new"))
    assert one.read_bytes() == two.read_bytes()


def test_what_it_says_of_a_list_of_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(here / "rows.json", [3, 4, 99, 3])
    code, out, _ = visift(capsys, "apply", "rows.json", "--pool", "data/pool.json", "-o", "new",
                          "--by", "row", "--min-match", "50%")  # fmt: skip
    assert code == 0
    assert out.splitlines()[2:6] == [
        "List      rows.json · 4 entries",
        "Match     2 of 4 records found (50%) by row number",
        "Left out  1 not in the pool, 1 named more often than the pool holds it; first: 99, 3",
        "Note      row numbers prove nothing: they fit only the pool they were counted in",
    ]


def test_json_keeps_to_its_schema(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(here / "ids.json", ["coco/1.png", "nobody", "gqa/2.png"])
    code, out, _ = visift(capsys, "apply", "ids.json", "--pool", "data/pool.json", "-o", "new",
                          "--min-match", "60%", "--json")  # fmt: skip
    assert code == 0
    said = json.loads(out)
    jsonschema.validate(said, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert said.pop("seconds") >= 0
    assert said == {
        "list": "ids.json",
        "by": "id",
        "also": None,
        "listed": 3,
        "found": 2,
        "match_rate": 2 / 3,
        "found_by_images_and_text": 0,
        "not_in_pool": 1,
        "repeated": 0,
        "not_usable": 0,
        "first_left_out": [{"rank": 2, "name": "nobody", "reason": "not in the pool"}],
        "selected": 2,
        "records": 50,
        "sources": {
            "coco": {"pool": 30, "selected": 1},
            "gqa": {"pool": 15, "selected": 1},
            "text-only": {"pool": 5, "selected": 0},
        },
        "output": "new",
        "exports": ["new/export/llava"],
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "SUBSET"),
        (["none", "--pool", "data/pool.json"], "none: there is no such file or folder."),
        (["out"], "No pool was named."),
        (["data", "--pool", "data/pool.json"], "data: holds no selection.parquet."),
        (["out", "--pool", "data/pool.json", "--by", "name"], "--by"),
        (["out", "--pool", "data/pool.json", "--min-match", "1 in 2"], "is not a share"),
        (["out", "--pool", "data/pool.json", "-o", "out"], "out: holds what is to be applied."),
        (["out", "--pool", "data/pool.json", "--export", "lava"], 'Did you mean "llava"?'),
    ],
)
def test_errors_of_the_user(
    here: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = visift(capsys, "apply", *arguments)
    assert code == 1
    assert err.startswith("error  ")
    assert said in err
    assert "Traceback" not in err


def test_the_fix_for_too_few_names_a_share_that_works(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(here / "ids.json", ["coco/1.png", "nobody", "gqa/2.png"])
    arguments = ["apply", "ids.json", "--pool", "data/pool.json", "-o", "new"]
    code, _, err = visift(capsys, *arguments)
    assert (code, err) == (
        1,
        "error  ids.json: 2 of its 3 records can be taken from the pool "
        "(1 not in the pool; first: nobody).\n"
        "       Name the pool it was chosen from, or go on without: --min-match 66.6%. "
        "Nothing was written.\n",
    )
    assert visift(capsys, *arguments, "--min-match", "66.6%")[0] == 0


def test_no_torch(here: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from visift.cli import run; "
        "run(['apply', 'out', '--pool', 'data/pool.json', '-o', 'new']); "
        "run(['compare', 'out', 'new']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "pyarrow" in names
    assert not names & {"torch", "transformers"}

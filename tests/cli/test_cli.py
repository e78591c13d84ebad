"""The command line: what it prints where, which code it ends with, and what it does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import put_images, sources_pool, talk, write_json
from visift.cli import COMMANDS, run
from visift.methods.method import METHODS


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return sources_pool(tmp_path / "data", {"coco": 30, "gqa": 15, "[red] :x:": 5}, text=10)


Shown = tuple[int, str, str]


def visift(capsys: pytest.CaptureFixture[str], *arguments: object) -> Shown:
    code = run([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the error of a command that the user must change: nothing else is printed."""
    code, out, err = visift(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error  ")
    assert "Traceback" not in err
    assert all(line.startswith("       ") for line in err.splitlines()[1:])
    return err


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_by(arguments: list[str]) -> set[str]:
    code = f"import sys; from visift.cli import run; run({arguments!r}); print(*sys.modules)"
    return {name.partition(".")[0] for name in in_new_process(code).splitlines()[-1].split()}


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"]])
def test_help_imports_nothing(arguments: list[str]) -> None:
    heavy = {"torch", "transformers", "pyarrow", "numpy", "typer", "click", "rich", "PIL"}
    assert not imported_by(arguments) & heavy


def test_choosing_without_a_model_imports_no_torch(pool: Path, tmp_path: Path) -> None:
    arguments = ["select", "--pool", str(pool), "--method", "random", "--budget", "10%"]
    found = imported_by([*arguments, "-o", str(tmp_path / "out"), "--json"])
    assert "pyarrow" in found
    assert not found & {"torch", "transformers"}


def test_help_of_no_command_imports_anything_slow() -> None:
    code = f"""
import sys
from visift.cli import run
for name in {list(COMMANDS)!r}:
    assert run([name, "--help"]) == 0
print(*sys.modules)"""
    found = {name.partition(".")[0] for name in in_new_process(code).splitlines()[-1].split()}
    assert not found & {"torch", "transformers", "numpy", "pyarrow", "PIL", "jinja2", "scipy"}


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = visift(capsys, "--help")
    assert (code, err) == (0, "")
    assert all(f"  {name}" in out and text in out for name, text in COMMANDS.items())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = visift(capsys, command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: visift {command}")


def test_what_a_run_prints(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (pool.parent / "coco/3.png").unlink()
    code, out, err = visift(capsys, "select", "--pool", pool, "--method", "stratified",
                            "--budget", "20%", "--max-unusable", "2%")  # fmt: skip
    assert (code, err) == (0, "")
    lines = [line.partition(" · in ")[0] for line in out.splitlines()]
    assert lines == [
        "Pool      pool.json · 60 records · 10 text-only · 3 sources (by image path)",
        "Images    50 references · 49 images · 1 reference not found",
        "Set aside 1 record (1 image missing) → out/quarantine.parquet",
        "Method    stratified: random inside every source; separates mixture from score",
        "Selected  11 of 59 usable records (18.6%) · 9 images · 2 text-only",
        "",
        "  source     pool  share  chosen  share",
        "  coco         30  50.0%       5  45.5%",
        "  gqa          15  25.0%       3  27.3%",
        "  text-only    10  16.7%       2  18.2%",
        "  [red] :x:     5   8.3%       1   9.1%",
        "",
        "Wrote     out/export/llava/subset.json · control.json · random.json · RUN.md",
        "          out/selection.parquet · scores.parquet · control.parquet · manifest.json",
        "          out/report/index.html",
        "Next      Train on subset and on control, see out/export/llava/RUN.md",
    ]


def test_a_pool_without_images_or_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = write_json(tmp_path / "pool.json", [talk(str(n)) for n in range(4)])
    code, out, _ = visift(capsys, "select", "--pool", pool, "--method", "random", "--budget", 2,
                          "-o", tmp_path / "out")  # fmt: skip
    assert code == 0
    assert out.startswith(
        "Pool      pool.json · 4 records · 4 text-only · no source labels\nMethod"
    )
    assert "None" not in out


def test_images_without_a_label_are_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(tmp_path, ["a.png"])
    pool = write_json(tmp_path / "pool.json", [talk("1", image="a.png"), talk("2")])
    arguments = ["select", "--pool", pool, "--method", "random", "--budget", "100%"]
    code, out, _ = visift(capsys, *arguments, "--json", "-o", tmp_path / "out")
    assert code == 0
    assert set(json.loads(out)["sources"]) == {"no source", "text-only"}


def test_json_is_one_object_with_the_same_facts(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = visift(capsys, "select", "--pool", pool, "--method", "stratified",
                            "--budget", "20%", "--json", "-o", tmp_path / "out")  # fmt: skip
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said.pop("seconds") >= 0
    assert said.pop("peak_bytes") > 10_000_000
    assert said == {
        "method": "stratified",
        "budget": "20%",
        "records": 60,
        "kept": 0,
        "have": 0,
        "images": {"found": 50, "not_found": 0},
        "set_aside": 0,
        "set_aside_by_kind": {},
        "usable": 60,
        "selected": 12,
        "selected_images": 10,
        "text_only": {"pool": 10, "selected": 2},
        "sources": {
            "coco": {"pool": 30, "selected": 6},
            "gqa": {"pool": 15, "selected": 3},
            "text-only": {"pool": 10, "selected": 2},
            "[red] :x:": {"pool": 5, "selected": 1},
        },
        "notices": [],
        "warning": None,
        "output": str(tmp_path / "out"),
        "exports": [str(tmp_path / "out" / "export" / "llava")],
        "wanted": 0,
        "report": str(tmp_path / "out" / "report" / "index.html"),
    }


def test_a_terminal_that_knows_no_unicode(pool: Path, tmp_path: Path) -> None:
    (pool.parent / "coco/3.png").unlink()
    command = [sys.executable, "-m", "visift", "select", "--pool", str(pool), "--method", "random"]
    command += ["--budget", "10%", "--max-unusable", "5%", "-o", str(tmp_path / "out")]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Set aside 1 record (1 image missing) ? " in done.stdout


def test_a_configuration_file_with_flags_that_win(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visift(capsys, "select", "--pool", pool, "--method", "stratified", "--budget", "20%",
           "--set", "weights=sqrt", "--seed", 3, "-o", tmp_path / "one")  # fmt: skip
    config = tmp_path / "one/run.yaml"
    visift(capsys, "select", "--config", config, "-o", tmp_path / "two")
    visift(capsys, "select", "--config", config, "--budget", "10%", "-o", tmp_path / "three")
    one, two, three = (
        (tmp_path / f"{name}/export/llava/subset.json").read_bytes()
        for name in ("one", "two", "three")
    )
    assert one == two
    assert (one.count(b"conversations"), three.count(b"conversations")) == (12, 6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["selct"], 'There is no command "selct". Did you mean "select"?'),
        (
            ["select", "--budgt", "3"],
            'There is no option "--budgt" of visift select. Did you mean "--budget"?',
        ),
        (["select", "--seed", "x"], "--seed"),
        (["select"], "needs a budget"),
        (["select", "--method", "random", "--budget", "1"], "No pool was named."),
        (["select", "--method", "prizm"], 'There is no method "prizm". Did you mean "prism"?'),
        (["select", "--method", "random"], "needs a budget"),
        (["select", "--method", "prism", "--set", "taau=1"], 'Did you mean "tau"?'),
        (["select", "--method", "prism", "--set", "tau"], '--set "tau" has no "=".'),
        (["select", "--method", "random", "--budget", "x"], '"x" is not a budget.'),
        (["select", "--config", "none.yaml"], "none.yaml: cannot be read"),
        (["methods", "prizm"], 'Did you mean "prism"?'),
        (["export", "none"], "none: there is no such folder."),
        (["export"], "RUN_DIR"),
    ],
)
def test_errors_of_the_user(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("budget", "largest"),
    [("61", "60"), ("0", "60"), ("-1", "60"), ("101%", "60"), ("51-images", "50-images")],
)
def test_budgets_that_cannot_be_met_name_the_largest(
    pool: Path, tmp_path: Path, budget: str, largest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["select", "--pool", pool, "--method", "random", "-o", tmp_path / "out"]
    code, _, err = visift(capsys, *arguments, "--budget", budget)
    assert code == 1
    assert err.endswith(f"       Largest: {largest} or 100%.\n")
    code, _, err = visift(capsys, *arguments, "--budget", largest, "--json")
    assert code == 0


def test_too_many_unusable_records(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(3):
        (pool.parent / f"gqa/{n}.png").unlink()
    arguments = ["select", "--pool", pool, "--method", "random", "--budget", "10%", "--json"]
    assert refused(capsys, *arguments, "-o", tmp_path / "out") == (
        "error  3 of 60 records cannot be used: 3 gqa (image missing) "
        "(first: pool.json#30, image missing: gqa/0.png).\n"
        f"       Check --image-folder (looked in {pool.parent}), or go on without: "
        "--max-unusable 5%. Nothing was measured yet.\n"
    )


def test_export_of_a_finished_run(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    visift(capsys, "select", "--pool", pool, "--method", "random", "--budget", 5, "-o", out)
    code, shown, err = visift(capsys, "export", out, "--nested", "-o", tmp_path / "ranked")
    assert (code, err) == (0, "")
    assert shown == f"Wrote     {tmp_path / 'ranked'}: 5 records an arm\n"
    ranked = json.loads((tmp_path / "ranked/subset.json").read_text())
    plain = json.loads((out / "export/llava/subset.json").read_text())
    assert ranked != plain
    assert sorted(map(str, ranked)) == sorted(map(str, plain))
    assert "rank order" in (tmp_path / "ranked/RUN.md").read_text()
    assert 'Did you mean "llava"' in refused(capsys, "export", out, "--export", "lava")


def test_methods_lists_them_without_wrapping(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = visift(capsys, "methods")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(METHODS)]] == list(METHODS)
    assert all(line == line.rstrip() for line in lines)
    prism = next(line for line in lines if line.startswith("prism"))
    assert "2502.12119" in prism
    assert prism.endswith("no training")


@pytest.mark.parametrize("name", METHODS)
def test_methods_shows_every_parameter(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import fields

    from visift.methods.method import method_class

    kind: Any = method_class(name)
    code, out, _ = visift(capsys, "methods", name)
    assert code == 0
    assert out.startswith(f"{name}: {kind.summary}")
    named = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert {f.name for f in fields(kind) if "origin" in f.metadata} <= set(named)
    assert set(kind.presets) <= set(named)
    assert "None" not in out

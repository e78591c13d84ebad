"""`visift validate` as a shell has it: what is refused at once, and `--collect`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import sources_pool
from visift.cli import run as visift
from visift.run import select


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--demo", "--pool", "p.json"], "--demo brings a pool and a model."),
        (["--results", "r.csv"], "--results goes with --collect RUN_DIR."),
        (["--collect", "out", "--demo"], "Leave out --demo."),
        (["--collect", "out", "--seeds", "5", "--dry-run"], "Leave out --seeds, --dry-run."),
        (["--collect", "out", "--overwrite"], "Leave out --overwrite."),
        (["--pool", "p.json"], "Validating trains a model, and none was named."),
        (["--pool", "p.json", "--seeds", "3", "--training-seeds", "2"], "--seeds contradicts"),
        (["--pool", "p.json", "--set", "tau"], '--set "tau" has no "=".'),
    ],
)
def test_what_is_refused(
    flags: list[str], why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert visift(["validate", *flags, "-o", str(tmp_path / "out")]) == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_collect_prints_the_verdict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pool = sources_pool(tmp_path / "pool", {"a": 10})
    run = select(pool, budget="4", output=tmp_path / "run", cache=tmp_path / "cache").folder
    lines = ["arm,question,score"]
    for arm in ("subset", "random"):
        lines += [f"{arm},q{n},{n % 2}" for n in range(20)]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    assert visift(["validate", "--collect", str(run), "--results", str(tmp_path / "r.csv")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Power     20 questions in 20 image groups")
    assert "No evidence that subset is better or worse than random" in printed
    flags = ["--collect", str(run), "--results", str(tmp_path / "r.csv"), "--json"]
    assert visift(["validate", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["verdict"] == "no evidence"

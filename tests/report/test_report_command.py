"""`visift report RUN_DIR`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from report.pages import random_run, read_page, records
from visift.cli import run as visift

SIZES = {"coco": 30, "gqa": 15}


def test_a_report_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_run(tmp_path, records(tmp_path, SIZES))
    shutil.rmtree(tmp_path / "out" / "report", ignore_errors=True)
    assert visift(["report", str(tmp_path / "out")]) == 0
    written = tmp_path / "out" / "report" / "index.html"
    assert capsys.readouterr().out == f"Wrote     {written}\n"
    assert read_page(written).one("h1").text.startswith("9 of 45 usable records")


def test_the_pool_may_have_moved(tmp_path: Path) -> None:
    random_run(tmp_path / "then", records(tmp_path / "then", SIZES))
    shutil.copytree(tmp_path / "then" / "out", tmp_path / "out")
    shutil.move(tmp_path / "then", tmp_path / "now")
    pool, folder = tmp_path / "now" / "pool.json", tmp_path / "report"
    assert visift(["report", str(tmp_path / "out"), "--pool", str(pool), "-o", str(folder)]) == 0
    assert "9 of 45" in read_page(folder / "index.html").one("h1").text


def test_a_folder_without_a_run_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visift(["report", str(tmp_path)]) == 1
    assert "holds no finished run" in capsys.readouterr().err

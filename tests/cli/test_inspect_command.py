"""`visift inspect`: what it prints, what it fails on, and what it says as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import png, put_images, sources_pool, talk, write_json
from visift.cli import run

Shown = tuple[int, str, str]


def inspect(capsys: pytest.CaptureFixture[str], *arguments: object) -> Shown:
    code = run(["inspect", *map(str, arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    put_images(tmp_path, ["coco/0.png", "coco/1.png", "gqa/0.png"])
    records = [
        talk("<image>\na?", id=1, image="coco/0.png", task="vqa"),
        talk("<image>\na?", id="1", image="coco/0.png", task="vqa"),
        talk("<image>\nb?", id="b", image="coco/1.png", task="ocr"),
        talk("<image>\nc?", image="gqa/none.png"),
        talk("c?", "long answer", image="gqa/0.png"),
        talk("text"),
    ]
    return write_json(tmp_path / "pool.json", records)


def test_what_is_printed(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = inspect(capsys, "--pool", pool)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Pool      pool.json · 6 records · 1 text-only · 3 sources (by task, by image path)",
        "Images    5 references · 3 images · 1 reference not found",
        "Missing   1 gqa (first: pool.json#3: image missing: gqa/none.png)",
        "Records   by number of images: 1 with 0, 5 with 1",
        "Shared    1 of 3 images in several records, one in 2 (coco/0.png)",
        "Turns     2 (median), 2 (95 %), 2 (most) a record",
        "Text      15 (median), 15 (95 %), 15 (most) bytes a record",
        "Answers   5 (median), 11 (95 %), 11 (most) characters a record",
        "Ids       in 3 records (1 as number and 2 as text) · 1 id shared by 2 records (first: 1)",
        "Repeated  1 record (first: pool.json#1 repeats pool.json#0) · 1 to the letter",
        "Tags      1 record with more or fewer <image> than images (first: pool.json#4)",
        "Set aside 1 image missing (first: pool.json#3: image missing: gqa/none.png)",
        "",
        "  source     records  share  text-only  images  missing  set aside  answer",
        "  gqa              2  33.3%          0       1        1          1       5",
        "  vqa              2  33.3%          0       1        0          0       5",
        "  ocr              1  16.7%          0       1        0          0       5",
        "  text-only        1  16.7%          1       0        0          0       5",
    ]


def test_nothing_found_takes_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = sources_pool(tmp_path, {"coco": 3})
    code, out, _ = inspect(capsys, "--pool", pool, "--fail-on", "missing,ids,placeholders,faults")
    assert code == 0
    labels = [line[:10].strip() for line in out.splitlines()]
    assert labels[:7] == ["Pool", "Images", "Records", "Turns", "Text", "Answers", "Ids"]
    assert "all different" in out


def test_tasks_are_shown_where_they_are_not_the_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [talk("1", source="a", task="x"), talk("2", source="b", task="x")]
    pool = write_json(tmp_path / "pool.json", records)
    assert inspect(capsys, "--pool", pool)[1].endswith("\n\n  task  records\n  x           2\n")


def test_fail_on_ends_with_one_sentence(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = inspect(
        capsys, "--pool", pool, "--fail-on", "faults,missing", "--fail-on", "ids"
    )
    assert code == 1
    assert out.startswith("Pool ")
    assert err == (
        "error  pool.json: does not pass --fail-on: missing (1), ids (2).\n"
        "       Mend the pool, or leave what may stay out of --fail-on.\n"
    )


def test_fail_on_what_is_not_there_is_no_failure(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(capsys, "--pool", pool, "--fail-on", "faults")[0] == 0


@pytest.mark.parametrize("kind", ["duplicate", "missing,duplicate", ""])
def test_an_unknown_kind(pool: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = inspect(capsys, "--pool", pool, "--fail-on", kind)
    assert (code, out) == (1, "")
    assert "error  There is no finding " in err
    assert "Findings: faults, missing, duplicates, ids" in err


def test_naming_corrupt_images_decodes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.png").write_bytes(png()[:-10])
    (tmp_path / "real.jpg").write_bytes(png())
    records = [talk("<image>", image="cut.png"), talk("<image>", image="real.jpg")]
    pool = write_json(tmp_path / "pool.json", records)
    assert "Decoded" not in inspect(capsys, "--pool", pool)[1]
    code, out, err = inspect(capsys, "--pool", pool, "--fail-on", "corrupt,extensions")
    assert code == 1
    assert "Decoded   1 of 2 images · from 4×3 to 4×3 pixels\n" in out
    assert "Corrupt   1 truncated (first: cut.png: truncated (" in out
    assert "Misnamed  1 png named .jpg (first: real.jpg)\n" in out
    assert "does not pass --fail-on: corrupt (1), extensions (1)." in err


def test_json_is_one_object_whatever_is_found(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = inspect(capsys, "--pool", pool, "--json", "--fail-on", "missing")
    assert code == 1
    said = json.loads(out)
    assert err.startswith("error  pool.json: does not pass --fail-on: missing (1).")
    assert (said["records"], said["images"]["missing"]["count"], said["verified"]) == (6, 1, None)


def test_text_of_records_commands_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07[red]\u202egnp\n"
    put_images(tmp_path, ["a.png"])
    records = [
        talk("<image>", source=evil, task=evil, id=evil, image="a.png"),
        talk("<image>", source=evil, task="other", id=evil, image=f"{evil}.png"),
        {"id": evil, "conversations": [{"from": evil, "value": ""}]},
    ]
    pool = write_json(tmp_path / "pool.json", records)
    code, out, err = inspect(capsys, "--pool", pool, "--fail-on", "ids")
    assert code == 1
    assert not set("\x1b\x07\u202e") & set(out + err)
    assert "\\x1b[2J\\x1b]0;owned\\x07[red]\\u202egnp\\n" in out

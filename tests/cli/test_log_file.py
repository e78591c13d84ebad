"""`--log-file` and `--debug`, before or after the command; what becomes of our own faults."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import sources_pool, talk, write_json
from visift.cli import run
from visift.cli.everywhere import Everywhere
from visift.cli.logfile import Echo, LogFile
from visift.cli.terminal import printable, printable_lines

Shown = tuple[int, str, str]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"
LINE = re.compile(rf"{TIME} (begin|out  |err  |fault|end  )  (.*)")


def visift(capsys: pytest.CaptureFixture[str], *arguments: object) -> Shown:
    code = run([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def logged(path: Path) -> list[tuple[str, str]]:
    """Return kind and text of every line of a log, all of which have a time."""
    found = [LINE.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(found)
    return [(line[1].strip(), line[2]) for line in found if line]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return sources_pool(tmp_path / "data", {"coco": 6, "gqa": 4})


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Arguments of a command that fails by a fault that is not the user's."""
    (tmp_path / "visift_faulty_method.py").write_text(
        "from visift.methods.controls import Random\n"
        "class Faulty(Random):\n"
        "    def choose(self, pool, inputs, budget):\n"
        "        raise ZeroDivisionError('by\\x1b[31m zero')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    pool = write_json(tmp_path / "pool.json", [talk()])
    yield ["select", "--pool", str(pool), "--budget", "1", "--json", "-o", str(tmp_path / "out"),
           "--method", "visift_faulty_method:Faulty"]  # fmt: skip
    sys.modules.pop("visift_faulty_method", None)


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_what_is_said_is_logged_with_what_was_asked(
    pool: Path, tmp_path: Path, first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    asked = ["select", "--pool", str(pool), "--budget", "3", "-o", str(tmp_path / "an out")]
    option = ["--log-file", str(log)]
    arguments = option + asked if first else asked + option
    code, out, err = visift(capsys, *arguments)
    assert (code, err) == (0, "")
    lines = logged(log)
    assert lines[0][0] == "begin"
    assert lines[0][1].startswith("visift ")
    assert f"-o '{tmp_path / 'an out'}'" in lines[0][1]
    assert all(word in lines[1][1] for word in (str(Path.cwd()), "Python 3.", "visift 0.", "numpy"))
    said = [line.rstrip() for line in out.splitlines() if line.strip()]
    assert [text.rstrip() for kind, text in lines if kind == "out"] == said
    assert lines[-2:-1] == [("end", "exit code 0")]


def test_a_log_is_appended_to_and_has_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    for _ in range(2):
        code, _, err = visift(capsys, "select", "--pool", tmp_path / "no.json", f"--log-file={log}")
        assert code == 1
    lines = logged(log)
    assert [text for kind, text in lines if kind == "err"] == 2 * err.splitlines()
    assert [text for kind, text in lines if "exit code" in text] == 2 * ["exit code 1"]


def test_stdout_stays_one_object_under_json(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", "--pool", pool, "--json"]
    plain = visift(capsys, *arguments)
    assert visift(capsys, *arguments, "--log-file", tmp_path / "run.log") == plain


@pytest.mark.parametrize("where", ["none/run.log", "."])
def test_a_log_that_cannot_be_written(
    tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / where
    code, out, err = visift(capsys, "--log-file", path, "methods")
    assert (code, out) == (1, "")
    assert re.fullmatch(
        rf"error  {re.escape(str(path))}: cannot be written \(.+\)\.\n"
        r"       Choose another --log-file\.\n",
        err,
    )


@pytest.mark.parametrize(
    "arguments", [["methods", "--log-file"], ["--log-file="], ["--log-file", "--debug"]]
)
def test_a_log_without_a_name(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = visift(capsys, *arguments)
    assert code == 1
    assert err == "error  --log-file names no file.\n       For example: --log-file visift.log\n"


def test_a_bar_that_redraws_itself_is_one_line_of_the_log() -> None:
    shown, kept = io.StringIO(), io.StringIO()
    echo = Echo(shown, LogFile(kept), "err")
    frames = ["\x1b[?25l", "10 %", "\r\x1b[2K", "20 %", "\r\x1b[2K", "30 %\n", "\x1b[?25hdone"]
    for frame in frames:
        echo.write(frame)
    echo.end()
    assert shown.getvalue() == "".join(frames)
    assert [LINE.fullmatch(line)[2] for line in kept.getvalue().splitlines()] == [  # type: ignore[index]
        "30 %",
        "done",
    ]


def test_options_of_every_command_are_taken_from_anywhere() -> None:
    take = Everywhere.taken_from
    assert take(["a", "--debug", "b"]) == (Everywhere(debug=True), ["a", "b"])
    assert take(["--log-file", "x", "a"]) == (Everywhere(log_file="x"), ["a"])
    assert take(["a", "--", "--debug"]) == (Everywhere(), ["a", "--", "--debug"])


def test_debugging_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, debug in {"1": True, "0": False, "": False}.items():
        monkeypatch.setenv("VISIFT_DEBUG", value)
        assert Everywhere.taken_from([])[0].debug is debug


# --- faults and tracebacks ----------------------------------------------------------------------


def test_a_fault_is_one_sentence_and_a_file(
    broken: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = visift(capsys, *broken)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first == (
        "error  This is a fault of visift, not of your input (ZeroDivisionError: by\\x1b[31m zero)."
    )
    said = re.fullmatch(
        r" {7}Please report it with its details\. They are in (.+); --debug shows them here\.",
        second,
    )
    assert said is not None
    details = Path(said[1]).read_text()
    assert "Traceback (most recent call last)" in details
    assert "visift_faulty_method:Faulty" in details


def test_details_go_into_the_log_if_there_is_one(
    broken: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    code, _, err = visift(capsys, *broken, "--log-file", log)
    assert code == 2
    assert f"They are in {log};" in err
    assert "Traceback" not in err
    assert list((tmp_path / "temp").iterdir()) == []
    lines = logged(log)
    assert ("fault", "Traceback (most recent call last):") in lines
    assert any(kind == "fault" and "ZeroDivisionError" in text for kind, text in lines)


@pytest.mark.parametrize("first", [True, False])
def test_debug_shows_where_a_fault_is(
    broken: list[str], first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--debug", *broken] if first else [*broken, "--debug"]
    code, _, err = visift(capsys, *arguments)
    assert code == 2
    assert err.startswith("Traceback (most recent call last)")
    assert "error  This is a fault of visift" in err


def test_debug_shows_where_an_error_of_the_user_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", "--pool", tmp_path / "none.json"]
    assert "Traceback" not in visift(capsys, *arguments)[2]
    code, _, err = visift(capsys, *arguments, "--debug")
    assert code == 1
    assert err.startswith("Traceback (most recent call last)")
    assert err.splitlines()[-2].startswith(f"error  {tmp_path / 'none.json'}: cannot be read")


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    command = f"{sys.executable} -m visift --log-file {log} methods --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ)
    assert "Traceback" not in done.stderr
    assert "fault of visift" not in done.stderr


# --- text of records ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – 日本語 é", "plain – 日本語 é"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m\x00\x7f", "\\x9b31m\\x00\\x7f"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
    ],
)
def test_nothing_in_a_text_commands_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_of_a_message_stay_lines() -> None:
    assert printable_lines("a\x07\nb") == "a\\x07\nb"

"""Completion scripts, tried in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from visift.cli import COMMANDS, run
from visift.cli.parameters import parameters
from visift.cli.shells import SCRIPTS
from visift.export.trainers import TRAINERS
from visift.methods.method import METHODS
from visift.pool.findings import FINDINGS


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    for shell, script in SCRIPTS.items():
        (folder / shell).write_text(script())
    return folder


@dataclass(frozen=True)
class Bash:
    """A bash that has the script, in a folder of its own."""

    script: Path
    folder: Path

    def complete(self, *words: str) -> list[str]:
        """Press TAB after these words, the last of which may be begun; return what is offered."""
        code = (
            'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            '_visift; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        command = ["bash", "-c", code, "bash", str(self.script), "visift", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()


@pytest.fixture
def bash(scripts: Path, tmp_path: Path) -> Bash:
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    return Bash(scripts / "bash", tmp_path)


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in SCRIPTS.items():
        assert run(["completion", shell]) == 0
        shown = capsys.readouterr()
        assert (shown.out, shown.err) == (script(), "")


def test_another_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == 1
    assert '"csh"' in capsys.readouterr().err


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shell_itself_reads_it(shell: str, scripts: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    done = subprocess.run([shell, "-n", str(scripts / shell)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_script_starts_visift(scripts: Path) -> None:
    for shell in SCRIPTS:
        lines = (scripts / shell).read_text().splitlines()
        code = "\n".join(line for line in lines if not line.startswith("#"))
        assert "python" not in code
        assert "$(visift" not in code


def test_bash_completes_commands(bash: Bash) -> None:
    assert set(COMMANDS) < set(bash.complete(""))
    assert bash.complete("sel") == ["select"]
    assert bash.complete("--vers") == ["--version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_completes_the_options_of_every_command(bash: Bash, command: str) -> None:
    offered = bash.complete(command, "-")
    declared = {flag for one in parameters()[command] for flag in one.flags}
    assert set(offered) == declared | {"--help", "-h"}
    assert {"--debug", "--log-file"} <= set(offered)


VALUES: list[tuple[Sequence[str], Sequence[str]]] = [
    (["select", "--method", ""], list(METHODS)),
    (["select", "--method", "pri"], ["prism"]),
    (["select", "--method", "=", "pri"], ["prism"]),
    (["select", "--method", "="], list(METHODS)),
    (["select", "--pool", "x.json", "--export", ""], list(TRAINERS)),
    (["inspect", "--fail-on", ""], list(FINDINGS)),
    (["methods", ""], list(METHODS)),
    (["completion", ""], ["bash", "zsh", "fish"]),
    (["select", "--budget", ""], []),
    (["--debug", "select", "--over"], ["--overwrite"]),
    (["--log-file", "x.log", "select", "--over"], ["--overwrite"]),
    (["--log-file", "=", "x.log", "select", "--over"], ["--overwrite"]),
]


@pytest.mark.parametrize(("words", "offered"), VALUES)
def test_bash_completes_values(bash: Bash, words: Sequence[str], offered: Sequence[str]) -> None:
    assert bash.complete(*words) == list(offered)


@pytest.mark.parametrize(
    "words",
    [
        ["select", "--pool", ""],
        ["select", "--model", ""],
        ["select", "--output", "o"],
        ["select", "-o", ""],
        ["export", ""],
        ["--log-file", ""],
    ],
)
def test_bash_is_left_to_complete_files(bash: Bash, words: Sequence[str]) -> None:
    """Nothing of ours, and the script is registered so that files are offered then."""
    assert bash.complete(*words) == []
    code = f'source "{bash.script}"; complete -p visift'
    shown = subprocess.run(["bash", "-c", code], capture_output=True, text=True).stdout
    assert "-o default" in shown


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("visift sel", {"select"}),
        ("visift select --meth", {"--method"}),
        ("visift select --method pri", {"prism"}),
        ("visift completion ", {"bash", "zsh", "fish"}),
        ("visift select --o", {"--output", "--overwrite"}),
        ("visift select --budget ", set()),
    ],
)
def test_fish_completes(scripts: Path, tmp_path: Path, line: str, offered: set[str]) -> None:
    code = f"source {scripts / 'fish'}; complete -C '{line}'"
    done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert {said.split("\t")[0] for said in done.stdout.splitlines()} == offered

"""Environments of their own for trainers, kept in pytest's cache: their pins clash with ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_TORCH = next(
    line
    for line in (Path(__file__).parents[2] / "constraints.txt").read_text("utf-8").splitlines()
    if line.startswith("torch==")
)


@dataclass(frozen=True)
class Environment:
    """A folder made by `python -m venv`."""

    folder: Path

    def run(
        self, *command: str, home: Path, timeout: int = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs in `home`, without network, and return what it said."""
        variables = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HF_HOME": str(home / "hf"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        return subprocess.run(
            command,
            cwd=home,
            env=variables,
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def environment(cache: pytest.Cache, name: str, packages: Sequence[str]) -> Environment:
    """Return an environment with CPU torch and some packages; skip where pip cannot get them."""
    made = Environment(cache.mkdir("trainers") / name)
    note, wanted = made.folder / "packages.txt", "\n".join([sys.version, _TORCH, *packages])
    if note.is_file() and note.read_text("utf-8") == wanted:
        return made
    shutil.rmtree(made.folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", made.folder], check=True)
    if _pip(made, "install", f"{_TORCH}+cpu").returncode:
        _must(_pip(made, "install", _TORCH))
    limits = made.folder / "torch.txt"
    limits.write_text(_TORCH, "utf-8")
    _must(_pip(made, "install", "-c", str(limits), *packages))
    note.write_text(wanted, "utf-8")
    return made


def without_audio_and_video(made: Environment) -> None:
    """Take out what PyPI has for CUDA alone; an empty module stands where one is imported."""
    _pip(made, "uninstall", "--yes", "torchvision", "torchaudio")
    (packages,) = (made.folder / "lib").glob("python*/site-packages")
    (packages / "torchaudio.py").write_text("", "utf-8")


def _pip(made: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [made.folder / "bin" / "python", "-m", "pip", "-q", *arguments]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _must(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        pytest.skip(f"pip cannot install it: {done.stdout[-500:]}")

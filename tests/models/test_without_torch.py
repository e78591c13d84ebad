"""A bare install: what needs a model says so in one sentence, and how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.simple import write_pool

BLOCKED = """
import sys
for name in ("torch", "transformers", "huggingface_hub"):
    sys.modules[name] = None
from visift.errors import ModelError
from visift.models.devices import available
from visift.models.ref import ModelRef
from visift.signals.features import VisualFeatures
try:
    {call}
except ModelError as error:
    print(error)
"""
SAID = 'this needs torch and transformers.\npip install "visift[models]"\n'


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "call",
    [
        "available()",
        "ModelRef('builtin:tiny').identity()",
        "ModelRef('org/some-model').folder()",
        "VisualFeatures(ModelRef('builtin:tiny')).open('cpu')",
    ],
)
def test_without_torch_whatever_needs_a_model_says_so(call: str) -> None:
    done = run(BLOCKED.format(call=call))
    assert (done.returncode, done.stdout, done.stderr) == (0, SAID, "")


def test_a_run_without_torch_ends_with_the_users_exit_code(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", [(str(i), [f"{i}.png"]) for i in range(4)])
    code = "import sys; sys.modules['torch'] = None; from visift.cli import main; main()"
    asked = ["--method", "prism", "--model", "builtin:tiny", "--budget", "50%"]
    folders = ["--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "out")]
    done = run(code, "select", "--pool", str(pool), *asked, *folders)
    assert done.returncode == 1
    assert 'pip install "visift[models]"' in done.stderr
    assert "Traceback" not in done.stderr

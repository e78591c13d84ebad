"""`transformers serve` with the bundled model, a server that nobody here wrote."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from annotate.lists import lines, todo
from visift.annotate import Endpoint, Settings, annotate
from visift.annotate.asking import Manners

NEEDED = ("httpx2", "torch", "transformers", "fastapi", "uvicorn", "openai")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(find_spec(name) for name in NEEDED),
        reason="needs visift[models,annotate] and transformers[serving]",
    ),
]

# Without torchvision images are decoded by Pillow: one built for another torch breaks the server.
SERVE = (
    "import sys; sys.modules['torchvision'] = None\n"
    "from transformers.cli.transformers import main; sys.exit(main())"
)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str]]:
    """Start the server; yield its address and the name of the model."""
    import visift.models.tiny

    model = str(Path(visift.models.tiny.__file__).parent / "checkpoint")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["serve", model, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        server.kill()
        server.wait()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None, "transformers serve ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("transformers serve does not answer")


def test_images_get_answers_and_tokens_are_counted(served: tuple[str, str], tmp_path: Path) -> None:
    url, model = served
    done = annotate(
        todo(tmp_path, 2, prompt="What is in the image?"),
        image_folder=tmp_path,
        endpoint=Endpoint.parse(url),
        settings=Settings(model, 500, {"temperature": 0}),
        output=tmp_path / "out.jsonl",
        manners=Manners(concurrency=1, timeout=300),
    )
    assert (done.annotated or 0) + len(done.failed or {}) == 2
    assert set((done.failed or {}).values()) <= {"cut off at the token limit"}
    assert done.tokens.sent > 2 * 100
    assert done.tokens.received > 0
    assert len(lines(tmp_path / "out.jsonl")) == done.annotated

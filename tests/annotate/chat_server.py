"""A real HTTP server on loopback that speaks the chat protocol, and misbehaves when told to.

Run as a program (`python chat_server.py LOG`) it prints its address, answers for ever, each time
after a moment, and logs what it was asked, one line each.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

TOKENS_PER_IMAGE, TOKENS_PER_ANSWER = 100, 20


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def texts(self) -> list[str]:
        """System text, if any, and what is asked."""
        parts = [message["content"] for message in self.body["messages"]]
        own = [part for one in parts if isinstance(one, list) for part in one]
        said = [one for one in parts if isinstance(one, str)]
        return said + [part["text"] for part in own if part["type"] == "text"]

    @property
    def images(self) -> list[Image.Image]:
        parts = self.body["messages"][-1]["content"]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        return [Image.open(io.BytesIO(image_bytes(url))) for url in urls]


def image_bytes(url: str) -> bytes:
    found = re.fullmatch(r"data:image/(?:png|jpeg);base64,(.*)", url)
    assert found, url[:60]
    return base64.b64decode(found[1], validate=True)


def usage(asked: Asked) -> dict[str, int]:
    """Count tokens as the estimate assumes."""
    n_bytes = sum(len(text.encode()) for text in asked.texts)
    sent = -(-n_bytes // 4) + TOKENS_PER_IMAGE * len(asked.images)
    return {"prompt_tokens": sent, "completion_tokens": TOKENS_PER_ANSWER}


def reply(asked: Asked, text: str | None = None, **choice: Any) -> dict[str, Any]:
    """Return a good reply about the first image: turns where the schema asks for them."""
    if text is None:
        colour = asked.images[0].convert("RGB").getpixel((0, 0))
        text = f"It is {colour}."
        if "response_format" in asked.body:
            turns = [{"question": f"Which colour ({k})?", "answer": text} for k in range(2)]
            text = json.dumps({"turns": turns})
    message = {"role": "assistant", "content": text}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": asked.body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}],
        "usage": usage(asked),
    }


class Handler(BaseHTTPRequestHandler):
    """One request; what a behaviour is given to act with."""

    protocol_version = "HTTP/1.1"
    server: Chat  # type: ignore[assignment]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        asked = Asked(self.path, dict(self.headers.items()), body)
        with self.server.lock:
            number = len(self.server.asked)
            self.server.asked.append(asked)
        self.server.behave(self, asked, number)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, said: Any, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(said).encode(), **headers)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


Behaviour = Callable[[Handler, Asked, int], None]


def well(handler: Handler, asked: Asked, number: int) -> None:
    handler.send_json(reply(asked))


class Chat(ThreadingHTTPServer):
    """The server; `asked` is all that came, in order."""

    daemon_threads = True

    def __init__(self, behave: Behaviour = well) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = behave
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


@contextmanager
def chat(behave: Behaviour = well) -> Iterator[Chat]:
    with Chat(behave) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def first(bad: Behaviour, times: int = 1) -> Behaviour:
    """Misbehave so many times, then well."""
    return lambda handler, asked, number: (bad if number < times else well)(handler, asked, number)


def status(code: int, said: Any = None, **headers: str) -> Behaviour:
    return lambda handler, asked, number: handler.send_json(said or {}, code, **headers)


def says(said: Any) -> Behaviour:
    """Answer with this JSON."""
    return lambda handler, asked, number: handler.send_json(said)


def chooses(text: str | None = None, **choice: Any) -> Behaviour:
    return lambda handler, asked, number: handler.send_json(reply(asked, text, **choice))


if __name__ == "__main__":
    log = Path(sys.argv[1])

    def slowly(handler: Handler, asked: Asked, number: int) -> None:
        time.sleep(0.1)
        text = reply(asked)["choices"][0]["message"]["content"]
        with log.open("a") as lines:
            lines.write(json.dumps(text) + "\n")
        handler.send_json(reply(asked))

    with Chat(slowly) as program:
        sys.stdout.write(f"{program.url}\n")
        sys.stdout.flush()
        program.serve_forever()

"""Small lists of images to annotate, and how tests call the annotator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from annotate.chat_server import TOKENS_PER_ANSWER, TOKENS_PER_IMAGE, Chat
from helpers import put_images
from visift.annotate import Annotated, Endpoint, Settings, ToAnnotate, annotate, write_todo
from visift.annotate.asking import Manners
from visift.annotate.money import Spending

#: A model of a million dollars a million tokens: a dollar a token.
PRICES = {"price_in": "1000000", "price_out": "1000000"}
QUICK = Manners(concurrency=4, timeout=5, first_wait=0.01)


def images(folder: Path, count: int) -> list[str]:
    names = [f"a/{n}.png" for n in range(count)]
    put_images(folder, names)
    return names


def todo(folder: Path, count: int, **rest: Any) -> Path:
    """Write a list of so many images, and the images; return the list."""
    items = [
        ToAnnotate(f"u{n}", (name,), rank=n + 1, **rest)
        for n, name in enumerate(images(folder, count))
    ]
    path = folder / "to_annotate.jsonl"
    write_todo(path, items)
    return path


def spending(**rest: Any) -> Spending:
    tokens = {"tokens_per_image": TOKENS_PER_IMAGE, "tokens_per_answer": TOKENS_PER_ANSWER}
    return Spending.parse(**({"max_cost": None, **PRICES, **tokens} | rest))


def ask(server: Chat, folder: Path, listed: Any, **rest: Any) -> Annotated:
    """Annotate a list into `out.jsonl` of a folder."""
    known: dict[str, Any] = {
        "image_folder": folder,
        "endpoint": Endpoint.parse(server.url),
        "settings": Settings("m", max_tokens=TOKENS_PER_ANSWER),
        "output": folder / "out.jsonl",
        "manners": QUICK,
        "spending": spending(),
    }
    return annotate(listed, **(known | rest))


def lines(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]

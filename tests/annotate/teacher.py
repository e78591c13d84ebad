"""A teacher that knows the demo: a real HTTP server in a process of its own.

It rates records by the demo's ground truth, and knows them by what a request holds: the bytes of
the images and the text of the dialogue. What it does not know it turns away.

`teaching(folder)` starts one for a demo pool in `folder` (`pool.json`, `images/`,
`planted.parquet`) and gives its address; each record it rates is a line (its row) of
`folder/rated.log`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotate.chat_server import Asked, Chat, Handler, image_bytes, reply
from visift.annotate.pictures import digest
from visift.annotate.rating import Rating
from visift.annotate.taxonomy import Taxonomy
from visift.annotate.todo import ToAnnotate
from visift.demo.ratings import demo_ratings
from visift.pool.record import ROLES, Turn

TESTS = Path(__file__).parents[1]
LOG = "rated.log"

#: What a record is known by: the digests of its images, and what is sent with them.
Known = tuple[tuple[str, ...], str]


@contextmanager
def teaching(folder: Path, *, delay: float = 0.0) -> Iterator[str]:
    """Start a teacher; yield its address, as `--endpoint` takes it."""
    told = [sys.executable, "-m", "annotate.teacher", str(folder.absolute()), str(delay)]
    server = subprocess.Popen(told, stdout=subprocess.PIPE, text=True, cwd=TESTS)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "the teacher did not start"
        yield url
    finally:
        server.kill()
        server.wait()


def rated(folder: Path) -> list[int]:
    """Return the rows that were rated, in order."""
    log = folder / LOG
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def line_of(record: dict[str, Any], row: int) -> ToAnnotate:
    """Return a record of the demo as the line of a list."""
    image = record.get("image", [])
    turns = tuple(Turn(ROLES[turn["from"]], turn["value"]) for turn in record["conversations"])
    images = (image,) if isinstance(image, str) else tuple(image)
    return ToAnnotate(
        f"pool.json#{row}", images, f"{row:032x}", row + 1, task=record["task"], conversations=turns
    )


def demo_lines(folder: Path) -> list[ToAnnotate]:
    """Return every record of a demo pool as the line of a list."""
    records = json.loads((folder / "pool.json").read_text())
    return [line_of(record, row) for row, record in enumerate(records)]


def _known(folder: Path) -> dict[Known, tuple[int, Rating]]:
    """Return row and rating by what a record is known by; of equal records the first one's."""
    taxonomy = Taxonomy.read()
    digests = {path: digest(path.read_bytes()) for path in (folder / "images").rglob("*.png")}
    found: dict[Known, tuple[int, Rating]] = {}
    for row, (item, rating) in enumerate(
        zip(demo_lines(folder), demo_ratings(folder), strict=True)
    ):
        shown = tuple(digests[folder / "images" / image] for image in item.images)
        found.setdefault((shown, taxonomy.request(item).text), (row, rating))
    return found


def _serve(folder: Path, delay: float) -> None:
    known = _known(folder)

    def teach(handler: Handler, asked: Asked, number: int) -> None:
        time.sleep(delay)
        parts = asked.body["messages"][-1]["content"]
        shown = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        key = (tuple(digest(image_bytes(url)) for url in shown), parts[-1]["text"])
        if key not in known:
            handler.send_json({"error": "no record of the demo"}, 400)
            return
        row, rating = known[key]
        with (folder / LOG).open("a") as log:
            log.write(f"{row}\n")
        handler.send_json(reply(asked, json.dumps(_answer(asked, rating))))

    with Chat(teach) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        server.serve_forever()


def _answer(asked: Asked, rating: Rating) -> dict[str, Any]:
    """Return what the schema of a request asks for."""
    schema = asked.body["response_format"]["json_schema"]["schema"]
    keys = schema["properties"]["scores"]["required"]
    answer: dict[str, Any] = {"scores": {key: rating.scores[key] for key in keys}}
    if "styles" in schema["properties"]:
        answer["styles"] = list(rating.styles)
    return answer


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), float(sys.argv[2]))

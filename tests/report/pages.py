"""Runs to report on, without a model, and a strict look at the HTML that comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from helpers import put_images, talk, write_json
from visift.finished import Run
from visift.run import select

#: What a record may hold: markup, ends of sections, entities, control and direction characters.
HOSTILE = (
    "<script>alert(1)</script> ]]> --> </style></title> \"'`><img src=x onerror=alert(1)> &lt;b> "
    "{{ 7*7 }} {% raw %} [a](http://evil.example) \x00\x1b[31m\u202egnp.exe\u2066\u2028 | *b* "
    "http://evil.example\r\n---\n# title"
)
VOID = {"meta", "link", "img", "br", "hr", "input", "rect", "path"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Every element of a page; complains about tags that do not match."""

    html: str
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.html)
        self.close()
        assert not self._open, [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {tag} {names}"
        parents = tuple(element.tag for element in self._open)
        element = Element(tag, {name: value or "" for name, value in attrs}, parents)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        assert tag in VOID, f"<{tag}/>"

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> without a beginning"
        assert self._open[-1].tag == tag, f"</{tag}> ends <{self._open[-1].tag}>"
        self._open.pop()
        if tag in ("td", "th"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag
            and all(element.attributes.get(name) == value for name, value in wanted.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (element,) = self.all(tag, **attributes)
        return element

    def section(self, name: str) -> str:
        """The text of a section, on one line."""
        return " ".join(self.one("section", id=name).text.split())


def read_page(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def records(folder: Path, sizes: dict[str, int], text: int = 0) -> list[dict[str, Any]]:
    """Put one small image a record into a folder; return these records and some without image."""
    names = [f"{source}/{n}.png" for source, size in sizes.items() for n in range(size)]
    put_images(folder, names)
    shown = [
        talk(f"<image>\nname {name}?", f"it is {name}", image=name, source=name.partition("/")[0])
        for name in names
    ]
    return shown + [talk(f"text {n}?", f"so be it {n}") for n in range(text)]


def random_run(folder: Path, pool: Sequence[Any], **options: Any) -> Run:
    """Choose by the method without scores."""
    file = write_json(folder / "pool.json", pool)
    return select(
        file, output=folder / "out", **{"method": "stratified", "budget": "20%", **options}
    )


def scored_run(folder: Path, pool: Sequence[Any], **options: Any) -> Run:
    """Choose by PRISM from features of two numbers each, measured nowhere."""
    file = write_json(folder / "pool.json", pool)
    rows = list(range(len(pool)))
    features = [[float(n % 7), 1.0 + n % 11] for n in rows]
    signals = folder / "features.parquet"
    columns = {"row": rows, "visual_feature": pa.array(features, pa.list_(pa.float32(), 2))}
    pq.write_table(pa.table(columns), signals)
    return select(
        file,
        output=folder / "out",
        signals=signals,
        **{"method": "prism", "budget": "20%", **options},
    )

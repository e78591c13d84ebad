"""Text that attacks whoever shows it, through every command: data stays data, to the byte."""

from __future__ import annotations

import json
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from helpers import put_images, write_json
from visift.cli import run

#: What spreadsheets run, terminals obey, browsers run, templates fill in, and shells expand.
TEXTS = (
    '=cmd|" /C calc"!A0',
    '@SUM(1+1)*cmd|" /C calc"!A0',
    '+1-1\t-2+3\r\n=HYPERLINK("http://evil.example")',
    "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b2J\x08\x08\x7f",
    "\u202egnp.exe\u2066\u2069\u200f\u2028\u2029\x85",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</title></style></script>--><svg/onload=alert(1)>",
    "[bold red]x[/bold red][link=http://evil.example]y[/link]",
    "[a](javascript:alert(1)) ![b](http://evil.example/x.png)\n---\n# title\n| a | b |",
    "{{ 7*7 }}{% raw %}${7*7}%(x)s{0}%s%n",
    "$(touch /tmp/owned)`touch /tmp/owned`; rm -rf ~ && echo 'x' \"y\"",
    "\0",
    "<image>",
    "\ufeff\u200b\u00ad\ue000\U000e0041 Z\u0351\u0357\u0353",
)
#: The characters of which none may reach a terminal or a page as they are.
ACTING = ("Cc", "Zl", "Zp")
#: Outputs of commands that refuse: their errors show text of records too.
REFUSED = ("too_many", "a_tag_as_text", "ambiguous")
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def record(number: int, text: str) -> dict[str, Any]:
    """Return a record that says the text everywhere it can; two of three have an image."""
    image = {"image": "a/0.png"} if number % 3 else {}
    tag = "<image>\n" if image else ""
    said = text.replace("<image>", "") if image else text
    turns = [{"from": "human", "value": f"{tag}{said}"}, {"from": "gpt", "value": said}]
    return {"id": text, **image, "source": text, "task": text, "conversations": turns, text: text}


def faulty(text: str) -> list[dict[str, Any]]:
    """Return records that are set aside with the text in the reason."""
    turns = [{"from": text, "value": text}]
    return [{"conversations": turns}, {**record(0, text), "image": f"x/{text}/y.png"}]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    put_images(tmp_path / "images", ["a/0.png"])
    records = [record(number, text) for number, text in enumerate(TEXTS)]
    records += [bad for text in TEXTS for bad in faulty(text)]
    return write_json(tmp_path / "pool \x1b[31m\n<b>.json", records, indent=1)


def commands(pool: Path) -> list[list[str]]:
    """Return every command that shows what records say, and the exports of every trainer."""
    there = ["--pool", str(pool), "--image-folder", "images"]
    wide = ["--max-unusable", "100%"]
    select = ["select", *there, *wide, "--budget"]
    return [
        ["inspect", *there],
        ["inspect", *there, "--verify-images"],
        ["inspect", *there, "--json"],
        ["plan", "--all", *there, "--budget", "50%"],
        ["plan", "--all", *there, "--budget", "50%", "--json"],
        [*select, "100%", "-o", "out"],
        [*select, "50%", "-o", "again", "--json"],
        ["select", *there, "--budget", "50%", "-o", "too_many"],
        ["report", "out"],
        ["export", "out", "--export", "llama-factory", "--escape-literal-tags"],
        ["export", "out", "--export", "trl", "--on-mismatch", "drop"],
        ["export", "out", "--export", "llama-factory", "-o", "a_tag_as_text"],
        ["compare", "out", "again", "-o", "compared"],
        ["compare", "out", "again", "--json"],
        ["apply", "out", *there, "-o", "applied"],
        ["apply", "out/export/llava/subset.json", *there, "--by", "id", "-o", "ambiguous"],
    ]


def acting(text: str) -> set[str]:
    """Return the characters of a text that act instead of being shown, but for white space."""
    return {
        char
        for char in set(text) - {"\n", "\t"}
        if unicodedata.category(char) in ACTING or char in DIRECTIONS
    }


def test_no_text_of_a_record_acts_on_whoever_reads_it(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in commands(pool):
        code = run(arguments)
        said = capsys.readouterr()
        refused = arguments[-1] in REFUSED
        assert code == (1 if refused else 0), (arguments, said.err)
        for stream in [said.err] if "--json" in arguments else said:
            assert not acting(stream), (arguments, stream)
        if "--json" in arguments:
            json.loads(said.out)
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path != pool]
    pages = [path for path in made if path.suffix == ".html"]
    assert {path.parent.name for path in pages} >= {"report", "compared"}
    for path in pages:
        assert not acting(text := path.read_text(encoding="utf-8")), path
        assert Active(text).found == [], path
    for path in made:
        if path.suffix in (".md", ".yaml") and path.name != "RUN.md":
            assert not acting(path.read_text(encoding="utf-8")), path
    # Nothing is written for spreadsheets, which would run what begins with "=".
    assert not [path for path in made if path.suffix in (".csv", ".tsv", ".xlsx")]


def test_json_on_a_terminal_acts_on_nobody(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in commands(pool):
        run(arguments)
        said = capsys.readouterr().out
        if "--json" in arguments:
            assert not acting(said), (arguments, said)
            assert json.loads(said)


def test_a_log_acts_on_nobody_who_shows_it(pool: Path, tmp_path: Path) -> None:
    for arguments in commands(pool):
        run([*arguments, "--log-file", "log.txt"])
    assert not acting((tmp_path / "log.txt").read_text(encoding="utf-8"))


def test_instructions_act_on_nobody_who_shows_them(pool: Path, tmp_path: Path) -> None:
    for arguments in commands(pool):
        run(arguments)
    for path in tmp_path.rglob("RUN.md"):
        assert not acting(path.read_text(encoding="utf-8")), path


class Active(HTMLParser):
    """What of a page would run, load or lead elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.found.append(tag)
        for name, value in attrs:
            address = (value or "").strip()
            leads = name in ("src", "href") and not address.startswith(
                ("data:image/", "data:,", "#")
            )
            if name.startswith("on") or leads:
                self.found.append(f"{tag} {name}={value}")


def test_what_is_exported_is_what_was_said(pool: Path, tmp_path: Path) -> None:
    there = ["--pool", str(pool), "--image-folder", "images", "--max-unusable", "100%"]
    assert run(["select", *there, "--budget", "100%", "--method", "random", "-o", "out"]) == 0
    exported = json.loads((tmp_path / "out" / "export" / "llava" / "subset.json").read_bytes())
    assert exported == [record(number, text) for number, text in enumerate(TEXTS)]


@pytest.mark.parametrize("length", [10_000_000])
def test_one_endless_text_does_not_fill_screen_or_page(
    tmp_path: Path, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(tmp_path, ["a.png"])
    endless = "x" * length
    turns = [{"from": "human", "value": "<image>" + endless}, {"from": "gpt", "value": "short"}]
    records: list[dict[str, Any]] = [{"image": "a.png", "id": endless, "conversations": turns}]
    records += [{"conversations": [{"from": endless, "value": ""}]}]
    records += [{"image": endless, "conversations": turns[1:]}]
    pool = write_json(tmp_path / "pool.json", records)
    arguments = ["--pool", str(pool), "--max-unusable", "100%", "-o", str(tmp_path / "out")]
    assert run(["select", *arguments, "--budget", "1"]) == 0
    assert run(["inspect", "--pool", str(pool)]) == 0
    assert run(["select", "--pool", str(pool), "--budget", "1", "-o", str(tmp_path / "no")]) == 1
    said = capsys.readouterr()
    assert len(said.out) < 20_000
    assert len(said.err) < 20_000
    assert (tmp_path / "out" / "report" / "index.html").stat().st_size < 1_000_000
    assert (tmp_path / "out" / "quarantine.parquet").stat().st_size < 100_000

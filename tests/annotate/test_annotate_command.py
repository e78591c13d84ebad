"""`visift annotate` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from annotate.chat_server import TOKENS_PER_ANSWER, TOKENS_PER_IMAGE, chat, chooses, first
from annotate.lists import lines, todo
from visift.cli import run

pytest.importorskip("httpx2")
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "annotate.schema.json"
COUNTS = [
    "--tokens-per-image", str(TOKENS_PER_IMAGE), "--tokens-per-answer", str(TOKENS_PER_ANSWER),
]  # fmt: skip
PRICES = ["--price-in", "10", "--price-out", "100"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(["annotate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def said_as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    told = json.loads(said(capsys, *arguments, "--json"))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(told)
    return told


def test_what_a_person_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    todo(tmp_path, 4, task="cats")
    with chat(first(chooses("no JSON"))) as server:
        asked = ["to_annotate.jsonl", "--endpoint", server.url, "--model", "m", *COUNTS, *PRICES]
        dry = said(capsys, *asked, "--dry-run").splitlines()
        assert server.asked == []
        shown = said(capsys, *asked).splitlines()
    host = server.url.removesuffix("/v1")
    assert (
        dry[:4]
        == shown[:4]
        == [
            f"Endpoint  {host} · model m · without a key",
            "Images    go to this host and no other; larger than 2,048 pixels: scaled down",
            "To do     to_annotate.jsonl · 4 lines · 1 task",
            "Prompts   conversation 4 (visift's own; --show-prompts prints them)",
        ]
    )
    cost = dry[4].rpartition("about ")[2]
    sent = 4 * 237
    assert dry[4] == f"Estimate  4 requests, about {sent} tokens in and 80 out, about {cost}"
    assert cost == "$0.017"
    assert dry[5].strip() == (
        "assumed: 100 tokens an image (--tokens-per-image), 20 an answer (--tokens-per-answer)"
    )
    assert shown[4:6] == dry[4:6]
    assert shown[6:] == [
        "Annotated 3 of 4 lines · 1 failed",
        "          1 × the reply is not the JSON asked for",
        f"Cost      {cost}: {sent} tokens in and 80 out",
        "Wrote     annotated.jsonl",
        "          annotated.failed.jsonl",
    ]


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    todo(tmp_path, 3)
    with chat() as server:
        asked = ["to_annotate.jsonl", "--endpoint", server.url, "--model", "m", *COUNTS, *PRICES]
        dry = said_as_json(capsys, *asked, "--dry-run")
        assert (dry["annotated"], dry["left"], dry["output"]) == (None, None, None)
        limit = dry["estimated_cost"] * 0.9
        some = said_as_json(capsys, *asked, "--max-cost", limit, "--max-tokens", 20)
        unpriced = said_as_json(capsys, *asked[:-4], "-o", "b.json")
    assert (some["annotated"], some["left"], some["failed_by_kind"]) == (2, 1, {})
    assert some["cost"] == pytest.approx(dry["estimated_cost"] * 2 / 3)
    assert (unpriced["annotated"], unpriced["cost"]) == (3, None)


def test_parameters_of_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    todo(tmp_path, 1)
    with chat(chooses('{"turns": [{"question": "a", "answer": "b"}]}')) as server:
        said(
            capsys, "to_annotate.jsonl", "--endpoint", server.url, "--model", "m", "--no-schema",
            "--set", "temperature=0.5", "--set", "max_completion_tokens=9", "--set", "user=me",
        )  # fmt: skip
    body = server.asked[0].body
    assert {name: body.get(name) for name in ("temperature", "max_completion_tokens", "user")} == {
        "temperature": 0.5,
        "max_completion_tokens": 9,
        "user": "me",
    }
    assert not {"max_tokens", "response_format"} & set(body)


def test_prompts_can_be_shown_changed_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "--show-prompts")
    (tmp_path / "mine.yaml").write_text(text.replace("Write three questions", "Write 33 questions"))
    todo(tmp_path, 1)
    with chat() as server:
        asked = ["to_annotate.jsonl", "--endpoint", server.url, "--model", "m"]
        assert "(mine.yaml)" in said(capsys, *asked, "--prompt", "mine.yaml")
    assert "Write 33 questions" in server.asked[0].texts[1]


@pytest.mark.parametrize("program", ["label-studio", "cvat", "csv"])
def test_for_people_and_back(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    todo(tmp_path, 3)
    (tmp_path / "a/2.png").unlink()
    told = said_as_json(capsys, "to_annotate.jsonl", "--tasks", program)
    assert (told["lines"], list(told["left_out"])) == (2, ["u2"])
    shown = said(capsys, "to_annotate.jsonl", "--tasks", program, "-o", "again")
    assert shown.startswith(f"Tasks     2 lines for {program}\nWrote     again/")
    assert "visift annotate to_annotate.jsonl --from EXPORT -o annotated.jsonl" in shown
    (tmp_path / "done.csv").write_text("uid,question,answer\nu0,What?,That.\nu1,What?,<image>\n")
    back = said_as_json(capsys, "to_annotate.jsonl", "--from", "done.csv")
    assert [back[name] for name in ("annotated", "failed", "left")] == [1, 1, 1]
    assert lines(tmp_path / "annotated.jsonl")[0]["annotator"] == "csv"


def test_what_is_not_ours_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    todo(tmp_path, 1)
    (tmp_path / "pool.json").write_text("[]")
    with chat() as server:
        asked = ["annotate", "to_annotate.jsonl", "--endpoint", server.url, "--model", "m", "-o"]
        assert run([*asked, "pool.json"]) == 1
        assert run([*asked, "to_annotate.jsonl"]) == 1
        assert "pool.json: is there already" in capsys.readouterr().err
        assert run([*asked, "pool.json", "--overwrite"]) == 0
        assert run([*asked, "pool.json"]) == 0


def test_a_missing_key_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    todo(tmp_path, 1)
    asked = ["annotate", "to_annotate.jsonl", "--endpoint", "http://127.0.0.1:9/v1", "--model", "m"]
    assert run([*asked, "--key-env", "NO_SUCH_KEY"]) == 1
    assert "The environment variable NO_SUCH_KEY is not set" in capsys.readouterr().err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")
    assert "with a key" in said(capsys, *asked[1:], "--dry-run")

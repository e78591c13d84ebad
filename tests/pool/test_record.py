"""The content hash: what a record says, not where or how it is written."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

import pytest

from helpers import open_records, talk, write_json, write_lines
from visift.pool.pool import Pool
from visift.pool.record import content_hash, conversation_hash


def test_hash_is_the_blake2b_of_the_documented_bytes(tmp_path: Path) -> None:
    record = {
        "image": ["a/é.png", "b.png"],
        "conversations": [
            {"from": "system", "value": ""},
            {"from": "human", "value": " <image>\nä\u2028?"},
            {"from": "gpt", "value": "ok\n"},
        ],
    }
    said = (
        b"system\x1f\x1e"
        b"user\x1f <image>\n\xc3\xa4\xe2\x80\xa8?\x1e"
        b"assistant\x1fok\n\x1e"
        b"\x1d"
        b"a/\xc3\xa9.png\x1eb.png\x1e"
    )
    pool = open_records(tmp_path, [record])
    assert pool.record(0).content_hash == blake2b(said, digest_size=16).hexdigest()


def test_hash_is_the_same_in_any_file_order_and_container(tmp_path: Path) -> None:
    records = [talk(f"q{i}", "ä", image=f"x/{i}.png", id=i) for i in range(3)]
    listed = Pool.open(write_json(tmp_path / "a.json", records, indent=2))
    lines = Pool.open(write_lines(tmp_path / "b.jsonl", records[::-1]))
    other = [{"model": "m", **r, "id": "x"} for r in records]
    unescaped = Pool.open(write_json(tmp_path / "c.json", other, ensure_ascii=False))
    assert listed.content_hashes() == lines.content_hashes()[::-1] == unescaped.content_hashes()


@pytest.mark.parametrize(
    ("turns", "images"),
    [
        ([("user", "a"), ("user", "b")], ["i"]),
        ([("user", "a"), ("assistant", "b ")], ["i"]),
        ([("user", "a"), ("assistant", "b")], ["i", "i"]),
        ([("user", "a"), ("assistant", "b")], ["./i"]),
        ([("user", "a"), ("assistant", "b")], []),
        ([("assistant", "b"), ("user", "a")], ["i"]),
        ([("user", "a")], ["i"]),
    ],
)
def test_hash_changes_with_role_text_order_and_path(
    turns: list[tuple[str, str]], images: list[str]
) -> None:
    assert content_hash(turns, images) != content_hash([("user", "a"), ("assistant", "b")], ["i"])


def test_chat_names_of_roles_are_the_same_roles(tmp_path: Path) -> None:
    chat = {"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]}
    pool = open_records(tmp_path, [chat, talk("q", "a")])
    assert pool.record(0).content_hash == pool.record(1).content_hash


def test_record_holds_what_the_file_says(tmp_path: Path) -> None:
    said = talk(" <image>\nq ", "a", image="d/i.png", id=7)
    record = open_records(tmp_path, [said]).record(0)
    assert (record.uid, record.source, record.task) == ("pool.json#0", "d", "d")
    assert [(t.role, t.text) for t in record.turns] == [
        ("user", " <image>\nq "),
        ("assistant", "a"),
    ]
    assert [ref.path for ref in record.images] == ["d/i.png"]
    assert json.loads(record.raw) == said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([("user", "a  b\n")], [("user", " a b")], True),
        ([("user", "caf\u00e9")], [("user", "cafe\u0301")], True),
        ([("user", "a")], [("user", "A")], False),
        ([("user", "a"), ("assistant", "b")], [("user", "a b")], False),
        ([("user", "a"), ("assistant", "b")], [("assistant", "a"), ("user", "b")], False),
        ([("user", "")], [("user", " \t")], True),
        ([("user", "ab")], [("user", "a b")], False),
    ],
)
def test_conversations_are_equal_after_nfc_and_white_space(
    one: list[tuple[str, str]], other: list[tuple[str, str]], same: bool
) -> None:
    assert (conversation_hash(one) == conversation_hash(other)) is same

"""One bad record among good ones: it alone is set aside, with its reason; the others are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import put_images
from visift.pool.pool import Pool

TALK = '"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]'
TURN = '{"from":"gpt","value":""}'
GOOD = f"{{{TALK}}}"
MILLION = "x" * 1_000_000
LONG = "x" * 100


def said(turns: str) -> str:
    return f'{{"conversations":{turns}}}'


def value(json: str) -> str:
    """Return a record whose only answer is some JSON."""
    return said(f'[{{"from":"gpt","value":{json}}}]')


def extra(members: str) -> str:
    """Return a good record with more members."""
    return f"{{{TALK},{members}}}"


#: A record as its file says it, and why it is set aside; None where it is used.
RECORDS: list[tuple[str, str | bytes, str | None]] = [
    # --- not an object
    ("null", "null", "the record is null, not an object"),
    ("a number", "3", "the record is a number, not an object"),
    ("a string", '"x"', "the record is a string, not an object"),
    ("a list", "[]", "the record is a list, not an object"),
    ("a record in a list", f"[{GOOD}]", "the record is a list, not an object"),
    # --- the conversation
    ("an empty object", "{}", '"conversations" is missing'),
    ("null for turns", said("null"), '"conversations" is null, a list was expected'),
    ("text for turns", said('"x"'), '"conversations" is a string, a list was expected'),
    ("an object for turns", said("{}"), '"conversations" is an object, a list was expected'),
    ("no turns", said("[]"), '"conversations" is empty'),
    (
        "null for a turn",
        said('[{"from":"gpt","value":""},null]'),
        '"conversations[1]" is null, an object was expected',
    ),
    ("a turn of nobody", said('[{"value":"a"}]'), '"from" is missing in "conversations[0]"'),
    ("a turn of nothing", said('[{"from":"gpt"}]'), '"value" is missing in "conversations[0]"'),
    ("null for text", value("null"), '"conversations[0].value" is null, a string was expected'),
    (
        "a number for text",
        value("1"),
        '"conversations[0].value" is a number, a string was expected',
    ),
    (
        "true for text",
        value("true"),
        '"conversations[0].value" is true or false, a string was expected',
    ),
    ("parts for text", value("[]"), '"conversations[0].value" is a list, a string was expected'),
    (
        "a speaker nobody knows",
        said('[{"from":"GPT ","value":"a"}]'),
        'unknown speaker: "GPT " (human, gpt or system was expected)',
    ),
    (
        "a speaker of a million letters",
        said(f'[{{"from":"{MILLION}","value":"a"}}]'),
        f'unknown speaker: "{LONG[:82]}…{LONG[:63]}" (human, gpt or system was expected)',
    ),
    ("an empty text", value('""'), None),
    ("a text of ten million letters", value(f'"{MILLION * 10}"'), None),
    ("ten thousand turns", said(f"[{TURN}{f',{TURN}' * 9_999}]"), None),
    # --- images
    ("null for an image", extra('"image":null'), None),
    ("an empty image", extra('"image":""'), None),
    ("no images", extra('"image":[]'), None),
    ("null among images", extra('"image":[null]'), '"image[0]" is null, a string was expected'),
    ("an empty path among images", extra('"image":["a.png",""]'), '"image" holds an empty path'),
    (
        "a number for an image",
        extra('"image":1'),
        '"image" is a number, a string or a list or null was expected',
    ),
    (
        "an object for an image",
        extra('"image":{"path":"a.png"}'),
        '"image" is an object, a string or a list or null was expected',
    ),
    ("an image without a placeholder", extra('"image":"a.png"'), None),
    ("placeholders without an image", value('"<image><image>"'), None),
    (
        "more placeholders than images",
        value('"<image><image>"').replace("{", '{"image":["a.png"],', 1),
        None,
    ),
    # --- JSON that is none
    ("a key without a value", '{"conversations":}', "JSON is malformed"),
    ("a key without quotes", extra("x:1"), "JSON is malformed"),
    ("single quotes", extra("'x':1"), "JSON is malformed"),
    ("a comma too many", extra('"x":1,'), "JSON is malformed"),
    ("a zero byte", extra('"x":"\0"'), "JSON is malformed: invalid character (byte 80)"),
    ("a tab in a string", extra('"x":"\t"'), "JSON is malformed: invalid character (byte 80)"),
    ("NaN", extra('"x":NaN'), "JSON is malformed: invalid character (byte 79)"),
    ("Infinity", extra('"x":-Infinity'), "JSON is malformed: invalid character (byte 80)"),
    ("a number with a leading zero", extra('"x":01'), "JSON is malformed: invalid number"),
    ("half a surrogate pair", value(r'"\ud83d"'), "JSON is malformed: it ends early, or a"),
    ("the other half", value(r'"\ude00"'), "JSON is malformed: invalid utf-16 surrogate pair"),
    ("half a pair where nobody looks", extra(r'"x":"\ud83d"'), "JSON is malformed"),
    ("both halves", value(r'"\ud83d\ude00"'), None),
    ("Latin-1", value('"é"').encode("latin-1"), "not valid UTF-8: at byte 41 of the record"),
    ("a byte that is none", b'{"\xff":0,' + GOOD[1:].encode(), "not valid UTF-8"),
    ("a surrogate in UTF-8", b'{"x":"\xed\xa0\x80",' + GOOD[1:].encode(), "not valid UTF-8"),
    # --- numbers and depth
    ("a number of 5,000 digits", extra(f'"id":{"9" * 5000}'), None),
    ("a number beyond all floats", extra('"x":1e999'), None),
    ("a label beyond all floats", extra('"source":1e999'), '"source" is too large a number'),
    (
        "a label of 5,000 digits",
        extra(f'"task":{"9" * 5000}'),
        '"task" is too large a number',
    ),
    (
        "a label of a million letters",
        extra(f'"source":"{MILLION}"'),
        '"source" is no label: it has 1,000,000 characters',
    ),
    ("a label that is a list", extra('"source":["a",{"b":null}]'), None),
    ("190 levels", extra(f'"x":{"[" * 190}{"]" * 190}'), None),
    (
        "200 levels",
        extra(f'"x":{"[" * 200}{"]" * 200}'),
        "JSON is nested too deeply (more than 200 levels)",
    ),
    (
        "100,000 lists",
        extra(f'"x":{"[" * 100_000}{"]" * 100_000}'),
        "JSON is nested too deeply (more than 200 levels)",
    ),
    (
        "100,000 objects",
        extra('"x":' + '{"x":' * 100_000 + "1" + "}" * 100_000),
        "JSON is nested too deeply (more than 200 levels)",
    ),
    ("brackets in a text", value('"' + "[{" * 100_000 + '"'), None),
    ("a key twice: the last one counts", extra('"conversations":[]'), '"conversations" is empty'),
    ("an image twice: the last one counts", extra('"image":"gone.png","image":"a.png"'), None),
]


@pytest.mark.parametrize(
    ("record", "reason"), [case[1:] for case in RECORDS], ids=[case[0] for case in RECORDS]
)
def test_a_record_is_used_or_set_aside_with_its_reason(
    tmp_path: Path, record: str | bytes, reason: str | None
) -> None:
    put_images(tmp_path, ["a.png"])
    raw = record.encode() if isinstance(record, str) else record
    good = GOOD.encode()
    for data in (b"[" + b",\n".join([good, raw, good]) + b"]", b"\n".join([good, raw, good])):
        (tmp_path / "pool.json").write_bytes(data)
        pool = Pool.open(tmp_path / "pool.json")
        first, found, last = pool.faults
        assert (first, last) == (None, None)
        assert pool.raw(1) == raw
        assert (found or "").startswith(reason or "")
        assert (found is None) == (reason is None)
        assert len(pool.rows()) + len(pool.set_aside()) == 3
        used = [pool.record(row) for row in pool.rows()]
        assert [r.raw for r in used] == [good, raw, good] if reason is None else [good, good]

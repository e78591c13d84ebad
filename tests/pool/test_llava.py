"""LLaVA files: where records lie, what they say, and what becomes of those nobody can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.errors import PoolError
from visift.pool.readers import ParseFault, open_reader
from visift.pool.readers.llava import LlavaFile

TURN = b'"conversations":[{"from":"human","value":"q"}]'
GOOD = b"{" + TURN + b"}"


def opened(folder: Path, data: bytes) -> LlavaFile:
    path = folder / "pool.json"
    path.write_bytes(data)
    file = open_reader(path, None, None)
    assert isinstance(file, LlavaFile)
    return file


def raws(file: LlavaFile) -> list[bytes]:
    return [file.raw(row) for row in range(len(file.offsets))]


def fault(folder: Path, record: bytes) -> str:
    """Return why a record is refused, the same in a list and in JSON lines."""
    reasons = []
    for data, row in ((b"[" + GOOD + b",\n" + record + b"]", 1), (GOOD + b"\n" + record, 1)):
        file = opened(folder, data)
        assert raws(file) == [GOOD, record]
        assert file.parse(0).turns == [("user", "q")]
        with pytest.raises(ParseFault) as caught:
            file.parse(row)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]
    return reasons[0]


def test_records_are_the_exact_slices_whatever_surrounds_them(tmp_path: Path) -> None:
    first = b'{"id" : 1.0,\t' + TURN + b' , "a":[1 ,{"b":"]},{\\"[["}]}'
    second = b'{ \r\n"id":12345678901234567890123,"id":-0.0e+5,' + TURN + b"}"
    wanted = [first, second]
    for data in (
        b"[" + first + b"," + second + b"]",
        b"\xef\xbb\xbf [\r\n  " + first + b" ,\r\n\t" + second + b"\n]\r\n \n",
        b"[\n\n" + first + b"\n,\n" + second + b"\n]",
    ):
        assert raws(opened(tmp_path, data)) == wanted


def test_json_lines_with_bom_blank_lines_crlf_and_no_last_newline(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf\r\n" + GOOD + b"\r\n\r\n  \n\t" + GOOD + b" \n" + GOOD
    assert raws(opened(tmp_path, data)) == [GOOD] * 3
    assert raws(opened(tmp_path, GOOD)) == [GOOD]


@pytest.mark.parametrize("data", [b"[]", b" [ \n]\n", b"\xef\xbb\xbf[]", b"\n \n"])
def test_files_without_records(tmp_path: Path, data: bytes) -> None:
    assert raws(opened(tmp_path, data)) == []


@pytest.mark.parametrize(
    ("data", "byte", "what"),
    [
        (b"[" + GOOD + b",{" + TURN, 97, "the file ends inside record 1"),
        (b"[" + GOOD + b',{"a":"b', 57, "the file ends inside record 1"),
        (b"[" + GOOD + b",", 50, "the file ends inside record 1"),
        (b"[" + GOOD + b",]", 50, "trailing comma"),
        (b"[" + GOOD + GOOD + b"]", 49, "expected"),
        (b"[" + GOOD + b"] x", 51, "trailing characters"),
        (b"\xef\xbb\xbf \n[" + GOOD + b",,]", 55, "invalid character"),
    ],
)
def test_a_broken_list_is_refused_with_the_byte(
    tmp_path: Path, data: bytes, byte: int, what: str
) -> None:
    with pytest.raises(PoolError) as caught:
        opened(tmp_path, data)
    assert caught.value.where == f"{tmp_path / 'pool.json'}, byte {byte}"
    assert what in caught.value.what


def test_one_object_over_several_lines_is_no_pool(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="is one JSON object"):
        opened(tmp_path, json.dumps({"data": [json.loads(GOOD)]}, indent=1).encode())


def test_empty_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="the file is empty"):
        opened(tmp_path, b"")
    with pytest.raises(PoolError, match="No such file"):
        open_reader(tmp_path / "none.json", None, None)
    with pytest.raises(PoolError, match="cannot be read"):
        open_reader(tmp_path, None, None)


def turn(value: bytes) -> bytes:
    return b'{"conversations":[{"from":"human","value":' + value + b"}]}"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"{" + TURN + b',"x":NaN}', "JSON is malformed: invalid character (byte 52)"),
        (b"{" + TURN + b',"x":01}', "JSON is malformed: invalid number"),
        (b"{" + TURN + b',"x":"a\x01"}', "JSON is malformed: invalid character"),
        (b"{" + TURN + b',"x":"\xff"}', "not valid UTF-8: at byte 53 of the record"),
        (b"{" + TURN + b',"\xff":0}', "not valid UTF-8: at byte 49 of the record"),
        (turn(b'"\xc3"'), "not valid UTF-8: at byte 43 of the record"),
        (turn(rb'"\ud800"'), r"JSON is malformed: it ends early, or a \u escape is half"),
        (turn(rb'"\udc00"'), "JSON is malformed: invalid utf-16 surrogate"),
        (b"{" + TURN + rb',"x":"\ud83d"}', "JSON is malformed"),
        (b"{" + TURN + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "JSON is nested too deeply"),
        (b'{"id":1}', '"conversations" is missing'),
        (b'{"conversations":"x"}', '"conversations" is a string, a list was expected'),
        (b'{"conversations":null}', '"conversations" is null, a list was expected'),
        (b'{"conversations":[]}', '"conversations" is empty'),
        (b'{"conversations":["q"]}', '"conversations[0]" is a string, an object was expected'),
        (b'{"conversations":[{"from":"human"}]}', '"value" is missing in "conversations[0]"'),
        (turn(b"null"), '"conversations[0].value" is null, a string was expected'),
        (turn(b"3"), '"conversations[0].value" is a number, a string was expected'),
        (b'{"conversations":[{"from":"tool","value":""}]}', 'unknown speaker: "tool"'),
        (b"{" + TURN + b',"image":[null]}', '"image[0]" is null, a string was expected'),
        (b"{" + TURN + b',"image":{"a":1}}', '"image" is an object, a string or a list'),
        (b"{" + TURN + b',"image":["a",""]}', '"image" holds an empty path'),
    ],
)
def test_one_bad_record_is_one_fault_with_its_reason(
    tmp_path: Path, record: bytes, reason: str
) -> None:
    assert fault(tmp_path, record).startswith(reason)


@pytest.mark.parametrize("record", [b"3", b"null", b'"x"', b"[]", b"true"])
def test_elements_that_are_no_objects_are_faults(tmp_path: Path, record: bytes) -> None:
    assert "not an object" in fault(tmp_path, record)


@pytest.mark.parametrize(
    ("field", "images"),
    [
        (b"", []),
        (b',"image":null', []),
        (b',"image":""', []),
        (b',"image":[]', []),
        (b',"image":"a/b.png"', ["a/b.png"]),
        (b',"image":["a.png","a.png"]', ["a.png", "a.png"]),
        (rb',"im\u0061ge":"\u00e9\/.png"', ["é/.png"]),
        (b',"image":"a.png","image":null', []),
    ],
)
def test_images(tmp_path: Path, field: bytes, images: list[str]) -> None:
    assert opened(tmp_path, b"[{" + TURN + field + b"}]").parse(0).images == images


def test_what_is_read_over(tmp_path: Path) -> None:
    huge = b"9" * 5000
    record = (
        b'{"id":' + huge + b',"n":1e999,"conversations":[],"conversations":['
        b'{"from":"human","value":"q","markdown":{"a":[null]},"from":"gpt"}]}'
    )
    assert opened(tmp_path, b"[" + record + b"]").parse(0).turns == [("assistant", "q")]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('abc[]{}\\",'), inner),
    max_leaves=8,
)
STYLES = st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}])


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES), min_size=1), STYLES)
def test_slices_are_what_json_would_give(
    tmp_path_factory: pytest.TempPathFactory, rest: list[dict[str, Any]], style: dict[str, Any]
) -> None:
    records = [{**r, "conversations": [{"from": "gpt", "value": "x"}]} for r in rest]
    folder = tmp_path_factory.getbasetemp()
    file = opened(folder, json.dumps(records, **style).encode())
    assert [json.loads(raw) for raw in raws(file)] == records
    assert b"".join(raws(file)).count(b"conversations") == len(records)
    lines = [json.dumps(r).encode() for r in records]
    assert raws(opened(folder, b"\r\n".join(lines))) == lines
    assert raws(opened(folder, b"[" + b" ,\n".join(lines) + b"]")) == lines
    broken = [*lines, b'{"conversations":[],"x":NaN}']
    assert raws(opened(folder, b"[" + b" ,\n".join(broken) + b"]")) == broken

"""Whatever a file holds: every record is used or set aside, and only our errors are raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import put_images
from visift.errors import VisiftError
from visift.export.llava import write_list
from visift.pool.pool import Pool
from visift.unusable import Quarantine

some = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put_images(tmp_path, ["a/1.png", "2.png"])


def opened(path: Path, data: bytes) -> tuple[Pool | None, VisiftError | None]:
    path.write_bytes(data)
    try:
        return Pool.open(path), None
    except VisiftError as error:
        return None, error


def check(folder: Path, data: bytes) -> Pool | None:
    """Open a file of these bytes, look at all of it, and count; None where it is refused."""
    pool, refused = opened(folder / "pool.json", data)
    if pool is None:
        assert refused is not None
        assert refused.fix
        assert "\n" not in refused.what
        return None
    used, aside = pool.rows(), pool.set_aside()
    assert len(used) + len(aside) == len(pool)
    assert not set(used.tolist()) & set(aside)
    assert all(reason and len(reason) < 500 for reason in aside.values())
    assert Quarantine.of(aside).table(pool).num_rows == len(aside)
    starts = [pool.start(row) for row in range(len(pool))]
    raws = [pool.raw(row) for row in range(len(pool))]
    assert all(data[at : at + len(raw)] == raw for at, raw in zip(starts, raws, strict=True))
    for record in pool.records(used):
        assert record.turns
        assert json.loads(record.raw)["conversations"], "what we use, a trainer can parse"
    assert pool.text_only.sum() <= len(used)
    write_list(pool, used, folder / "subset.json")
    assert len(json.loads((folder / "subset.json").read_bytes())) == len(used)
    return pool


# --- any bytes ----------------------------------------------------------------------------------

MARKS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b"\r", b" ", b"[[[[", b"]]]]"]
BYTES = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3\xa9", b"\xed\xa0\x80", b"\xc3"]
WORDS = [b"null", b"1", b"NaN", b"\\u", b"d83d", b'"conversations"', b'"from"', b'"value"']
WORDS += [b'"human"', b'"image"', b'"a/1.png"', b'"source"']
GOOD = b'{"conversations":[{"from":"gpt","value":"a"}]}'
PIECES = st.sampled_from([*MARKS, *BYTES, *WORDS, GOOD])


@some
@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=200))
def test_any_bytes(folder: Path, data: bytes) -> None:
    check(folder, data)


# --- a good file, damaged -----------------------------------------------------------------------

RECORD = {"image": "a/1.png", "conversations": [{"from": "human", "value": 'é"\\[{'}], "x": [{}]}
TEXTS = [
    json.dumps([RECORD] * 4, indent=1),
    json.dumps([RECORD] * 4, ensure_ascii=False),
    "\n".join([json.dumps(RECORD)] * 4),
]


@some
@given(
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 10_000), PIECES, st.integers(0, 3)), min_size=1, max_size=4),
)
def test_a_good_file_with_any_damage(
    folder: Path, text: str, damage: list[tuple[int, bytes, int]]
) -> None:
    data = bytearray(text.encode())
    for at, piece, gone in damage:
        at %= len(data) + 1
        data[at : at + gone] = piece
    check(folder, bytes(data))


@some
@given(st.sampled_from(TEXTS), st.integers(0, 10_000))
def test_a_good_file_cut_anywhere(folder: Path, text: str, at: int) -> None:
    data = text.encode()[: at % len(text.encode())]
    pool = check(folder, data)
    if pool is not None:  # lines: only the last one is hurt
        assert sum(fault is not None for fault in pool.faults) <= 1


# --- any values where others are expected -------------------------------------------------------

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=True)
    | st.text(max_size=5)
    | st.sampled_from(["human", "gpt", "a/1.png", "2.png", "../3.png", "~", "C:", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
TURN = st.fixed_dictionaries(
    {}, optional={"from": st.sampled_from(["human", "gpt", "system"]) | ANY, "value": ANY}
)
ANY_RECORD = ANY | st.fixed_dictionaries(
    {},
    optional={
        "conversations": st.lists(TURN, max_size=3) | ANY,
        "image": st.sampled_from(["a/1.png", ["2.png", "a/1.png"], None]) | ANY,
        "source": ANY,
        "task": ANY,
        "id": ANY,
    },
)


@some
@given(st.lists(ANY_RECORD, min_size=1, max_size=5), st.booleans())
def test_any_values(folder: Path, records: list[Any], lines: bool) -> None:
    texts = [json.dumps(record) for record in records]
    data = "\n".join(texts) if lines else f"[{','.join(texts)}]"
    pool = check(folder, data.encode())
    if not lines:
        assert pool is not None
        assert len(pool) == len(records)


@some
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.randoms())
def test_bad_records_cost_nothing_but_themselves(
    folder: Path, kinds: list[int], random: Any
) -> None:
    good = json.dumps(RECORD)
    bad = ['{"conversations":[]}', "null", '{"x":NaN}', '{"conversations":"x","x":"\ud800"}']
    texts = [good if random.random() < 0.5 else bad[kind] for kind in kinds]
    data = ("[" + ",\n".join(texts) + "]").encode("utf-8", "surrogatepass")
    pool = check(folder, data)
    assert pool is not None
    assert pool.rows().tolist() == np.flatnonzero([text == good for text in texts]).tolist()

"""LLaVA files: the pool's own bytes, and no key `image` where there is no image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import MIXED, REAL_IMAGES, needs_shared, put_images, talk, write_json
from visift.errors import InputError
from visift.export import llava
from visift.export.exporter import ExportOptions
from visift.export.llava import without_image_key
from visift.export.readback import ReadbackError, check_llava_list
from visift.export.trainers import write_export
from visift.pool.pool import Pool
from visift.pool.readers.llava import LlavaFile

HUGE = b"7" * 5000
TURNS = b'"conversations":[{"from":"human","value":"q"}]'


def pool_of(folder: Path, *records: bytes) -> Pool:
    put_images(folder, ["a.png", "b.png"])
    (folder / "pool.json").write_bytes(b"[" + b" ,\n ".join(records) + b"]")
    return Pool.open(folder / "pool.json")


def export(pool: Pool, folder: Path) -> list[bytes]:
    path = folder / "out.json"
    llava.write_list(pool, np.arange(len(pool)), path)
    check_llava_list(pool, np.arange(len(pool)), path)
    return raw_records(path)


def raw_records(path: Path) -> list[bytes]:
    file = LlavaFile.open(path, None, None)
    return [file.raw(row) for row in range(len(file.offsets))]


def test_records_keep_every_byte(tmp_path: Path) -> None:
    records = [
        b'{ "id":1.0 ,\t"image": "a.png","x":1e999,"n":' + b"7" * 5000 + b"," + TURNS + b"}",
        b'{"image":["a.png","b.png"],"id":3,"id":"x",\r\n' + TURNS + b"}",
        b'{"u":"\\u00e4\\/","\xc3\xa4":"\xf0\x9f\x98\x80",' + TURNS + b"}",
        b'{"im\\u0061ge":"a.png",' + TURNS + b"}",
    ]
    assert export(pool_of(tmp_path, *records), tmp_path) == records


@pytest.mark.parametrize("empty", [b"null", b'""', b"[]", b"[ ]"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"image":#,"id":1,%}', b'{"id":1,%}'),
        (b'{ "id":1 , "image" : # , % }', b'{ "id":1 , % }'),
        (b'{%,"image":#}', b"{%}"),
        (b'{%\n,\n "image": #\n}', b"{%\n\n}"),
        (b'{"image":#,"image":#,%}', b"{%}"),
        (b'{%,"image":"a.png","image":#}', b"{%}"),
        (b'{"im\\u0061ge":#,%}', b"{%}"),
        (b'{"a":{"image":#},%,"image":#,"b":{"image":1}}', b'{"a":{"image":#},%,"b":{"image":1}}'),
        (b'{"a":"\\"image\\":,{","image":#,%}', b'{"a":"\\"image\\":,{",%}'),
        (b'{"n":' + HUGE + b',"f":1.0,"image":#,%}', b'{"n":' + HUGE + b',"f":1.0,%}'),
        (b'{"image2":#,"a":{"image":#},%}', b'{"image2":#,"a":{"image":#},%}'),
    ],
)  # fmt: skip
def test_an_empty_image_key_goes_and_nothing_else(
    tmp_path: Path, before: bytes, after: bytes, empty: bytes
) -> None:
    record, wanted = (x.replace(b"%", TURNS).replace(b"#", empty) for x in (before, after))
    assert without_image_key(record) == wanted
    assert export(pool_of(tmp_path, record), tmp_path) == [wanted]
    assert "image" not in json.loads(wanted.replace(HUGE, b"7"))


def test_a_record_without_the_key_is_the_same_object() -> None:
    for raw in (b"{" + TURNS + b"}", b'{"a":{"image":null}}', b'{"a":"\\u00e4"}'):
        assert without_image_key(raw) is raw


KEYS = st.sampled_from(["image", "id", 'im"age', "a", "conversations"])
VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab,{}[]"\\ image'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES), st.sampled_from([None, 0, 2]))
def test_removal_is_what_deleting_the_key_means(record: dict[str, Any], indent: int | None) -> None:
    left = json.loads(without_image_key(json.dumps(record, indent=indent).encode()))
    assert list(left.items()) == [(k, v) for k, v in record.items() if k != "image"]


ROWS = st.lists(
    st.dictionaries(st.sampled_from(["id", "x", "image"]), VALUES, max_size=3), min_size=1
)


@given(ROWS, st.sampled_from([None, 1]))
def test_all_rows_of_a_list_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, rest: list[dict[str, Any]], indent: int | None
) -> None:
    folder = tmp_path_factory.getbasetemp()
    records = [talk(**{**fields, "image": "a.png"}) for fields in rest]
    path = write_json(folder / "random.json", records, indent=indent)
    pool = Pool.open(path)
    written = export(pool, folder)
    assert written == [pool.raw(row) for row in range(len(pool))]
    assert [json.loads(raw) for raw in written] == records


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"value":"q"', b'"value":"Q"', "record 0"),
        (b'"from":"human"', b'"from":"gpt"', "record 0"),
        (b"a.png", b"b.png", "record 0"),
        (b'"id":1', b'"id":2', "record 0"),
        (b'"id":7', b'"image":null,"id":7', "record 1"),
        (b'"conversations":[', b'"conversations":3,"x":[', "record 0"),
        (b',\n{"id":7', b']\n{"id":7', "not a valid JSON list"),
    ],
)  # fmt: skip
def test_readback_catches_a_tampered_file(
    tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    records = (b'{"id":1,"image":"a.png",' + TURNS + b"}", b'{"id":7,' + TURNS + b"}")
    pool = pool_of(tmp_path, *records)
    export(pool, tmp_path)
    path = tmp_path / "out.json"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(Exception, match=said) as caught:
        check_llava_list(pool, np.arange(2), path)
    assert getattr(caught.value, "exit_code", 0) in (1, 2)


def test_readback_counts(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, b"{" + TURNS + b"}", b"{" + TURNS + b"}")
    export(pool, tmp_path)
    with pytest.raises(ReadbackError, match="2 records of 1") as caught:
        check_llava_list(pool, np.arange(1), tmp_path / "out.json")
    assert caught.value.exit_code == 2


def test_an_empty_arm_is_an_empty_list(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, b"{" + TURNS + b"}")
    none = np.empty(0, np.int64)
    llava.write_list(pool, none, tmp_path / "none.json")
    check_llava_list(pool, none, tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


@needs_shared
def test_all_of_the_mixed_pool_comes_out_record_by_record(tmp_path: Path) -> None:
    pool = Pool.open(MIXED, image_folder=REAL_IMAGES)
    written = export(pool, tmp_path)
    assert written == [pool.raw(row) for row in range(len(pool))]
    assert json.loads((tmp_path / "out.json").read_text("utf-8")) == json.loads(
        MIXED.read_text("utf-8")
    )
    assert pool.faults == [None] * len(pool)


def arms_of(pool: Pool) -> dict[str, Any]:
    rows = np.array([2, 0])
    return {"subset": rows, "control": np.array([1, 2]), "random": rows[::-1]}


def test_order_is_the_pools_or_the_rank(tmp_path: Path) -> None:
    records = [b'{"id":%d,%s}' % (n, TURNS) for n in range(3)]
    pool = pool_of(tmp_path, *records)
    for ranked, wanted in ((False, [0, 2]), (True, [2, 0])):
        folder = write_export("llava", pool, arms_of(pool), tmp_path / "o", ranked=ranked)
        assert raw_records(folder / "subset.json") == [records[n] for n in wanted]
        said = (folder / "RUN.md").read_text("utf-8")
        assert ("any smaller budget is a prefix" in said) == ranked


def test_run_md_says_how_to_train(tmp_path: Path) -> None:
    several = b'{"image":["a.png","b.png"],' + TURNS.replace(b'"q"', b'"<image>"') + b"}"
    pool = pool_of(tmp_path, several, b'{"image":null,' + TURNS + b"}", several)
    told: list[str] = []
    folder = tmp_path / "new" / "my export"
    write_export("llava", pool, arms_of(pool), folder, ranked=False, note=told.append)
    said = (folder / "RUN.md").read_text("utf-8")
    assert f"--data_path '{folder}'/\"$1\".json \\\n    --image_folder {tmp_path} \\\n" in said
    assert "train subset\ntrain control\ntrain random\n```" in said
    assert "Every arm has 2 records: as many epochs are as many steps" in said
    assert "| `control` | 2 | 1 | 2 | random records with the selection's share" in said
    assert told == ["Images are a list in 2 records: LLaVA-NeXT reads that, LLaVA-1.5 stops there."]
    assert f"- {told[0]}\n" in said
    assert "Not as many `<image>` tags as images in 2 records;" in said
    assert "Text-only, without the key `image` as LLaVA wants it: 1 record." in said


def turns(*speakers: str, rest: bytes = b"") -> bytes:
    said = [{"from": speaker, "value": "x"} for speaker in speakers]
    return b"{" + rest + b'"conversations":' + json.dumps(said).encode() + b"}"


def test_what_would_stop_training_is_said_and_can_be_left_out(tmp_path: Path) -> None:
    """Two speakers that take turns, and one image as text, are all that LLaVA-1.5 reads."""
    sound = [turns("human", "gpt", "human", "gpt"), turns("gpt", "human", "gpt"), turns("human")]
    stopping = [turns("system", "human", "gpt"), turns("user", "assistant"),
                turns("human", "human", "gpt"), turns("gpt", "gpt")]  # fmt: skip
    listed = turns("human", "gpt", rest=b'"image":["a.png"],').replace(b'"x"', b'"<image>"', 1)
    pool = pool_of(tmp_path, *sound, *stopping, listed)
    arms, told = {"subset": np.arange(len(pool))}, []
    kept = write_export("llava", pool, arms, tmp_path / "x", ranked=False, note=told.append)
    assert raw_records(kept / "subset.json") == [*sound, *stopping, listed]
    assert told == [
        "LLaVA stops at 4 records (2 × turns that do not alternate between human and gpt, "
        '1 × a turn of "system", 1 × a turn of "user"). To leave them out: '
        "visift export RUN_DIR --on-mismatch drop",
        "Images are a list in 1 record: LLaVA-NeXT reads that, LLaVA-1.5 stops there.",
    ]
    drop = ExportOptions(on_mismatch="drop")
    left = write_export("llava", pool, arms, tmp_path / "y", ranked=False, options=drop)
    assert raw_records(left / "subset.json") == [*sound, listed]


def test_records_with_other_tags_than_images_are_kept_unless_asked_otherwise(
    tmp_path: Path,
) -> None:
    twice = b'{"image":"a.png",' + TURNS.replace(b'"q"', b'"<image> <image>"') + b"}"
    sound = b'{"image":"b.png",' + TURNS.replace(b'"q"', b'"<image>"') + b"}"
    literal = b"{" + TURNS.replace(b'"q"', b'"what is <image>?"') + b"}"
    pool = pool_of(tmp_path, twice, sound, literal)
    arms = {"subset": np.arange(3)}
    kept = write_export("llava", pool, arms, tmp_path / "kept", ranked=False)
    assert raw_records(kept / "subset.json") == [twice, sound, literal]
    with pytest.raises(InputError, match='would fail on 1 record: 1 × 2 "<image>" tags for 1'):
        write_export(
            "llava", pool, arms, kept, ranked=False, options=ExportOptions(on_mismatch="error")
        )
    told: list[str] = []
    left = write_export(
        "llava",
        pool,
        arms,
        tmp_path / "left",
        ranked=False,
        options=ExportOptions(on_mismatch="drop"),
        note=told.append,
    )
    assert raw_records(left / "subset.json") == [sound, literal]
    assert told == ['Left out: 1 record: 1 × 2 "<image>" tags for 1 image (first: pool.json#0).']


@pytest.mark.parametrize(
    "options", [ExportOptions(on_mismatch="fix"), ExportOptions(escape_literal_tags=True)]
)
def test_no_text_is_changed(tmp_path: Path, options: ExportOptions) -> None:
    pool = pool_of(tmp_path, b"{" + TURNS + b"}")
    with pytest.raises(InputError, match="ecords for llava are written byte for byte"):
        write_export(
            "llava", pool, {"subset": np.arange(1)}, tmp_path / "x", ranked=False, options=options
        )
    assert not (tmp_path / "x").exists()


def test_an_unknown_trainer(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, b"{" + TURNS + b"}")
    with pytest.raises(InputError, match=r'no exporter "lava"\. Did you mean "llava"'):
        write_export("lava", pool, {}, tmp_path / "x", ranked=False)
    assert not (tmp_path / "x").exists()

"""What an inspection counts, on pools whose every count is known."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import MIXED, REAL_IMAGES, needs_shared, open_records, png, put_images, talk
from visift.errors import InputError
from visift.pool.findings import FINDINGS, Finding, Spread, check_finding
from visift.pool.inspect import inspect_pool
from visift.pool.pool import Pool
from visift.pool.verify import misnamed_as


@pytest.fixture
def mixed(tmp_path: Path) -> Pool:
    put_images(tmp_path, ["coco/0.png", "coco/1.png", "gqa/0.png"])
    records: list[Any] = [
        talk("<image>\na?", "one", id="a", image="coco/0.png"),
        talk("<image>\nb?", "seven", id=7, image="coco/0.png"),
        talk("<image>\nc?", "seven", id="7", image="coco/1.png"),
        talk("<image><image>\nd?", "seven", image=["coco/0.png", "gqa/0.png"]),
        talk("<image>\ne?", "seven", image="gqa/none.png"),
        talk("no tag", "seven", id="f", image="coco/1.png"),
        talk("say <image>", "é", id="g"),
        talk("<image>\n a?", "one", id="h", image="coco/0.png"),
        talk("<image>\na?", "one", id="i", image="coco/0.png"),
        {"id": "a", "conversations": "oops"},
    ]
    return open_records(tmp_path, records)


def test_every_count_of_a_small_pool(mixed: Pool) -> None:
    found = inspect_pool(mixed)
    assert (found.files, found.records, found.usable, found.text_only) == (
        ("pool.json",),
        10,
        8,
        1,
    )
    fault = 'pool.json#9: "conversations" is a string, a list was expected'
    assert found.faults == Finding(1, fault)
    assert found.set_aside == {
        "image missing": Finding(1, "pool.json#4: image missing: gqa/none.png"),
        '"conversations" is a string, a list was expected': Finding(1, fault),
    }
    assert found.turns == Spread(2, 2, 2)
    assert found.answer_chars == Spread(5, 5, 5)
    assert found.text_bytes.largest == len("<image><image>\nd?seven")


def test_images_that_are_missing_and_shared(mixed: Pool) -> None:
    images = inspect_pool(mixed).images
    assert (images.references, images.distinct) == (9, 3)
    assert images.missing == Finding(1, "pool.json#4: image missing: gqa/none.png")
    assert images.shared == 2
    assert images.most_shared == Finding(5, "coco/0.png")
    assert images.per_record == {0: 1, 1: 7, 2: 1}


def test_ids_are_compared_as_text_and_read_from_faulty_records_too(mixed: Pool) -> None:
    ids = inspect_pool(mixed).ids
    assert (ids.records, ids.kinds) == (8, {"text": 7, "number": 1})
    assert ids.shared == Finding(2, "a")
    assert ids.sharing == 4


def test_duplicates_say_what_they_repeat(mixed: Pool) -> None:
    found = inspect_pool(mixed)
    assert found.duplicates == Finding(2, "pool.json#7 repeats pool.json#0")
    assert found.identical == Finding(1, "pool.json#8")


def test_placeholders_that_do_not_fit_the_images(mixed: Pool) -> None:
    found = inspect_pool(mixed)
    assert found.placeholders == Finding(1, "pool.json#5")
    assert found.placeholders_in_text == Finding(1, "pool.json#6")


def test_sources_hold_every_record_once(mixed: Pool) -> None:
    sources = inspect_pool(mixed).sources
    assert {name: facts.records for name, facts in sources.items()} == {
        "coco": 7,
        "gqa": 1,
        "no source": 1,
        "text-only": 1,
    }
    coco, gqa = sources["coco"], sources["gqa"]
    assert (coco.references, coco.images, coco.missing.count, coco.set_aside) == (8, 3, 0, 0)
    assert (gqa.references, gqa.images, gqa.missing.count, gqa.set_aside) == (1, 0, 1, 1)
    assert (coco.answer_chars, sources["no source"].set_aside) == (5, 1)


def test_a_source_that_is_called_like_none_loses_no_record(tmp_path: Path) -> None:
    records = [talk("1", source="text-only"), talk("2"), talk("3", source="no source")]
    sources = inspect_pool(open_records(tmp_path, records)).sources
    assert {name: facts.records for name, facts in sources.items()} == {
        "text-only": 2,
        "no source": 1,
    }


def test_tasks_are_counted(tmp_path: Path) -> None:
    records = [talk("1", task="vqa"), talk("2", task="ocr"), talk("3", task="vqa"), talk("4")]
    assert inspect_pool(open_records(tmp_path, records)).tasks == {"vqa": 2, "ocr": 1}


def test_a_pool_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    found = inspect_pool(open_records(tmp_path, [{"id": None}, {}]))
    assert (found.usable, found.faults.count, found.turns) == (0, 2, Spread(0, 0, 0))
    assert (found.ids.records, found.images.per_record, found.duplicates) == (0, {}, Finding(0))


WORDS = st.sampled_from(["a", "b", " a ", "<image>"])
RECORDS = st.lists(
    st.tuples(WORDS, st.integers(0, 2), st.sampled_from([None, "x", "1", 1, True, {"y": 1}])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(RECORDS)
def test_counts_are_those_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, Any]]
) -> None:
    folder = put_images(tmp_path_factory.mktemp("pool"), ["s/0.png", "s/1.png"])
    records = [
        talk(words, id=id_, **({"image": [f"s/{n}.png" for n in range(images)]} if images else {}))
        for words, images, id_ in drawn
    ]
    found = inspect_pool(open_records(folder, records))
    same = Counter((" ".join(words.split()), images) for words, images, _ in drawn)
    exact = Counter((words, images) for words, images, _ in drawn)
    ids = Counter(str(id_) for _, _, id_ in drawn if id_ is not None)
    assert found.duplicates.count == sum(n - 1 for n in same.values())
    assert found.identical.count == sum(n - 1 for n in exact.values())
    assert found.ids.records == ids.total()
    assert found.ids.shared.count == sum(n > 1 for n in ids.values())
    assert found.ids.sharing == sum(n for n in ids.values() if n > 1)
    tags = Counter((w.count("<image>") != n, n > 0) for w, n, _ in drawn)
    assert found.placeholders.count == tags[True, True]
    assert found.placeholders_in_text.count == tags[True, False]
    assert found.images.references == sum(n for _, n, _ in drawn)
    assert sum(facts.records for facts in found.sources.values()) == len(drawn)


# --- decoding -----------------------------------------------------------------------------------


def gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (6, 5)).save(buffer, "GIF")
    return buffer.getvalue()


@pytest.fixture
def spoilt(tmp_path: Path) -> Pool:
    (tmp_path / "good.png").write_bytes(png(1, (9, 2)))
    (tmp_path / "tiny.png").write_bytes(png(2, (2, 1)))
    (tmp_path / "cut.png").write_bytes(png(3)[:-20])
    (tmp_path / "page.jpg").write_bytes(b"<html>not found</html>")
    (tmp_path / "moving.jpg").write_bytes(gif())
    (tmp_path / "noise.webp").write_bytes(gif()[:-15])
    names = ["good.png", "tiny.png", "cut.png", "page.jpg", "moving.jpg", "noise.webp", "none.png"]
    return open_records(tmp_path, [talk("<image>", image=name) for name in names])


def test_decoding_names_what_is_corrupt_and_what_is_misnamed(spoilt: Pool) -> None:
    counted: list[int] = []
    found = inspect_pool(spoilt, decode=True, progress=counted.append)
    decoded = found.verified
    assert decoded is not None
    assert (decoded.images, sum(counted)) == (6, 6)
    assert {kind: bad.count for kind, bad in decoded.corrupt.items()} == {
        "truncated": 2,
        "unreadable": 1,
    }
    assert str(decoded.corrupt["truncated"].first).startswith("cut.png: truncated")
    assert "page.jpg: unreadable" in str(decoded.corrupt["unreadable"].first)
    assert decoded.misnamed == {
        "gif named .jpg": Finding(1, "moving.jpg"),
        "gif named .webp": Finding(1, "noise.webp"),
    }
    assert (decoded.smallest, decoded.largest) == ((2, 1), (6, 5))
    assert (found.found("corrupt"), found.found("extensions"), found.found("missing")) == (3, 2, 1)


def test_nothing_is_decoded_unless_asked_for(spoilt: Pool) -> None:
    found = inspect_pool(spoilt)
    assert (found.verified, found.found("corrupt")) == (None, 0)


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("a/b.JPG", png(), "png named .jpg"),
        ("a/b.jpeg", b"\xff\xd8\xff\xe0", None),
        ("a/b.png", b"RIFF\0\0\0\0WEBPVP8 ", "webp named .png"),
        ("a.gif/b", png(), None),
        ("a/b.unknown", png(), None),
        ("a/b.jpg", b"<html>", None),
        ("a/b.tif", b"MM\x00*", None),
    ],
)
def test_name_against_content(path: str, data: bytes, said: str | None) -> None:
    assert misnamed_as(path, data) == said


# --- findings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FINDINGS)
def test_every_finding_can_be_counted(mixed: Pool, kind: str) -> None:
    check_finding(kind)
    assert inspect_pool(mixed).found(kind) == {
        "faults": 1, "missing": 1, "duplicates": 2, "ids": 4, "placeholders": 2,
    }.get(kind, 0)  # fmt: skip


def test_an_unknown_finding_offers_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no finding \"duplicate\"\. Did you mean \"duplicates\""):
        check_finding("duplicate")


@needs_shared
def test_the_mixed_pool() -> None:
    found = inspect_pool(Pool.open(MIXED, image_folder=REAL_IMAGES))
    assert (found.records, found.usable) == (23_772, 23_772)
    assert sum(facts.records for facts in found.sources.values()) == found.records
    assert sum(n * times for n, times in found.images.per_record.items()) == found.images.references
    assert np.sum([facts.text_only for facts in found.sources.values()]) == found.text_only

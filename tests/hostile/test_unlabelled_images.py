"""Images without conversations, named by folders, archives and tables that lie.

Each is read, set aside or refused in one sentence; `POOL` stands for the path that was named.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import png, talk
from hostile.malformed import TAR_END, put, tar_entry, zip_bytes
from hostile.test_malformed_pool_files import outcome
from visift.errors import ImageError
from visift.pool.images import ImageLimits
from visift.pool.inspect import inspect_pool
from visift.pool.pool import Pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names and links as Linux has")

GOOD = png()
NEITHER = "POOL: no .json or .jsonl file and no image in this folder"


# --- folders ------------------------------------------------------------------------------------


def folder_of(*names: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        for name in names:
            put(folder / "photos" / name, GOOD)
        (folder / "photos").mkdir(exist_ok=True)
        return folder / "photos"

    return build


def only_links(folder: Path) -> Path:
    put(folder / "elsewhere" / "1.png", GOOD)
    (folder / "photos").mkdir()
    (folder / "photos" / "here").symlink_to("../elsewhere")
    (folder / "photos" / "round").symlink_to(".")
    return folder / "photos"


FOLDERS: list[tuple[str, Callable[[Path], Path], int | str]] = [
    ("nothing", folder_of(), f"{NEITHER}."),
    ("hidden images alone", folder_of(".1.png", ".x/2.png", "a/.3.png"), f"{NEITHER}."),
    (
        "other files alone",
        folder_of("a.txt", "b.heic", "c"),
        f"{NEITHER} (1 .heic, 1 .txt, 1 no ending).",
    ),
    ("linked folders alone", only_links, f"{NEITHER} (2 linked folder)."),
    ("an ending and nothing else", folder_of(".png", "png"), f"{NEITHER} (1 no ending)."),
    ("a folder that is called an image", folder_of("1.png/2.png"), 1),
    ("a CSV file beside images", folder_of("images.csv", "1.png"), 1),
]


@pytest.mark.parametrize(
    ("build", "expected"), [case[1:] for case in FOLDERS], ids=[case[0] for case in FOLDERS]
)
def test_a_folder_is_images_or_refused(
    tmp_path: Path, build: Callable[[Path], Path], expected: int | str
) -> None:
    found = outcome(build(tmp_path))
    assert found == expected or (isinstance(expected, str) and str(found).startswith(expected))


def test_files_that_are_no_images_are_set_aside_by_name(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    put(photos / "1.png", GOOD)
    put(tmp_path / "secret.png", GOOD)
    links = {"gone.png": "nowhere", "loop.png": "loop.png", "out.png": "../secret.png"}
    for name, target in links.items():
        (photos / name).symlink_to(target)
    os.mkfifo(photos / "pipe.png")
    put(photos / "back\\slash.png", GOOD)
    put(photos / "line\nbreak.png", GOOD)
    put(photos / "c:drive.png", GOOD)
    put(Path(os.fsdecode(os.fsencode(photos) + b"/latin\xe9.png")), GOOD)
    pool = Pool.open(photos)
    assert {reason for reason in pool.faults if reason} == {
        "image missing: gone.png",
        "image cannot be read: loop.png (Too many levels of symbolic links)",
        "image leaves the image folder: out.png (by a link)",
        "image is not a regular file: pipe.png",
        "image whose name is no path (a backslash?): back\\slash.png",
        "image leaves the image folder: c:drive.png (absolute path; write it relative to that "
        "folder)",
        "image whose name is not valid UTF-8: latin\\xe9.png",
    }
    shown = [record.images[0].path for record in pool.records(pool.rows())]
    assert shown == ["1.png", "line\nbreak.png"]
    assert all(isinstance(pool.raw(row), bytes) for row in range(len(pool)))
    assert len(pool.uids(pool.rows())) == 2


def test_what_only_looks_like_an_image_is_found_when_it_is_decoded(tmp_path: Path) -> None:
    put(tmp_path / "empty.jpg", b"")
    put(tmp_path / "text.jpg", b"no image at all")
    put(tmp_path / "cut.png", GOOD[:-20])
    put(tmp_path / "good.png", GOOD)
    pool = Pool.open(tmp_path)
    assert pool.faults == [None] * 4
    verified = inspect_pool(pool, decode=True).verified
    assert verified is not None
    kinds = {kind: found.first for kind, found in verified.corrupt.items()}
    assert kinds.keys() == {"empty", "unreadable", "truncated"}
    assert kinds["empty"] == "empty.jpg: empty (0 bytes)"


def test_ten_thousand_images_are_listed_once_each(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / f"{folder:02}").mkdir()
        for number in range(1000):
            (tmp_path / f"{folder:02}" / f"{number:04}.png").symlink_to("../one.png")
    put(tmp_path / "one.png", GOOD)
    pool = Pool.open(tmp_path)
    assert len(pool) == len(pool.images) == 10_001
    assert pool.groups("source").labels == tuple(f"{folder:02}" for folder in range(10))
    assert len(pool.rows()) == 10_001


# --- archives -----------------------------------------------------------------------------------

ESCAPING = {"../up.png": GOOD, "a/../../up.png": GOOD, "/etc/abs.png": GOOD, "C:\\x.png": GOOD}

ARCHIVES: list[tuple[str, str, bytes, int | str]] = [
    ("a zip", "x.zip", zip_bytes({"a/1.png": GOOD, "1.PNG": GOOD}), 2),
    ("a tar", "x.TAR", tar_entry("a/1.png", GOOD) + TAR_END, 1),
    ("paths to other places", "x.zip", zip_bytes(ESCAPING), "POOL: no image in this archive."),
    ("some such paths", "x.zip", zip_bytes({**ESCAPING, "1.png": GOOD}), 1),
    ("one path twice", "x.tar", tar_entry("1.png", b"") + tar_entry("1.png", GOOD) + TAR_END, 1),
    ("no image", "x.zip", zip_bytes({"a.txt": b"", "b/": b""}), "POOL: no image in this archive."),
    ("no member", "x.zip", zip_bytes({}), "POOL: no image in this archive."),
    (
        "no zip",
        "x.zip",
        b"no zip",
        "POOL: the archive cannot be read: no zip directory at its end.",
    ),
    ("nothing", "x.zip", b"", "POOL: the archive cannot be read: no zip directory at its end."),
    (
        "a compressed tar",
        "x.tar.gz",
        b"\x1f\x8b",
        "POOL: is a compressed tar: single images cannot be read from it.",
    ),
    (
        "a compressed tar that is called a tar",
        "x.tar",
        b"\x1f\x8b" + bytes(1000),
        "POOL: is a compressed tar: single images cannot be read from it.",
    ),
]


@pytest.mark.parametrize(
    ("name", "data", "expected"), [case[1:] for case in ARCHIVES], ids=[c[0] for c in ARCHIVES]
)
def test_an_archive_is_images_or_refused(
    tmp_path: Path, name: str, data: bytes, expected: int | str
) -> None:
    assert outcome(put(tmp_path / name, data)) == expected


@pytest.mark.parametrize("ending", [".zip", ".tar", ".csv", ".parquet"])
def test_what_is_no_file_is_never_waited_for(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    assert outcome(tmp_path / f"pipe{ending}") == "POOL: is not a regular file."
    missing = outcome(tmp_path / f"none{ending}")
    assert missing == "POOL: cannot be read (No such file or directory)."


# --- CSV ----------------------------------------------------------------------------------------

NO_COLUMN = "POOL: no column image, file_name, path or image_path; there are:"
INVALID = "is no valid CSV:"

TABLES: list[tuple[str, bytes, int | str]] = [
    ("a list", b"image\n1.png\n2.png", 2),
    ("a byte order mark and line ends of Windows", b"\xef\xbb\xbfimage,x\r\n1.png,\r\n", 1),
    ("quotes around everything", b'"image","task"\n"1.png","a ""b"" c"\n', 1),
    ("one path three times", b"path\n1.png\n1.png\n1.png\n", 3),
    ("blank lines", b"image\n\n\n1.png\n\n", 1),
    ("nothing", b"", "POOL: the file is empty."),
    ("a byte order mark alone", b"\xef\xbb\xbf", f"{NO_COLUMN} none."),
    ("blank lines alone", b"\n\n\n", f"{NO_COLUMN} none."),
    ("column names alone", b"image,task\n", "POOL: no records in it."),
    ("no column names", b"1.png,cat\n2.png,dog\n", f"{NO_COLUMN} 1.png, cat."),
    ("semicolons", b"image;task\n1.png;a\n", f"{NO_COLUMN} image;task."),
    ("one column twice", b"image,image\n1.png,2.png\n", 'POOL: its column "image" is there twice.'),
    ("a quote that does not end", b'image\n"1.png\n2.png\n', f"POOL, line 3: {INVALID} unexpected"),
    ("a quote inside", b'image\n"1"2.png\n', f"POOL, line 2: {INVALID} "),
    ("a field without end", b"image\n" + b"x" * 200_000, f"POOL, line 2: {INVALID} field larger"),
    ("UTF-16", "image\n1.png\n".encode("utf-16"), "POOL: is text in UTF-16; UTF-8 was expected."),
    ("a parquet file", b"PAR1\0\0\0\0PAR1", f"{NO_COLUMN} PAR1"),
    (
        "conversations",
        b"image,conversations\n1.png,[]\n",
        'POOL: holds "conversations": conversations are not read from tables yet, only images are.',
    ),
]


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in TABLES], ids=[case[0] for case in TABLES]
)
def test_a_csv_file_is_read_or_refused(tmp_path: Path, data: bytes, expected: int | str) -> None:
    found = outcome(put(tmp_path / "images.csv", data))
    assert found == expected or (isinstance(expected, str) and str(found).startswith(expected))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"1.png,a", None),
        (b"./1.png,", None),
        (b"1.png", "not as many values as columns: 1 for 2"),
        (b"1.png,a,b", "not as many values as columns: 3 for 2"),
        (b",a", "no image: its path is missing"),
        (b'"  ",a', "image empty path:   "),
        (b"none.png,", "image missing: none.png"),
        (b"../1.png,", "image leaves the image folder: ../1.png (by ..)"),
        (b"/etc/passwd,", "image leaves the image folder: /etc/passwd (absolute path; "),
        (b"https://example.org/1.png,", "image is a URL: https://example.org/1.png (nothing is "),
        (b"1.png\0,", "image path with a zero byte: 1.png\0"),
        (b"caf\xe9.png,", "not valid UTF-8"),
        (b"1.png," + b"x" * 2000, '"task" is no label: it has 2,000 characters'),
        (b"a/" * 5000 + b",", "image cannot be read: a/a/a/"),
    ],
)
def test_a_line_of_a_csv_file_is_used_or_set_aside(
    tmp_path: Path, line: bytes, fault: str | None
) -> None:
    put(tmp_path / "1.png", GOOD)
    pool = Pool.open(put(tmp_path / "images.csv", b"image,task\n1.png,a\n" + line + b"\n"))
    first, found = pool.faults
    assert first is None
    assert (found is None) == (fault is None)
    assert (found or "").startswith(fault or "")
    assert len(found or "") < 400
    assert pool.start(1) == 19
    assert pool.raw(1).startswith(b"{")


# --- parquet ------------------------------------------------------------------------------------

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NOT_UTF_8 = pa.Array.from_buffers(
    pa.string(),
    2,
    [None, pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0])), pa.py_buffer(b"\xff1.png")],
)

COLUMNS: list[tuple[str, dict[str, Any], int | str]] = [
    ("paths", {"image": ["1.png", "2.png"]}, 2),
    ("bytes", {"image": pa.array([{"bytes": GOOD, "path": "1.png"}], STRUCT)}, 1),
    ("nulls of bytes", {"image": pa.array([None, {"bytes": None, "path": None}], STRUCT)}, 2),
    ("bytes without paths", {"image": pa.array([GOOD, None, b""], pa.binary())}, 3),
    (
        "bytes and columns of all kinds",
        {"image": [GOOD], "a": [[1]], "b": [{"c": 1}], "d": [1.5]},
        1,
    ),
    ("no rows", {"image": pa.array([], STRUCT)}, "POOL: no records in it."),
    ("no rows of paths", {"image": pa.array([], pa.string())}, "POOL: no records in it."),
    ("no columns", {}, f"{NO_COLUMN} none."),
    ("no such column", {"img": ["1.png"], "x": [1]}, f"{NO_COLUMN} img, x."),
    ("numbers", {"image": [1, 2]}, 'POOL: its column "image" holds int64.'),
    ("nothing but nulls", {"image": [None]}, 'POOL: its column "image" holds null.'),
    ("lists of paths", {"image": [["1.png"]]}, 'POOL: its column "image" holds list<'),
    ("paths in a struct", {"image": [{"path": "1.png"}]}, 'POOL: its column "image" holds struct<'),
    (
        "bytes that are text",
        {"image": [{"bytes": "1.png", "path": "1.png"}]},
        'POOL: its column "image" holds struct<',
    ),
    ("text that is not UTF-8", {"image": NOT_UTF_8}, 2),
    (
        "messages",
        {"image": ["1.png"], "messages": ["[]"]},
        'POOL: holds "messages": conversations are not read from tables yet, only images are.',
    ),
]


@pytest.mark.parametrize(
    ("columns", "expected"), [case[1:] for case in COLUMNS], ids=[case[0] for case in COLUMNS]
)
def test_a_parquet_file_is_read_or_refused(
    tmp_path: Path, columns: dict[str, Any], expected: int | str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "images.parquet")
    found = outcome(tmp_path / "images.parquet")
    assert found == expected or (isinstance(expected, str) and str(found).startswith(expected))


def test_text_that_is_not_utf_8_is_set_aside_in_its_row_alone(tmp_path: Path) -> None:
    put(tmp_path / "1.png", GOOD)
    pq.write_table(pa.table({"image": NOT_UTF_8}), tmp_path / "images.parquet")
    assert Pool.open(tmp_path / "images.parquet").faults == ["not valid UTF-8", None]


@pytest.mark.parametrize("cut", [0, 4, 100, -1, -8, -200])
def test_a_parquet_file_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    images = pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(50)], STRUCT)
    pq.write_table(pa.table({"image": images}), tmp_path / "images.parquet")
    put(tmp_path / "images.parquet", (tmp_path / "images.parquet").read_bytes()[:cut])
    found = outcome(tmp_path / "images.parquet")
    assert str(found).startswith("POOL: is no parquet file that can be read (")


def test_a_parquet_file_with_damaged_pages_is_refused_or_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "images.parquet"
    images = pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(50)], STRUCT)
    pq.write_table(pa.table({"image": images}), path, compression="zstd")
    whole = path.read_bytes()
    for at in range(4, len(whole) - 200, 97):
        put(path, whole[:at] + b"\xff\x00\xff\x00" + whole[at + 4 :])
        found = outcome(path)
        assert found == 50 or str(found).startswith("POOL: is no parquet file that can be read (")


def test_an_image_above_the_limits_is_not_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "images.parquet"
    values = pa.array([{"bytes": bytes(5_000_000), "path": "big.png"}, {"bytes": GOOD}], STRUCT)
    pq.write_table(pa.table({"image": values}), path)
    root = Pool.open(path).roots[0]
    limits = ImageLimits(max_bytes=1_000_000)
    with pytest.raises(ImageError, match=r"too large: 5,000,000 bytes, limit 1,000,000"):
        root.read("big.png", limits)
    assert root.read("1", limits) == GOOD


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["1.png"]), pa.array(["2.png"])], ["image", "image"])
    pq.write_table(twice, tmp_path / "images.parquet")
    assert outcome(tmp_path / "images.parquet") == 'POOL: its column "image" is there twice.'


def test_text_in_tables_stays_text(tmp_path: Path) -> None:
    put(tmp_path / "1.png", GOOD)
    hostile = '<script>[red]\x1b[2J"},{"image":"2.png'
    pq.write_table(pa.table({"image": ["1.png"], hostile: [hostile]}), tmp_path / "i.parquet")
    pool = Pool.open(tmp_path / "i.parquet")
    assert pool.faults == [None]
    assert pool.record(0).images[0].path == "1.png"
    assert json.loads(pool.raw(0)) == {"id": "1.png", "image": "1.png", hostile: hostile}


def test_records_of_a_folder_with_json_are_never_images(tmp_path: Path) -> None:
    put(tmp_path / "1.png", GOOD)
    put(tmp_path / "pool.json", str([talk()]).replace("'", '"').encode())
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("2.png", GOOD)
    assert Pool.open(tmp_path).text_only.tolist() == [True]

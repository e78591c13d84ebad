"""Image folders and archives that lie: what a record can name in them, and what it is told."""

from __future__ import annotations

import io
import os
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import png, talk, write_json
from hostile.malformed import (
    END_BYTES,
    END_COUNT,
    END_OFFSET,
    FLAGS,
    METHOD,
    OFFSET,
    PACKED,
    TAR_END,
    far_away,
    in_directory,
    in_end,
    put,
    tar_attribute,
    tar_entry,
    tar_header,
    zip_bytes,
)
from visift.errors import ImageError, VisiftError
from visift.pool.pool import Pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names and links as Linux has")

GOOD = png()
SECRET = b"a secret outside of the image folder"
ABSOLUTE = "(absolute path; write it relative to that folder)"
URL = "(nothing is ever downloaded; download it first)"


# --- paths that records write -------------------------------------------------------------------

#: A path as a record says it, and why its record is set aside; None where it is found.
PATHS: list[tuple[str, str, str | None]] = [
    ("a file", "a/1.png", None),
    ("the same with detours", "./a//b/../1.png", None),
    ("the same as Windows writes it", "a\\1.png", None),
    ("a file below a linked folder inside", "inside/1.png", None),
    ("another case", "A/1.PNG", "image missing: A/1.PNG"),
    ("a name in another normal form", "a/e\u0301.png", "image missing: a/e\u0301.png"),
    ("blanks", "  ", "image empty path:   "),
    ("a folder", "a", "image is a folder: a"),
    ("the folder itself", ".", "image is a folder: ."),
    ("below a file", "a/1.png/2.png", "image missing: a/1.png/2.png"),
    ("a parent", "../secret.png", "image leaves the image folder: ../secret.png (by ..)"),
    ("a parent on a detour", "a/../../secret.png", "image leaves the image folder: a/../../s"),
    ("a parent as Windows writes it", "..\\secret.png", "image leaves the image folder: ..\\"),
    ("a parent after a folder that is not there", "x/../../secret.png", "image leaves the image"),
    ("an absolute path", "/etc/passwd", f"image leaves the image folder: /etc/passwd {ABSOLUTE}"),
    ("two slashes", "//etc/passwd", f"image leaves the image folder: //etc/passwd {ABSOLUTE}"),
    ("a drive", "C:\\w.png", f"image leaves the image folder: C:\\w.png {ABSOLUTE}"),
    ("a drive without a slash", "c:w.png", f"image leaves the image folder: c:w.png {ABSOLUTE}"),
    ("a server", "\\\\server\\share\\w.png", "image leaves the image folder: \\\\server"),
    ("a device of Windows", "\\\\?\\C:\\w.png", "image leaves the image folder: \\\\?\\C:"),
    ("a home", "~/secret.png", "image missing: ~/secret.png"),
    ("a variable", "$HOME/secret.png", "image missing: $HOME/secret.png"),
    ("a name that Windows keeps for itself", "a/NUL", "image missing: a/NUL"),
    ("a stream of a file", "a/1.png:stream", "image missing: a/1.png:stream"),
    ("a URL", "https://example.org/1.png", f"image is a URL: https://example.org/1.png {URL}"),
    ("a URL of a file", "file:///etc/passwd", f"image is a URL: file:///etc/passwd {URL}"),
    ("a picture in the text", "data:image/png;base64,AA==", "image is embedded data, not the path"),
    ("a zero byte", "a/1.png\0.txt", "image path with a zero byte: a/1.png\0.txt"),
    ("a name too long", "x" * 300, "image cannot be read: xxxxxxxxxx"),
    ("a path too long", "a/" * 3000, "image cannot be read: a/a/a/a/a/"),
    ("a path of ten million letters", "a/" * 5_000_000, "image cannot be read: a/a/a/a/a/"),
    ("a link to the outside", "secret", "image leaves the image folder: secret (by a link)"),
    ("below a link to the outside", "up/secret.png", "image leaves the image folder: up/secret"),
    ("a link to a file of the system", "passwd", "image leaves the image folder: passwd (by a "),
    ("a link that says where it is", "here/here/here/a/1.png", None),
    ("a link to itself", "loop", "image cannot be read: loop (Too many levels of symbolic links)"),
    ("below a link to itself", "loop/1.png", "image missing: loop/1.png"),
    ("a link to nothing", "dangling", "image missing: dangling"),
    ("a pipe", "pipe", "image is not a regular file: pipe"),
    ("a link to a device", "zero", "image leaves the image folder: zero (by a link)"),
    ("commands for the terminal", "\x1b[2J.png", "image missing: \x1b[2J.png"),
]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    put(tmp_path / "secret.png", GOOD)
    folder = tmp_path / "images"
    put(folder / "a" / "1.png", GOOD)
    put(folder / "a" / "b" / "2.png", GOOD)
    put(folder / "a" / "\u00e9.png", GOOD)
    links = {"inside": "a", "secret": "../secret.png", "up": "..", "passwd": "/etc/passwd"}
    links |= {"loop": "loop", "dangling": "gone.png", "here": ".", "zero": "/dev/zero"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    ("path", "reason"), [case[1:] for case in PATHS], ids=[case[0] for case in PATHS]
)
def test_a_path_is_found_below_the_folder_or_refused(
    images: Path, path: str, reason: str | None
) -> None:
    pool = named(images.parent, path, images)
    found = pool.faults[0]
    assert (found or "").startswith(reason or "")
    assert (found is None) == (reason is None)
    assert len(found or "") < 400
    if found is None:
        assert pool.image_bytes(pool.record(0).images[0]) == GOOD


def named(folder: Path, path: str, images: Path) -> Pool:
    """Open a pool of one record that names one image."""
    file = write_json(folder / "pool.json", [talk(image=path)])
    return Pool.open(file, image_folder=images)


# --- archives -----------------------------------------------------------------------------------

ZIP = zip_bytes({"a.png": GOOD})
NONE = 0xFFFFFFF0
BOMB = zip_bytes({"a.png": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
TAR = tar_entry("a.png", GOOD) + TAR_END
REFUSED = "ARCHIVE: the archive cannot be read: "


def size_of(n_bytes: int) -> bytes:
    return struct.pack("<L", n_bytes)


def tar_of(*names: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = len(GOOD) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(GOOD))
    return buffer.getvalue()


#: Name and bytes of an archive, the path that a record names, and what it gets: None for the good
#: picture, else the reason for which the record or the whole archive is refused.
ARCHIVES: list[tuple[str, str, bytes, str, str | None]] = [
    ("a zip", "x.zip", ZIP, "a.png", None),
    ("a zip after a program", "x.zip", b"#!/bin/sh\n" * 99 + ZIP, "a.png", None),
    ("an empty zip file", "x.zip", b"", "a.png", f"{REFUSED}no zip directory at its end."),
    ("a zip that is text", "x.zip", b"<html>" * 99, "a.png", f"{REFUSED}no zip directory at its"),
    ("half a zip", "x.zip", ZIP[:60], "a.png", f"{REFUSED}no zip directory at its end."),
    ("a zip cut at its front", "x.zip", ZIP[20:], "a.png", f"{REFUSED}its directory does not fit"),
    (
        "a directory of four gigabytes",
        "x.zip",
        in_end(ZIP, END_BYTES, size_of(NONE)),
        "a.png",
        f"{REFUSED}its directory does not fit into it.",
    ),
    (
        "a directory far beyond the end",
        "x.zip",
        in_end(ZIP, END_OFFSET, size_of(NONE)),
        "a.png",
        f"{REFUSED}its directory does not fit into it.",
    ),
    ("65,535 members stated", "x.zip", in_end(ZIP, END_COUNT, b"\xff" * 4), "a.png", None),
    (
        "a directory that is none",
        "x.zip",
        ZIP.replace(b"PK\x01\x02", b"PK\x00\x00"),
        "a.png",
        f"{REFUSED}broken directory entry after 0 bytes.",
    ),
    (
        "a member name longer than the directory",
        "x.zip",
        in_directory(ZIP, 28, b"\xff\xff"),
        "a.png",
        f"{REFUSED}the directory ends inside an entry.",
    ),
    (
        "a member that begins elsewhere",
        "x.zip",
        in_directory(ZIP, OFFSET, size_of(7)),
        "a.png",
        "damaged in its archive (no header where one should be)",
    ),
    (
        "a member after the end",
        "x.zip",
        in_directory(ZIP, OFFSET, size_of(NONE)),
        "a.png",
        "damaged in its archive (it would begin after the end)",
    ),
    (
        "a member beyond all files",
        "x.zip",
        far_away(ZIP, 2**64 - 1),
        "a.png",
        "damaged in its archive (it would begin after the end)",
    ),
    (
        "a member larger than the zip",
        "x.zip",
        in_directory(ZIP, PACKED, size_of(10**6) * 2),
        "a.png",
        "damaged in its archive (its size is not the one stated)",
    ),
    (
        "a member of four gigabytes",
        "x.zip",
        in_directory(ZIP, PACKED, size_of(NONE) * 2),
        "a.png",
        "too large: 4,294,967,280 bytes, limit 104,857,600",
    ),
    (
        "a bomb that says its size",
        "x.zip",
        in_directory(BOMB, 24, size_of(2 * 10**9)),
        "a.png",
        "too large: 2,000,000,000 bytes, limit 104,857,600",
    ),
    (
        "a bomb that says another size",
        "x.zip",
        in_directory(BOMB, 24, size_of(100)),
        "a.png",
        "damaged in its archive (its size is not the one stated)",
    ),
    (
        "an encrypted member",
        "x.zip",
        in_directory(ZIP, FLAGS, b"\x01"),
        "a.png",
        "encrypted in its archive (unpack the archive first)",
    ),
    (
        "a way to pack that is unknown",
        "x.zip",
        in_directory(ZIP, METHOD, b"\x63"),
        "a.png",
        "compressed in an unknown way (method 99; repack",
    ),
    ("a changed byte", "x.zip", ZIP.replace(b"IDAT", b"IDAU"), "a.png", "damaged in its archive"),
    ("a tar", "x.tar", TAR, "a.png", None),
    ("an empty tar file", "x.tar", b"", "a.png", f"{REFUSED}empty file."),
    ("a tar that is text", "x.tar", b"<html>" * 999, "a.png", f"{REFUSED}invalid header."),
    ("half a tar", "x.tar", TAR[:530], "a.png", f"{REFUSED}unexpected end of data."),
    (
        "a tar that was compressed",
        "x.tar",
        b"\x1f\x8b\x08" + bytes(999),
        "a.png",
        "ARCHIVE: is a compressed tar: single images cannot be read from it.",
    ),
    (
        "a size below zero",
        "x.tar",
        tar_header("a.png", -512) + TAR,
        "a.png",
        f"{REFUSED}broken header at byte 0.",
    ),
    (
        "a size that leads back for ever",
        "x.tar",
        tar_header("a.png", -512, b"Z") + TAR,
        "a.png",
        f"{REFUSED}broken header at byte 0.",
    ),
    (
        "a size beyond all files",
        "x.tar",
        tar_header("a.png", 2**80) + TAR,
        "a.png",
        f"{REFUSED}one of its headers is broken.",
    ),
    (
        "a long name of an exabyte",
        "x.tar",
        tar_header("././@LongLink", 2**60, tarfile.GNUTYPE_LONGNAME) + TAR,
        "a.png",
        f"{REFUSED}broken header before byte 512.",
    ),
    (
        "attributes of eight gigabytes",
        "x.tar",
        tar_header("pax", 2**33, tarfile.XHDTYPE) + TAR,
        "a.png",
        f"{REFUSED}broken header before byte 512.",
    ),
    (
        "ten thousand attributes in a row",
        "x.tar",
        tar_attribute(b"comment", b"x") * 10_000 + TAR,
        "a.png",
        f"{REFUSED}one of its headers is broken.",
    ),
    (
        "a size in an attribute that is below zero",
        "x.tar",
        tar_attribute(b"size", b"-512") + TAR,
        "a.png",
        f"{REFUSED}broken header at byte 0.",
    ),
    (
        "a member name that climbs",
        "x.tar",
        tar_of("../a.png", "../../etc/passwd"),
        "a.png",
        "missing",
    ),
    ("a zip slip", "x.zip", zip_bytes({"../a.png": GOOD}), "a.png", "missing"),
    ("a zip slip of Windows", "x.zip", zip_bytes({"..\\a.png": GOOD}), "a.png", "missing"),
    ("an absolute member name", "x.zip", zip_bytes({"/a.png": GOOD}), "a.png", "missing"),
    ("a member name with a drive", "x.zip", zip_bytes({"C:/a.png": GOOD}), "a.png", "missing"),
    (
        "a member name of 60,000 letters",
        "x.zip",
        zip_bytes({"x" * 60_000: GOOD}),
        "x" * 60_000,
        "cannot be read (a path of 60,000 characters)",
    ),
    (
        "a member that is a link",
        "x.tar",
        tar_of("a", kind=b"2", target="/etc/passwd"),
        "a",
        "missing",
    ),
    (
        "a member that is the same file",
        "x.tar",
        tar_of("a", kind=b"1", target="/etc/passwd"),
        "a",
        "missing",
    ),
    ("a member that is a device", "x.tar", tar_of("a", kind=b"3"), "a", "missing"),
    ("a member that is a pipe", "x.tar", tar_of("a", kind=b"6"), "a", "missing"),
]


@pytest.mark.parametrize(
    ("name", "data", "path", "reason"),
    [case[1:] for case in ARCHIVES],
    ids=[case[0] for case in ARCHIVES],
)
def test_a_member_is_read_or_it_is_said_why_not(
    tmp_path: Path, name: str, data: bytes, path: str, reason: str | None
) -> None:
    archive = put(tmp_path / "images" / name, data)
    for images in (archive, archive.parent):  # named itself, and found in its folder
        said = reason_of(tmp_path, images, path).replace(str(archive), "ARCHIVE")
        assert said.startswith(reason or "")
        assert bool(said) == (reason is not None)


def reason_of(folder: Path, images: Path, path: str) -> str:
    """Return why the image of a record cannot be read; nothing where it is the good picture."""
    try:
        root = named(folder, path, images).roots[0]
        assert root.read(path) == GOOD
    except ImageError as error:
        return error.what
    except VisiftError as error:
        return str(error)
    return ""


# --- folders ------------------------------------------------------------------------------------


def nothing(folder: Path) -> Path:
    return folder / "gone"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.zip")
    return folder / "pipe.zip"


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def another_file(folder: Path) -> Path:
    return put(folder / "images.rar", b"Rar!")


def name_in_latin_1(folder: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/\xe9"))
    path.mkdir()
    return path


NO_FOLDER = "FOLDER: there is no such image folder or archive."
FOLDERS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("nothing", nothing, NO_FOLDER),
    ("a name too long", lambda folder: folder / ("x" * 300), NO_FOLDER),
    ("a loop of links", loop, NO_FOLDER),
    ("a pipe that is called a zip", pipe, NO_FOLDER),
    ("a device", lambda folder: Path("/dev/zero"), NO_FOLDER),
    ("a file", another_file, "FOLDER: is neither a folder nor a .zip or .tar archive."),
    ("a name that is not UTF-8", name_in_latin_1, "FOLDER: its name is not valid UTF-8."),
]


@pytest.mark.parametrize(
    ("build", "error"), [case[1:] for case in FOLDERS], ids=[case[0] for case in FOLDERS]
)
def test_a_folder_that_is_none_is_refused(
    tmp_path: Path, build: Callable[[Path], Path], error: str
) -> None:
    images = build(tmp_path)
    with pytest.raises(VisiftError) as caught:
        named(tmp_path, "a.png", images)
    assert caught.value.fix
    shown = os.fsencode(images).decode(errors="backslashreplace")
    assert str(caught.value).splitlines()[0].replace(shown, "FOLDER") == error


def test_pipes_and_loops_beside_the_images_are_not_opened(images: Path) -> None:
    os.mkfifo(images / "pipe.zip")
    (images / "loop.tar").symlink_to("loop.tar")
    (images / "outside.zip").symlink_to(put(images.parent / "outside.zip", ZIP))
    pool = named(images.parent, "a/1.png", images)
    assert pool.faults == [None]
    assert pool.roots[0].ignored == ("outside.zip",)

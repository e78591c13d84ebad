"""Where images are found: files before archives, never outside the root, read as they were."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visift.errors import ImageError, ImageUnavailable, PoolError
from visift.pool.imageroot import ImageRoot
from visift.pool.images import ImageLimits
from visift.pool.paths import normalise

SHARED = Path(os.environ.get("VISIFT_SHARED", Path(__file__).parents[2] / ".." / "shared"))
REAL = SHARED / "pools" / "real" / "images"


def png(colour: str = "red", size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: dict[str, bytes], **options: int) -> Path:
    with tarfile.open(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def why(call: Callable[[str], object], path: str) -> str:
    with pytest.raises(ImageError) as caught:
        call(path)
    return caught.value.what


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "top.png").write_bytes(png())
    (folder / "a" / "b" / "deep.png").write_bytes(png("blue"))
    (tmp_path / "secret.png").write_bytes(png("green"))
    return folder


# --- files -----------------------------------------------------------------------------------


def test_a_file_is_found_read_and_loaded(folder: Path) -> None:
    root = ImageRoot.open(folder)
    found = root.locate("a/b/deep.png")
    data = png("blue")
    assert (found.path, found.n_bytes, found.member) == ("a/b/deep.png", len(data), None)
    assert found.key == f"a/b/deep.png\x1f{len(data)}"
    assert root.read("a/b/deep.png") == data
    assert root.load("a/b/deep.png").getpixel((0, 0)) == (0, 0, 255)


def test_the_content_decides_and_not_the_name(folder: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 5), "red").save(buffer, "GIF")
    (folder / "really_a_gif.JPG").write_bytes(buffer.getvalue())
    assert ImageRoot.open(folder).load("really_a_gif.JPG").getpixel((2, 2)) == (255, 0, 0)


def test_spellings_of_one_path_have_one_key(folder: Path) -> None:
    root = ImageRoot.open(folder)
    spellings = ["./a/b/deep.png", "a//b/deep.png", "a/b/../b/deep.png", "a\\b\\deep.png"]
    assert {root.locate(path).key for path in spellings} == {root.locate("a/b/deep.png").key}


def test_digest_keys_are_the_bytes(folder: Path) -> None:
    root = ImageRoot.open(folder)
    expected = blake2b(png(), digest_size=16).hexdigest()
    assert root.locate("top.png", digest=True).key == expected
    (folder / "same.png").write_bytes(png())
    assert root.locate("same.png", digest=True).key == expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.png", "missing"),
        ("no/such/folder.png", "missing"),
        ("top.png/below_a_file.png", "missing"),
        ("", "empty path"),
        ("  ", "empty path"),
        ("a", "is a folder"),
        ("a/", "is a folder"),
        (".", "is a folder"),
        ("a\0.png", "path with a zero byte"),
        ("../secret.png", "leaves the image folder"),
        ("a/../../secret.png", "leaves the image folder"),
        ("..\\secret.png", "leaves the image folder"),
        ("/etc/passwd", "leaves the image folder"),
        ("\\\\server\\share\\x.png", "leaves the image folder"),
        ("C:\\x.png", "leaves the image folder"),
        ("c:x.png", "leaves the image folder"),
        ("https://example.org/x.png", "is a URL: nothing is ever downloaded; download it first"),
        ("s3://bucket/x.png", "is a URL"),
        ("FILE:///etc/passwd", "is a URL"),
        ("file:x.png", "is a URL"),
        ("data:image/png;base64,AAAA", "is embedded data"),
        ("x" * 5000, "cannot be read"),
        ("\ud800.png", "cannot be read"),
    ],
)
def test_a_path_that_gives_no_image_says_why(folder: Path, path: str, reason: str) -> None:
    root = ImageRoot.open(folder)
    assert why(root.locate, path).startswith(reason)
    assert why(root.read, path).startswith(reason)


def test_links_are_followed_inside_the_root_only(folder: Path) -> None:
    (folder / "inside.png").symlink_to(folder / "top.png")
    (folder / "inner").symlink_to("a/b")
    (folder / "outside.png").symlink_to(folder.parent / "secret.png")
    (folder / "outer").symlink_to(folder.parent)
    (folder / "round").symlink_to("round")
    (folder / "broken.png").symlink_to("nothing.png")
    root = ImageRoot.open(folder)
    assert root.read("inside.png") == png()
    assert root.read("inner/deep.png") == png("blue")
    for _ in range(2):  # the second time from what is remembered
        assert why(root.locate, "outside.png").startswith("leaves the image folder")
        assert why(root.locate, "outer/secret.png").startswith("leaves the image folder")
    assert why(root.locate, "round").startswith("cannot be read")
    assert why(root.locate, "round/x.png") == "missing"
    assert why(root.locate, "broken.png") == "missing"


def test_a_sibling_with_the_same_beginning_is_outside(folder: Path) -> None:
    sibling = folder.parent / "images2"
    sibling.mkdir()
    (sibling / "x.png").write_bytes(png())
    (folder / "link").symlink_to(sibling)
    assert why(ImageRoot.open(folder).locate, "link/x.png").startswith("leaves")


def test_the_root_itself_may_be_a_link(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert ImageRoot.open(link).read("top.png") == png()


def test_only_regular_files_are_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert why(ImageRoot.open(folder).read, "pipe.png") == "is not a regular file"


def test_a_file_above_the_limit_is_not_read(folder: Path) -> None:
    root, limits = ImageRoot.open(folder), ImageLimits(max_bytes=10)
    with pytest.raises(ImageError, match="too large"):
        root.read("top.png", limits)
    with pytest.raises(ImageError, match="too large"):
        root.load("top.png", limits)


def test_unavailable_answers_as_locate_does(folder: Path) -> None:
    for number in range(200):
        (folder / "a" / f"{number}.png").touch()
    (folder / "a" / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "a" / "back\\slash.png").touch()
    (folder / "C:x.png").touch()
    write_zip(folder / "z.zip", {"a/packed.png": png(), "a/b/back/slash.png": png()})
    paths = [f"a/{number}.png" for number in range(0, 300, 2)]
    paths += ["a/link.png", "a/b", "a/packed.png", "a/back\\slash.png", "a/..", "a/", "a/."]
    paths += [f"{number}.png" for number in range(100)] + ["C:x.png", "top.png", "", "https://x/y"]
    paths += [f"../{number}.png" for number in range(100)] + ["a/0.png"]
    root = ImageRoot.open(folder)
    expected = {}
    for path in paths:
        try:
            root.locate(path)
        except ImageError as error:
            expected[path] = error.what
    assert root.unavailable(paths) == expected
    assert ImageRoot.open(folder / "z.zip").unavailable(["a/packed.png", "b"]) == {"b": "missing"}


@given(st.text(alphabet="ab./\\:\0 ", max_size=12))
def test_a_normal_path_stays_below_the_root(path: str) -> None:
    try:
        name = normalise(path)
    except ImageError:
        return
    assert normalise(name) == name
    assert not set(name.split("/")) & {"", ".", ".."}


# --- archives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_member_is_found_with_its_checksum(tmp_path: Path, method: int) -> None:
    data = png(size=(90, 90))
    root = ImageRoot.open(write_zip(tmp_path / "x.zip", {"d/": b"", "d/a.png": data}, method))
    found = root.locate("./d//a.png")
    assert found.key == f"d/a.png\x1f{len(data)}\x1f{zlib.crc32(data):08x}"
    assert (found.n_bytes, root.read("d/a.png")) == (len(data), data)
    assert root.load("d/a.png").size == (90, 90)
    assert root.locate("d/a.png", digest=True).key == blake2b(data, digest_size=16).hexdigest()
    assert why(root.locate, "d") == "missing"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_member_is_found(tmp_path: Path, kind: int) -> None:
    long = "/".join(["folder"] * 20) + "/ü.png" if kind != tarfile.USTAR_FORMAT else "u.png"
    members = {"./a.png": png(), long: png("blue")}
    root = ImageRoot.open(write_tar(tmp_path / "x.tar", members, format=kind))
    assert root.locate("a.png").key == f"a.png\x1f{len(png())}"
    assert (root.read("a.png"), root.read(long)) == (png(), png("blue"))


def test_files_come_first_then_archives_by_name(folder: Path) -> None:
    one, two, three = png("white"), png("black"), png("yellow")
    write_zip(folder / "2.zip", {"top.png": two, "both.png": two, "two.png": two})
    write_tar(folder / "1.tar", {"top.png": one, "both.png": one})
    write_zip(folder / "3.ZIP", {"both.png": three, "three.png": three})
    root = ImageRoot.open(folder)
    assert root.read("top.png") == png()
    assert root.read("both.png") == one
    assert (root.read("two.png"), root.read("three.png")) == (two, three)
    (folder / "top.png").unlink()
    assert root.read("top.png") == one


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_equal_names_in_one_archive_the_last_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", png())
        archive.writestr("a.png", png("blue"))
    assert ImageRoot.open(tmp_path / "x.zip").read("a.png") == png("blue")


def test_the_key_changes_with_the_bytes_in_a_zip(tmp_path: Path) -> None:
    keys = {
        ImageRoot.open(write_zip(tmp_path / "x.zip", {"a": data})).locate("a").key
        for data in (b"1234", b"1235", b"12345")
    }
    assert len(keys) == 3


def test_member_names_that_point_outside_are_unreachable(tmp_path: Path) -> None:
    names = ["../x.png", "a/../y.png", "/abs.png", "C:\\w.png", "..\\v.png", "a/../../z.png"]
    members = dict.fromkeys([*names, "good.png"], png())
    root = ImageRoot.open(write_zip(tmp_path / "x.zip", members))
    tar = ImageRoot.open(write_tar(tmp_path / "x.tar", members))
    for name in [*names, "x.png", "y.png", "abs.png", "w.png", "v.png", "z.png"]:
        for opened in (root, tar):
            assert why(opened.locate, name).startswith(("missing", "leaves"))
    assert root.read("good.png") == tar.read("good.png") == png()


def test_only_regular_members_are_indexed(tmp_path: Path) -> None:
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "dev": tarfile.CHRTYPE}
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in {**kinds, "dir": tarfile.DIRTYPE, "pipe": tarfile.FIFOTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    link = zipfile.ZipInfo("sym")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    root = ImageRoot.open(tmp_path)
    for name in ("sym", "hard", "dev", "dir", "pipe"):
        assert why(root.locate, name) == "missing"


def test_a_damaged_zip_member_is_one_bad_image(tmp_path: Path) -> None:
    data = png(size=(300, 300))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = write_zip(tmp_path / "x.zip", {"a.png": data, "b.png": png()}, method)
        file = bytearray(path.read_bytes())
        file[100] ^= 0xFF
        path.write_bytes(file)
        root = ImageRoot.open(path)
        assert why(root.read, "a.png").startswith("damaged in its archive (")
        assert root.read("b.png") == png()


def test_a_member_that_would_grow_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    root = ImageRoot.open(path)
    with pytest.raises(ImageError, match=r"too large: 1,000,000 bytes, limit 1,000"):
        root.read("a", ImageLimits(max_bytes=1000))
    # The same member, said to be 100 bytes long.
    lie = path.read_bytes().replace(struct.pack("<L", 10**6), struct.pack("<L", 100))
    path.write_bytes(lie)
    root = ImageRoot.open(path)
    with pytest.raises(ImageError, match="damaged"):
        root.read("a", ImageLimits(max_bytes=2000))


def test_what_zip_can_do_and_we_do_not_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a": b"1" * 100}, zipfile.ZIP_LZMA)
    assert "method 14" in why(ImageRoot.open(path).read, "a")
    file = bytearray(write_zip(path, {"a": b"1" * 100}).read_bytes())
    file[file.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(file)
    assert "encrypted" in why(ImageRoot.open(path).read, "a")


def test_zip64_comments_and_prefixes_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in "abc":
            archive.writestr(name, name.encode() * 100)
        archive.comment = b"a comment" * 100
    assert b"PK\x06\x06" in path.read_bytes()
    for prefix in (b"", b"#!/bin/sh something before the archive\n"):
        path.write_bytes(prefix + path.read_bytes())
        root = ImageRoot.open(path)
        assert [root.read(name) for name in "abc"] == [n.encode() * 100 for n in "abc"]


def test_member_names_in_other_encodings(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"ü.png": b"flagged", "plain?.png": b"unflagged"})
    file = path.read_bytes().replace(b"plain?", "plné".encode() + b"x")
    path.write_bytes(file)
    root = ImageRoot.open(path)
    assert (root.read("ü.png"), root.read("plnéx.png")) == (b"flagged", b"unflagged")
    path.write_bytes(file.replace("é".encode(), b"\x82x"))
    assert ImageRoot.open(path).read("plnéxx.png") == b"unflagged"


def test_an_archive_that_changes_while_in_use_is_not_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a": b"old"})
    root = ImageRoot.open(path)
    write_tar(path, {"b": b"x" * 20_000, "a": b"new"})
    assert "changed while in use" in why(root.read, "a")


def passes(call: Callable[[], object]) -> bool:
    """Return whether the error of one image says that another try may go well."""
    with pytest.raises(ImageError) as caught:
        call()
    return isinstance(caught.value, ImageUnavailable)


def test_what_the_key_of_an_image_does_not_decide_may_pass(folder: Path) -> None:
    archive = write_zip(folder / "x.zip", {"packed.png": png("green")})
    root = ImageRoot.open(folder)
    (folder / "round").symlink_to("round")
    assert passes(lambda: root.load("round"))
    assert passes(lambda: root.load("nowhere.png"))
    whole = archive.read_bytes()
    archive.write_bytes(whole[:45] + b"?" + whole[46:])
    assert passes(lambda: root.load("packed.png"))  # changed while in use
    assert passes(lambda: ImageRoot.open(folder).load("packed.png"))  # damaged
    found = root.locate("top.png")
    (folder / "top.png").write_bytes(b"half")
    assert passes(lambda: root._read(found, ImageLimits()))
    assert not passes(lambda: root.load("top.png"))
    assert not passes(lambda: root.read("top.png", ImageLimits(max_bytes=3)))


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.tar.zst"])
def test_a_compressed_tar_is_refused_or_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(PoolError, match="Unpack it into a folder, or repack it"):
        ImageRoot.open(tmp_path / name)
    assert ImageRoot.open(tmp_path).ignored == (name,)


def test_a_compressed_tar_under_a_false_name_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    with pytest.raises(PoolError, match="is a compressed tar"):
        ImageRoot.open(tmp_path / "x.tar")


def test_links_to_archives_outside_and_leftovers_are_not_used(folder: Path) -> None:
    outside = write_zip(folder.parent / "outside.zip", {"o.png": png()})
    (folder / "linked.zip").symlink_to(outside)
    (folder / "._linked.zip").write_bytes(b"macOS")
    root = ImageRoot.open(folder)
    assert root.ignored == ("linked.zip",)
    assert why(root.locate, "o.png") == "missing"


def test_an_archive_may_be_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    write_tar(tmp_path / "store" / "blob", {"a": b"1"})
    (tmp_path / "x.tar").symlink_to("store/blob")
    for path in (tmp_path, tmp_path / "x.tar"):
        assert ImageRoot.open(path).read("a") == b"1"


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "directory"])
def test_a_corrupt_archive_is_named(tmp_path: Path, name: str, damage: str) -> None:
    write = write_zip if name == "x.zip" else write_tar
    path = write(tmp_path / name, {str(n): bytes([n]) * 1000 for n in range(1, 20)})
    whole = path.read_bytes()
    # One header amid the others: its directory entry in the zip, its header in the tar.
    second = whole.rfind(b"PK\x01\x02") if name == "x.zip" else 3 * tarfile.BLOCKSIZE
    broken = {
        "empty": b"",
        "garbage": b"garbage" * 500,
        "half": whole[: len(whole) // 2 + 100],
        "directory": whole[:second] + b"\xff" * 4 + whole[second + 4 :],
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(PoolError, match=r"cannot be read") as caught:
        ImageRoot.open(tmp_path)
    assert caught.value.where == str(path)


@given(st.binary(max_size=300), st.sampled_from(["x.zip", "x.tar"]))
def test_any_bytes_as_an_archive_give_a_pool_error_or_open(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(data)
    with pytest.raises(PoolError):
        ImageRoot.open(path)


@given(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(["x.zip", "x.tar"]))
def test_any_damage_to_an_archive_gives_our_errors(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, name: str
) -> None:
    write = write_zip if name == "x.zip" else write_tar
    path = write(tmp_path_factory.mktemp("fuzz") / name, {"a.png": png(), "b/c.png": png("blue")})
    file = bytearray(path.read_bytes())
    file[at % min(len(file), 2048)] = value
    path.write_bytes(file)
    try:
        root = ImageRoot.open(path)
        for member in ("a.png", "b/c.png"):
            root.load(member)
    except (PoolError, ImageError):
        return


def test_there_is_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="no such image folder"):
        ImageRoot.open(tmp_path / "nowhere")
    (tmp_path / "x.rar").touch()
    with pytest.raises(PoolError, match="neither a folder nor"):
        ImageRoot.open(tmp_path / "x.rar")


# --- threads and processes -----------------------------------------------------------------------


def mixed(folder: Path) -> dict[str, bytes]:
    """A folder with a file, a zip and a tar in it; returns what each path holds."""
    packed = {f"z/{n}.png": png(size=(n, 2)) for n in range(1, 30)}
    taped = {f"t/{n}.png": png(size=(n, 3)) for n in range(1, 30)}
    write_zip(folder / "z.zip", packed, zipfile.ZIP_DEFLATED)
    write_tar(folder / "t.tar", taped)
    return {**packed, **taped, "top.png": png()}


def read_all(root: ImageRoot, paths: list[str]) -> list[bytes]:
    return [root.read(path) for path in paths]


def test_threads_read_what_one_thread_reads(folder: Path) -> None:
    held = mixed(folder)
    root = ImageRoot.open(folder)
    paths = list(held) * 5
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(root.read, paths)) == [held[path] for path in paths]


def test_another_process_reads_the_same(folder: Path) -> None:
    held = mixed(folder)
    root = ImageRoot.open(folder)
    again = pickle.loads(pickle.dumps(root))
    assert read_all(again, list(held)) == list(held.values())
    assert again.locate("z/3.png") == root.locate("z/3.png")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_all, (root, list(held))) == list(held.values())


def test_real_archives() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no real images at {REAL}")
    root = ImageRoot.open(REAL)
    for path in sorted(REAL.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            for info in infos[:: max(1, len(infos) // 5)]:
                assert root.read(info.filename) == archive.read(info)
                assert root.locate(info.filename).key.endswith(f"\x1f{info.CRC:08x}")
                assert min(root.load(info.filename).size) > 1

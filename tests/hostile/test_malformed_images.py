"""Pictures that lie about what they are: the right size and colour, or refused before they cost."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from hostile.malformed import (
    gif_with_comments,
    jpeg_of_scans,
    picture,
    png_chunk,
    png_of,
    png_with,
    put,
    webp_of,
)
from visift.errors import ImageError
from visift.pool.images import decode

Outcome = str | tuple[int, int]
EXIF = Image.Exif()
EXIF[0x0112] = 6
MARKUP = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NO_IMAGE = "unreadable (not an image: starts with "


def frames(name: str) -> bytes:
    """Return an animation whose second frame is larger than what it says."""
    buffer = io.BytesIO()
    second = Image.new("RGB", (8, 6), "blue")
    Image.new("RGB", (8, 6), "red").save(buffer, name, save_all=True, append_images=[second])
    return buffer.getvalue()


def half(name: str) -> bytes:
    noisy = Image.effect_noise((60, 40), 90).convert("RGB")
    buffer = io.BytesIO()
    noisy.save(buffer, name)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


#: A picture, and its width and height in pixels, or why it is refused.
IMAGES: list[tuple[str, Callable[[], bytes], Outcome]] = [
    # --- what is unusual and right
    ("one pixel", lambda: picture(size=(1, 1)), (1, 1)),
    ("one pixel wide", lambda: picture(size=(1, 60_000)), (1, 60_000)),
    ("an animated GIF", lambda: frames("GIF"), (8, 6)),
    ("an animated WEBP", lambda: frames("WEBP"), (8, 6)),
    ("an animated PNG", lambda: frames("PNG"), (8, 6)),
    ("inks instead of light", lambda: picture("JPEG", mode="CMYK"), (8, 6)),
    ("16 bits", lambda: picture(mode="I;16"), (8, 6)),
    ("a palette", lambda: picture(mode="P"), (8, 6)),
    ("black and white", lambda: picture(mode="1"), (8, 6)),
    ("transparency", lambda: picture(mode="RGBA"), (8, 6)),
    ("floats", lambda: picture("TIFF", mode="F"), (8, 6)),
    ("lying on its side", lambda: picture("JPEG", exif=EXIF), (6, 8)),
    ("a camera's notes in ruins", lambda: picture("JPEG", exif=b"Exif\0\0II*\0\xff"), (8, 6)),
    ("a film after the picture", lambda: picture("JPEG") + b"\xff\xda" * 500, (8, 6)),
    # --- what is cut
    ("no bytes", lambda: b"", "empty (0 bytes)"),
    ("half a JPEG", lambda: half("JPEG"), "truncated (JPEG of "),
    ("half a PNG", lambda: half("PNG"), "truncated ("),
    ("half a WEBP", lambda: half("WEBP"), "truncated (WEBP of "),
    ("half a GIF", lambda: half("GIF"), "truncated (GIF of "),
    ("half a TIFF", lambda: half("TIFF"), "truncated (TIFF of "),
    ("half a BMP", lambda: half("BMP"), "truncated (BMP of "),
    # --- what is no picture
    ("a page", lambda: b"<!DOCTYPE html>...", f"{NO_IMAGE}'<!DOCTYPE html>.')"),
    ("a drawing with a script", lambda: MARKUP, f"{NO_IMAGE}'<svg xmlns=\"http')"),
    ("PostScript, which would be run", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", NO_IMAGE),
    ("PDF", lambda: b"%PDF-1.7\n", NO_IMAGE),
    ("a pointer of Git LFS", lambda: b"version https://git-lfs.github.com", NO_IMAGE),
    ("commands for the terminal", lambda: b"\x1b]0;title\x07\x1b[2J", f"{NO_IMAGE}1b5d303b74"),
    ("zero bytes", lambda: bytes(5000), f"{NO_IMAGE}00000000"),
    # --- what would cost too much
    (
        "a PNG of 3.6 billion pixels",
        lambda: png_of(60_000, 60_000, bytes(99)),
        "too large: 60000×60000 pixels, limit 100,000,000",
    ),
    (
        "a PNG without pixels",
        lambda: png_of(0, 60_000, b""),
        "corrupt (",
    ),
    ("a PNG of more pixels than it says", lambda: png_of(2, 2, bytes(30_000_000)), (2, 2)),
    (
        "a PNG whose notes unpack to 50 MB",
        lambda: png_with(png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))),
        "corrupt (PNG: ",
    ),
    (
        "a PNG of a million notes",
        lambda: png_with(png_chunk(b"tEXt", b"a\0b") * 1_000_000),
        "corrupt (PNG: its header has too many parts)",
    ),
    (
        "a PNG of a million empty parts",
        lambda: png_with(png_chunk(b"IDAT") * 1_000_000),
        "corrupt (PNG of more than 100,000 chunks)",
    ),
    (
        "a GIF of a million notes",
        lambda: gif_with_comments(1_000_000),
        "corrupt (GIF: its header has too many parts)",
    ),
    (
        "a WEBP of 1.7 billion pixels",
        lambda: webp_of(2**24, 100),
        "too large",
    ),
    (
        "a JPEG of 5,000 scans",
        lambda: jpeg_of_scans(5000),
        "corrupt (JPEG of more than 100 scans)",
    ),
    (
        "a PPM with a note of 5 MB",
        lambda: b"P6\n#" + b"x" * 5_000_000 + b"\n1 1 255\nabc",
        f"{NO_IMAGE}'P6\\n#xxxx",
    ),
    ("a PPM of a huge number", lambda: b"P6\n" + b"9" * 5_000_000 + b" 1 255\n", NO_IMAGE),
    ("more bytes than are read", lambda: bytes(100 * 2**20 + 1), "too large: 104,857,601 bytes"),
]


def outcome(data: bytes) -> Outcome:
    try:
        return decode(data).size
    except ImageError as error:
        return error.what


@pytest.mark.parametrize(
    ("build", "expected"), [case[1:] for case in IMAGES], ids=[case[0] for case in IMAGES]
)
def test_a_picture_is_decoded_or_refused(build: Callable[[], bytes], expected: Outcome) -> None:
    found = outcome(build())
    if isinstance(expected, tuple) or isinstance(found, tuple):
        assert found == expected
    else:
        assert found.startswith(expected)
        assert len(found) < 250


MEMORY = """
import resource, sys
from pathlib import Path
from visift.errors import ImageError
from visift.pool.images import decode
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in Path(sys.argv[1]).iterdir():
    try:
        decode(path.read_bytes())
    except ImageError:
        pass
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_no_bomb_takes_the_memory_it_was_built_for(tmp_path: Path) -> None:
    for number, (name, build, _) in enumerate(IMAGES):
        if "million" in name or "billion" in name or " MB" in name or "more pixels" in name:
            put(tmp_path / str(number), build())
    assert len(list(tmp_path.iterdir())) >= 8
    said = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(said.stdout) < 150_000_000

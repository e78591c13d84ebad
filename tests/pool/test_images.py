"""Decoding: every mode to RGB, nothing above the limits, a short reason for everything else."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from visift.errors import ImageError
from visift.pool.images import ImageLimits, decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def why(data: bytes, limits: ImageLimits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, limits or ImageLimits())
    assert "\n" not in caught.value.what
    assert 0 < len(caught.value.what) < 250
    return caught.value.what


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A grey PNG whose header says what the test wants."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


LOSSLESS = [("PNG", "RGB"), ("PPM", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("PNG", "L")]
LOSSLESS += [("PNG", "1"), ("PNG", "P"), ("GIF", "P"), ("TIFF", "YCbCr"), ("TIFF", "L")]


@pytest.mark.parametrize(("name", "mode"), LOSSLESS)
def test_a_lossless_format_keeps_every_pixel(name: str, mode: str) -> None:
    image = noise(mode)
    picture = decode(encode(image, name))
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "JPEG2000", "AVIF", "MPO"])
def test_a_lossy_format_gives_the_colour_it_shows(name: str) -> None:
    Image.init()
    if name not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {name}")
    picture = decode(encode(Image.new("RGB", (32, 32), (200, 100, 50)), name))
    assert np.abs(np.asarray(picture).astype(int) - (200, 100, 50)).max() <= 6


def test_one_pixel_works_in_every_format() -> None:
    for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        assert decode(encode(Image.new("RGB", (1, 1), RED), name)).size == (1, 1)


def test_the_answer_is_a_plain_image_that_remembers_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(encode(noise(), "JPEG", exif=exif))
    assert type(picture) is Image.Image
    assert picture.info == {}
    assert len(picture.getexif()) == 0


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture(name: str, orientation: int) -> None:
    # Shown upright: red above, blue below, green at the right of the lower half.
    shown = np.zeros((32, 48, 3), np.uint8)
    shown[:16], shown[16:, :24], shown[16:, 24:] = RED, BLUE, GREEN
    # What a camera stores for each orientation, from the definition in the EXIF standard.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }[orientation](shown)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "WEBP" else {}
    file = encode(Image.fromarray(np.ascontiguousarray(stored)), name, exif=exif, **options)
    picture = np.asarray(decode(file)).astype(int)
    assert picture.shape == shown.shape
    assert np.abs(picture[4:-4:8, 4:-4:8] - shown[4:-4:8, 4:-4:8]).max() < 12


def test_damaged_exif_does_not_cost_the_picture() -> None:
    file = encode(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(file).size == (40, 30)


def test_cmyk_jpeg_shows_its_colours() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for name in ("JPEG", "TIFF"):  # PIL writes CMYK JPEG inverted, as Adobe does
        r, g, b = decode(encode(red, name)).getpixel((8, 8))
        assert (r > 240, g < 15, b < 15) == (True, True, True)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(name: str) -> None:
    values = np.array([[0, 128, 129, 256, 32768, 65535]], np.uint16)
    picture = decode(encode(Image.fromarray(values), name))
    # 65535 is 257 times 255.
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_sixteen_bit_grey_in_big_endian_tiff() -> None:
    values = np.array([[0, 32768, 65535]], np.uint16)
    image = Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes())
    assert np.asarray(decode(encode(image, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


def test_deep_pgm_uses_its_own_maximum() -> None:
    pgm = b"P5 3 1 1023\n" + np.array([0, 512, 1023], ">u2").tobytes()
    assert np.asarray(decode(pgm))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "grey"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([0, 32896, 65535], [0, 128, 255]),
        ([-2, 0, 2], [0, 128, 255]),
        ([0, 1e6, 2e6], [0, 128, 255]),
        ([np.nan, 0.5, np.inf], [0, 128, 255]),
        ([np.nan, np.nan, np.inf], [0, 0, 255]),
    ],
)
def test_floats_are_scaled_by_the_range_they_seem_to_use(
    values: list[float], grey: list[int]
) -> None:
    picture = decode(encode(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    assert np.asarray(picture)[0, :, 0].tolist() == grey


def test_whole_numbers_of_32_bits() -> None:
    for values, grey in ([0, 7, 255], [0, 7, 255]), ([0, 257, 65535], [0, 1, 255]):
        picture = decode(encode(Image.fromarray(np.array([values], np.int32)), "TIFF"))
        assert np.asarray(picture)[0, :, 0].tolist() == grey


def test_transparency_is_shown_on_white() -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 128))
    half.putpixel((1, 0), (0, 0, 0, 0))
    for name, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        picture = decode(encode(half, name, **options))
        assert picture.getpixel((0, 0)) == (255, 127, 127)
        assert picture.getpixel((1, 0)) == WHITE


def test_transparency_of_grey_and_palette_images_is_shown_on_white() -> None:
    clear = Image.new("LA", (1, 1), (0, 0))
    assert decode(encode(clear)).getpixel((0, 0)) == WHITE
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, *BLUE])
    palette.putpixel((1, 0), 1)
    for name in ("PNG", "GIF"):
        picture = decode(encode(palette, name, transparency=0))
        assert [picture.getpixel((x, 0)) for x in (0, 1)] == [WHITE, BLUE]
        assert decode(encode(palette, name)).getpixel((0, 0)) == (0, 0, 0)
    for image, colour in ((Image.new("RGB", (1, 1), RED), RED), (Image.new("L", (1, 1), 9), 9)):
        assert decode(encode(image, transparency=colour)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_of_several(name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    file = encode(frames[0], name, save_all=True, append_images=frames[1:])
    r, g, b = decode(file).getpixel((8, 8))
    assert (r > 240, g < 15, b < 15) == (True, True, True)


@pytest.mark.parametrize("cut", [3, 10, 30, 100, 0.3, 0.7, 0.99, -2])
@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize("lenient", [False, True])
def test_a_cut_file_is_refused_whatever_pil_is_told(
    name: str, cut: float, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    file = encode(noise(), name)
    reason = why(file[: int(len(file) * cut) if isinstance(cut, float) else cut])
    # Three bytes are a JPEG signature, and less than a PNG signature.
    expected = "unreadable (not an image" if (name, cut) == ("PNG", 3) else "truncated ("
    assert reason.startswith(expected)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


@pytest.mark.parametrize("name", ["GIF", "BMP", "TIFF", "PPM", "WEBP"])
def test_half_of_any_file_is_called_truncated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = encode(noise(), name)
    assert why(file[: len(file) // 2]).startswith("truncated (")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert why(file[: len(file) // 2]).startswith("truncated (")


def test_text_ppm_may_end_with_its_last_number() -> None:
    assert decode(b"P2 2 1 255\n0 255").getpixel((1, 0)) == WHITE


def test_a_damaged_png_is_refused() -> None:
    file = bytearray(encode(noise()))
    file[len(file) // 2] ^= 1
    assert why(bytes(file)) == "corrupt (PNG checksum does not match)"


def test_what_is_no_image_is_named_by_how_it_starts() -> None:
    assert why(b"") == "empty (0 bytes)"
    assert (
        why(b"<!DOCTYPE html><html>") == "unreadable (not an image: starts with '<!DOCTYPE html><')"
    )
    assert why(b"\x00\x01\x02") == "unreadable (not an image: starts with 000102)"
    for text in (b"Pythons are snakes", b"BM is not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        assert why(text).startswith("unreadable (not an image: starts with ")


def test_a_bomb_is_refused_from_its_header() -> None:
    assert why(png(60_000, 60_000)) == "too large: 60000×60000 pixels, limit 100,000,000"
    assert why(png(0, 5)).startswith("corrupt (")
    assert why(b"x" * 11, ImageLimits(max_bytes=10)) == "too large: 11 bytes, limit 10"


def test_the_limit_is_ours_and_not_pils(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    file = encode(noise())
    assert decode(file).size == (40, 30)
    assert why(file, ImageLimits(max_pixels=40 * 30 - 1)).startswith("too large: 40×30 pixels")
    assert decode(file, ImageLimits(max_pixels=40 * 30)).size == (40, 30)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_pil_warnings_do_not_reach_the_user_and_filters_stay() -> None:
    palette = Image.new("P", (2, 1))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        decode(encode(palette, "PNG", transparency=b"\x00\x80"))
        decode(encode(noise(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0"))
        with pytest.raises(ImageError):
            decode(b"II*\0\x08\0\0\0\x05\0 broken")
        assert warnings.filters == before
    assert seen == []


def test_many_threads_decode_the_same_pixels() -> None:
    files = [encode(noise(mode), name) for name, mode in LOSSLESS] * 10
    wanted = [np.asarray(decode(file)) for file in files]
    start = threading.Barrier(4)

    def work(part: int) -> bool:
        start.wait()
        return all(
            np.array_equal(np.asarray(decode(file)), pixels)
            for file, pixels in list(zip(files, wanted, strict=True))[part:]
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))


STARTS: list[Callable[[], bytes]] = [
    lambda: encode(noise(), "PNG"),
    lambda: encode(noise("P"), "GIF"),
    lambda: encode(noise(), "JPEG"),
    lambda: encode(noise("CMYK"), "TIFF"),
    lambda: encode(noise(), "TIFF", compression="tiff_lzw"),
    lambda: encode(noise("RGBA"), "WEBP"),
    lambda: encode(noise(), "BMP"),
    lambda: encode(noise(), "PPM"),
]
WHOLE = [start() for start in STARTS]


def only_image_errors(data: bytes) -> None:
    try:
        assert decode(data, ImageLimits(max_pixels=10**6)).mode == "RGB"
    except ImageError:
        return


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=200))
def test_any_bytes_give_an_image_or_an_image_error(data: bytes) -> None:
    only_image_errors(data)


@settings(max_examples=600, deadline=2000)
@given(st.sampled_from(WHOLE), st.data())
def test_any_damage_gives_an_image_or_an_image_error(whole: bytes, data: st.DataObject) -> None:
    file = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers are where the interesting bytes are.
        last = data.draw(st.sampled_from([40, len(file) - 1]))
        file[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    only_image_errors(bytes(file[: data.draw(st.integers(0, len(file)))]))
    only_image_errors(bytes(file))

"""Bytes to an RGB picture, safely: by content, within limits, or refused with a short reason.

What a picture looks like does not depend on its file name, on the thread that decodes it, or on the
process-wide switches of PIL (`MAX_IMAGE_PIXELS`, `LOAD_TRUNCATED_IMAGES`; with the latter switched
on by another library PIL does not report a broken GIF or JPEG2000 stream, and neither do we).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import threading
import warnings
from collections.abc import MutableSequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from visift.errors import ImageError, ImageUnavailable
from visift.pool.streams import check_jpeg_scans, check_png_chunks

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is decoded, by PIL's names. Left out on purpose: formats that run another program (EPS),
that hold a second image whose size the header does not tell (ICO, ICNS), or without a signature
(TGA)."""

_PLUGINS = ("Jpeg", "Mpo", "Png", "Gif", "WebP", "Bmp", "Ppm", "Jpeg2K", "Avif")
for _plugin in _PLUGINS:
    with contextlib.suppress(ImportError):  # AVIF came with Pillow 11.3
        importlib.import_module(f"PIL.{_plugin}ImagePlugin")

# Two letters at the start of any text are enough to look like one of these.
_WEAK_SIGNATURES = ("BMP", "PPM")
# Asking for more bytes than there are means a picture that was cut. The others are checked here
# (PNG) or by their own libraries, or may ask so at a proper end (PPM written as text).
_CUT_WHEN_ENDED = ("JPEG", "MPO", "GIF", "BMP", "TIFF", "PPM")
_TEXT_PPM = (b"P1", b"P2", b"P3")
# By far more than any header takes: PIL reads comments of a GIF by 255 bytes, of a PPM by one.
_MOST_READS = 100_000
_WORDS_FOR_CUT = ("truncated", "incomplete", "requires a buffer", "expected to read")
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest image that is read.

    Attributes:
        max_bytes: size of the encoded file, in bytes.
        max_pixels: width × height, in pixels, checked from the header before any is decoded.
    """

    max_bytes: int = 100 * 2**20
    max_pixels: int = 100_000_000


DEFAULT_LIMITS = ImageLimits()


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode one image; safe to call from several threads at once.

    The first frame of an animation, the first page of a TIFF; EXIF orientation applied and then
    forgotten (whoever looks for it again does not turn the picture twice); transparency shown on
    white; 16-bit grey scaled to 8 bits; colour profiles ignored, as trainers do. Grey values
    without a fixed range (32-bit integers, floats): see `_grey_to_8_bits`.

    Args:
        data: the encoded file, one of `FORMATS`.
        limits: sizes above which an image is refused.

    Returns:
        An image of mode RGB with empty `info`.

    Raises:
        ImageError: not an image, truncated, corrupt or above the limits; `what` is one short line,
            a kind without numbers and then details.
        ImageUnavailable: for lack of memory, or of a decoder in the installed Pillow.
    """
    if not data:
        raise ImageError("empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise too_many_bytes(len(data), limits)
    with _PIL_WARNINGS_OFF:
        source = _Source(data)
        image = _open(source, data[:16])
        _check_size(image, limits)
        if image.format == "PNG":
            check_png_chunks(data)
        if image.format in ("JPEG", "MPO"):
            check_jpeg_scans(data)
        try:
            source.reads_left = math.inf
            source.end_is_an_error = image.format in _CUT_WHEN_ENDED and data[:2] not in _TEXT_PPM
            image.load()
            picture = _upright(_to_rgb(image), _orientation(image))
        except Exception as error:
            raise _refusal(error, source, image.format) from error
    picture.info = {}
    return picture


def too_many_bytes(n_bytes: int, limits: ImageLimits) -> ImageError:
    """Return the error for an encoded image of `n_bytes` bytes, above `limits.max_bytes`."""
    return ImageError(f"too large: {n_bytes:,} bytes, limit {limits.max_bytes:,}")


class _Source(io.BytesIO):
    """The bytes of one image, which know whether a decoder wanted more than there are.

    A header may be read in many small steps, but not in millions.
    """

    ended = False
    end_is_an_error = False
    reads_left: float = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("its header has too many parts")
        chunk = super().read(size)
        if not chunk and size != 0:
            self.ended = True
            if self.end_is_an_error:
                raise EOFError("the file ends before its last pixel")
        return chunk


class _PilWarningsOff:
    """Keeps PIL's remarks (odd metadata, large image) from the user while any thread decodes.

    `warnings.catch_warnings` would not do: it swaps the filters of the whole process, and two
    threads leaving it in the wrong order leave the wrong filters behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoding = 0
        self._filters: MutableSequence[Any] = []
        self._ours: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._decoding == 0:
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._filters = cast("MutableSequence[Any]", warnings.filters)
                self._ours = self._filters[0]
            self._decoding += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._decoding -= 1
            if self._decoding == 0:
                with contextlib.suppress(ValueError):  # somebody reset the filters meanwhile
                    self._filters.remove(self._ours)


_PIL_WARNINGS_OFF = _PilWarningsOff()


def _open(source: _Source, prefix: bytes) -> ImageFile.ImageFile:
    """Read the header; unlike `PIL.Image.open`, without PIL's process-wide pixel limit."""
    for name in FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        verdict = accepts(prefix) if factory and accepts else False
        if isinstance(verdict, str):
            raise ImageUnavailable(f"unreadable ({name} is not supported by the installed Pillow)")
        if not factory or not verdict:
            continue
        source.seek(0)
        try:
            return factory(source, "")
        except Exception as error:
            if name in _WEAK_SIGNATURES:
                break
            raise _refusal(error, source, name) from error
    raise ImageError(f"unreadable (not an image: starts with {_shown(prefix)})")


def _shown(prefix: bytes) -> str:
    """Return the first bytes of a file as text when they are text, otherwise in hexadecimal."""
    text = prefix.decode("ascii", "replace")
    return repr(text) if text.replace("\n", " ").isprintable() and "�" not in text else prefix.hex()


def _check_size(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"corrupt (its header says {width}×{height} pixels)")
    if width * height > limits.max_pixels:
        raise ImageError(f"too large: {width}×{height} pixels, limit {limits.max_pixels:,}")


def _refusal(error: Exception, source: _Source, name: str | None) -> ImageError:
    """Say in one short line what is wrong with the file."""
    detail = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    if isinstance(error, MemoryError):
        return ImageUnavailable("too large for the memory of this machine")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"too large ({detail})")
    if source.ended or _says_cut(detail.lower()) or _webp_is_cut(source):
        cut = f"{name} of {len(source.getbuffer()):,} bytes that ends too early"
        return ImageError(f"truncated ({cut})")
    return ImageError(f"corrupt ({name}: {detail})")


def _says_cut(detail: str) -> bool:
    return any(words in detail for words in _WORDS_FOR_CUT)


def _webp_is_cut(source: _Source) -> bool:
    """Compare the size a WEBP states with its own: its library does not say what is wrong."""
    head = bytes(source.getbuffer()[:12])
    n_bytes = int.from_bytes(head[4:8], "little") + 8
    return head[:4] + head[8:] == b"RIFFWEBP" and n_bytes > len(source.getbuffer())


def _orientation(image: Image.Image) -> int:
    """Return EXIF orientation 1–8; damaged EXIF says nothing about the picture: 1."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey_to_8_bits(image)).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    # `copy` so that the answer is a plain image, not a file object of some format.
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    premultiplied: dict[str, Literal["RGBA", "LA"]] = {"RGBa": "RGBA", "La": "LA"}
    if image.mode in premultiplied:
        image = image.convert(premultiplied[image.mode])
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas


def _grey_to_8_bits(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Scale deep grey values to 0–255 (PIL would clip them).

    16-bit images, and whole numbers in PNG and PPM, use the full range 0–65535 (0–4095 in a 12-bit
    TIFF). Nothing says what range 32-bit integers and floats use: the smallest of 0–1 (floats
    only), 0–255 and 0–65535 that holds every value, else the range from the smallest to the
    largest value. NaN is black, infinity the end of the range.
    """
    tops: tuple[float, ...] = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        tops = (4095.0,) if _tiff_bits(image) == 12 else (65535.0,)
    # Half the memory where 24 bits of precision hold every value.
    dtype = np.float32 if image.mode.startswith("I;16") else np.float64
    values = np.asarray(image).astype(dtype)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low >= 0 and high <= tops[-1]:
        low, high = 0.0, next(top for top in tops if high <= top)
    values = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    scaled = (values - low) * (255 / max(high - low, 1e-30))
    eight: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(scaled).astype(np.uint8)
    return eight


def _tiff_bits(image: Image.Image) -> int | None:
    """Return the bits a sample of a TIFF, None for other formats."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    return int(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0])

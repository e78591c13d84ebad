"""Small pictures as data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
import io

from PIL import Image

#: Pixels of the longer side: sharp at 200 CSS pixels on a dense screen.
SIDE = 400
MOST_BYTES = 40_000
_QUALITIES = (78, 60, 40, 20)


def thumbnail(image: Image.Image) -> str:
    """Return an RGB image as a JPEG data URI of at most about 55 KB.

    Args:
        image: as `Pool.load_image` returns it.
    """
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    for side in (SIDE, SIDE // 2):
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= MOST_BYTES:
                return _data_uri(buffer.getvalue())
    return _data_uri(buffer.getvalue())


def _data_uri(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"

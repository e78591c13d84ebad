"""Images as an endpoint takes them: data URLs, of the very bytes of the file where that will do."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from hashlib import blake2b

from PIL import Image

from visift.pool.images import decode

# What every endpoint reads, by how such files begin; a GIF may be an animation.
_SENT_AS_THEY_ARE = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
_ORIENTATION_TAG = 0x0112
_QUALITY = 92


def digest(data: bytes) -> str:
    """Return the identity of an image file: 32 hexadecimal digits of BLAKE2b over its bytes."""
    return blake2b(data, digest_size=16).hexdigest()


def data_url(data: bytes, max_side: int) -> str:
    """Return an image as a URL that holds it.

    A JPEG or PNG that is small enough and upright goes as it is. Others are written anew, without
    their metadata: what came as a JPEG as a JPEG, everything else as a PNG.

    Args:
        data: the encoded file.
        max_side: longest side in pixels, above which it is scaled down; 0 for never.

    Raises:
        ImageError: it cannot be decoded.
    """
    picture = decode(data)
    kind = next((kind for start, kind in _SENT_AS_THEY_ARE if data.startswith(start)), None)
    large = bool(max_side) and max(picture.size) > max_side
    if kind is None or large or not _is_upright(data):
        if large:
            picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        kind = kind or "image/png"
        data = _encoded(picture, kind)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _is_upright(data: bytes) -> bool:
    """Return False where a viewer that minds the orientation in EXIF would turn the picture."""
    with suppress(Exception), Image.open(io.BytesIO(data)) as image:
        return bool(image.getexif().get(_ORIENTATION_TAG, 1) == 1)
    return True


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "image/jpeg":
        picture.save(buffer, "JPEG", quality=_QUALITY)
    else:
        picture.save(buffer, "PNG")
    return buffer.getvalue()

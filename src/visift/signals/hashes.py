"""A perceptual hash of an image: 64 bits that change little where the picture changes little.

It finds frames of a film, re-encoded and resized copies. It does not find crops, mirror images or
turned pictures; and pictures of one layout, like scanned forms, may be near each other that a
person would tell apart. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from visift.models.devices import cpu_count
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.signal import Column, ImageItem, Measure, Unit, Values

#: Rows of differences, and differences a row.
SIDE = 8
#: Levels of grey, of 255, that a picture must span to have a shape.
FLAT = 8

_MOST_THREADS = 4
_AT_ONCE = 128


def pillow_major() -> int:
    """Return the major version of Pillow, whose resampling may change with it."""
    return int(PIL.__version__.partition(".")[0])


@dataclass(frozen=True, slots=True)
class ImageHash:
    """The difference hash (dHash) of an image; no model.

    Attributes:
        pillow: major version of the library that decodes and resizes.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "image"
    columns: ClassVar[tuple[Column, ...]] = (Column("image_hash", "uint64"),)

    pillow: int = field(default_factory=pillow_major)

    def cost(self, load: Load) -> Cost:
        """Return what images cost: no pass through a model."""
        return Cost(bytes_stored=value_bytes(self.columns, None)).times(load.items)

    def open(self, device: str) -> Measure:
        """Return what measures a list of images, decoding several at once."""
        return _measure


def difference_hash(picture: Image.Image) -> int:
    """Return 64 bits: at each of 8 × 8 places, whether the picture is darker to the right of it.

    The picture is shrunk to 9 × 8 pixels (means over boxes) and taken to grey. One that hardly
    varies there has no shape; all such would have the same bits, and a white page is no copy of a
    black one. Its bits are a BLAKE2b of the 9 × 8 colours: near only what is equal.

    Args:
        picture: of mode RGB.

    Returns:
        The bits row by row from the top left, the first one the most significant.
    """
    small = picture.resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L")).astype(np.int16)
    if int(grey.max() - grey.min()) < FLAT:
        return int.from_bytes(blake2b(small.tobytes(), digest_size=8).digest(), "big")
    darker = grey[:, 1:] < grey[:, :-1]
    return int.from_bytes(np.packbits(darker).tobytes(), "big")


def _measure(items: Sequence[ImageItem]) -> Values:
    """Hash images in threads: decoding is all it takes, and needs no lock of the interpreter."""
    with ThreadPoolExecutor(min(_MOST_THREADS, cpu_count())) as pool:
        ahead = [_Ahead(item.path, item.decode, pool.submit(_hash, item)) for item in items]
        return measure_in_batches(ahead, _result, _gathered, ImageHash.columns, 0, _AT_ONCE)


@dataclass(frozen=True)
class _Ahead(ImageItem):
    """An image that is hashed already, or soon."""

    future: Future[int] = field(default_factory=Future)


def _hash(item: ImageItem) -> int:
    return difference_hash(item.load())


def _result(ahead: _Ahead) -> int:
    return ahead.future.result()


def _gathered(hashes: list[int]) -> dict[str, NDArray[Any]]:
    return {"image_hash": np.array(hashes, np.uint64)}

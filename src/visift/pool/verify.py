"""Decoding every image of a pool, to find what would stop a trainer in its third hour."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from visift.errors import ImageError
from visift.pool.images import decode
from visift.pool.pool import Pool
from visift.pool.record import ImageRef

_FIRST_BYTES = 16
_AT_ONCE = 1024

#: What a file begins with, and at which byte; the first that fits says its format.
_SIGNATURES = (
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("gif", 0, b"GIF8"),
    ("webp", 8, b"WEBP"),
    ("bmp", 0, b"BM"),
    ("tiff", 0, b"II*\x00"),
    ("tiff", 0, b"MM\x00*"),
    ("avif", 4, b"ftypavi"),
    ("jpeg2000", 4, b"jP  "),
    ("jpeg2000", 0, b"\xff\x4f\xff\x51"),
)
_EXTENSIONS = {
    "jpeg": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "png": ("png",),
    "gif": ("gif",),
    "webp": ("webp",),
    "bmp": ("bmp", "dib"),
    "tiff": ("tif", "tiff"),
    "avif": ("avif", "avifs"),
    "jpeg2000": ("jp2", "j2k", "jpx", "jpf", "jpc"),
}
_KNOWN = {extension for extensions in _EXTENSIONS.values() for extension in extensions}


@dataclass(frozen=True, slots=True)
class Finding:
    """How often something was found, and where first."""

    count: int
    first: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What decoding every image showed.

    Attributes:
        images: that were decoded, or could not be.
        corrupt: kind of reason -> images that cannot be decoded.
        misnamed: for example `gif named .jpg` -> images; they can be decoded here, though not by
            every trainer.
        smallest: width and height in pixels of the image with the fewest, None for no image.
        largest: the same of the image with the most.
    """

    images: int
    corrupt: Mapping[str, Finding]
    misnamed: Mapping[str, Finding]
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None

    @property
    def corrupt_images(self) -> int:
        """Images that cannot be decoded."""
        return sum(bad.count for bad in self.corrupt.values())

    @property
    def misnamed_images(self) -> int:
        """Images that are not what their extension says."""
        return sum(bad.count for bad in self.misnamed.values())


@dataclass(frozen=True, slots=True)
class _Looked:
    """One image: its size, or why it cannot be decoded; its name if that says another format."""

    path: str
    size: tuple[int, int] | None
    fault: str | None
    misnamed: str | None


def verify_images(pool: Pool, progress: Callable[[int], None]) -> Verified:
    """Decode every distinct image once, in threads; none is held longer than that takes.

    Args:
        pool: whose images are found already.
        progress: told how many more images are looked at.
    """
    corrupt, misnamed = _Tally(), _Tally()
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    for seen in _looked_at(pool, progress):
        if seen.fault is not None:
            corrupt.add(_kind(seen.fault), f"{seen.path}: {seen.fault}")
        if seen.misnamed is not None:
            misnamed.add(seen.misnamed, seen.path)
        if seen.size is not None:
            smallest = min(smallest or seen.size, seen.size, key=math.prod)
            largest = max(largest or seen.size, seen.size, key=math.prod)
    return Verified(len(pool.images), corrupt.found(), misnamed.found(), smallest, largest)


def misnamed_as(path: str, data: bytes) -> str | None:
    """Return for example `gif named .jpg`, None where name and content do not disagree.

    An unknown extension, or an unknown content, disagrees with nothing.
    """
    kind = next((k for k, at, head in _SIGNATURES if data[at : at + len(head)] == head), None)
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    extension = extension.lower()
    if kind is None or not dot or extension not in _KNOWN or extension in _EXTENSIONS[kind]:
        return None
    return f"{kind} named .{extension}"


class _Tally:
    """Counts by kind, with the first example of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, example)

    def found(self) -> dict[str, Finding]:
        return {k: Finding(count, self.first[k]) for k, count in self.counts.most_common()}


def _looked_at(pool: Pool, progress: Callable[[int], None]) -> Iterator[_Looked]:
    """Look at all images in their order; only so many are under way that memory is bounded."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    refs = pool.images.refs
    with ThreadPoolExecutor(threads) as pool_of_threads:
        for start in range(0, len(refs), _AT_ONCE):
            some = refs[start : start + _AT_ONCE]
            for seen in pool_of_threads.map(lambda ref: _look(pool, ref), some):
                progress(1)
                yield seen


def _look(pool: Pool, ref: ImageRef) -> _Looked:
    try:
        data = pool.roots[ref.root].read(ref.path, pool.limits)
    except ImageError as error:
        return _Looked(ref.path, None, error.what, None)
    misnamed = misnamed_as(ref.path, data[:_FIRST_BYTES])
    try:
        return _Looked(ref.path, decode(data, pool.limits).size, None, misnamed)
    except ImageError as error:
        return _Looked(ref.path, None, error.what, misnamed)


def _kind(reason: str) -> str:
    """Return a reason without its details: what stands before the first bracket or colon."""
    return reason.partition(" (")[0].partition(":")[0]

"""The distinct images of a pool: where each was found, its key, and which rows show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.errors import ImageError
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import name_image
from visift.pool.record import ImageRef

_NOT_FOUND = -1
# Between the parts of a key that is not a digest.
_MARK = "\x1f"


@dataclass(frozen=True, slots=True)
class ImageTable:
    """Images and the rows they belong to.

    Two references are one image when their keys are equal: the same normalised path and size
    (and CRC-32 in a zip), or the same digest where images are identified by their bytes.

    Attributes:
        refs: (M,) how the first row that shows an image names it.
        keys: (M,) identity of each image, used to address measured values.
        offsets: (N + 1,) int64; the images of row n are `flat[offsets[n]:offsets[n + 1]]`.
        flat: int64 image ids, -1 for a reference that was not found.
        reasons: by position in `flat`, why a reference was not found.
    """

    refs: list[ImageRef]
    keys: list[str]
    offsets: NDArray[np.int64]
    flat: NDArray[np.int64]
    reasons: dict[int, str]

    @classmethod
    def locate(
        cls,
        images: pa.ChunkedArray,
        root_of_row: NDArray[np.int64],
        roots: Sequence[ImageRoot],
        digest: bool,
    ) -> ImageTable:
        """Look up every image reference once.

        Args:
            images: (N,) list<string>, the paths of each row.
            root_of_row: (N,) image root of each row.
            roots: the image roots.
            digest: identify images by their bytes.
        """
        lists = images.combine_chunks()
        counts = np.asarray(lists.value_lengths())
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        refs, ref_of = _distinct_refs(lists.flatten(), np.repeat(root_of_row, counts))
        found = [_locate(roots, ref, digest) for ref in refs]
        if len(roots) > 1 and not digest:
            found = _settle_roots(refs, found, roots)
        keys = [None if isinstance(entry, ImageError) else entry for entry in found]
        ids, order = _number(keys)
        flat = ids[ref_of] if len(ref_of) else np.empty(0, np.int64)
        lost = np.flatnonzero(flat == _NOT_FOUND)
        reasons = {int(at): str(found[int(ref_of[at])]) for at in lost}
        return cls([refs[i] for i in order], [str(keys[i]) for i in order], offsets, flat, reasons)

    def __len__(self) -> int:
        return len(self.refs)

    def of_row(self, row: int) -> NDArray[np.int64]:
        """Return the image ids of one row, in its order."""
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the distinct images of some rows, in order of first appearance."""
        ids = self.flat[self.positions(rows)]
        _, first = np.unique(ids, return_index=True)
        return ids[np.sort(first)]

    def counts(self, rows: NDArray[np.int64]) -> tuple[int, int, int]:
        """Return how many references some rows hold, to how many images, and how many are lost."""
        shown = self.flat[self.positions(rows)]
        return len(shown), len(np.unique(shown[shown >= 0])), int((shown < 0).sum())

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in `flat` of the images of some rows, row after row."""
        counts = self.offsets[rows + 1] - self.offsets[rows]
        starts = np.repeat(self.offsets[rows] - np.cumsum(counts) + counts, counts)
        return starts + np.arange(int(counts.sum()))

    def sets(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and ids like `offsets` and `flat`, each image of a row once.

        Rows with the same set of images hold them in one order, that of their keys, so that sums
        over them agree to the last bit, however the pool is ordered. The arrays are those of the
        table where no row has several images.
        """
        counts = np.diff(self.offsets)
        if counts.max(initial=0) <= 1:
            return self.offsets, self.flat
        rank = np.full(len(self) + 1, -1, np.int64)  # the last one is for references not found
        rank[sorted(range(len(self)), key=self.keys.__getitem__)] = np.arange(len(self))
        row_of = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((rank[self.flat], row_of))
        rows, ids = row_of[order], self.flat[order]
        again = (np.diff(rows, prepend=-1) == 0) & (np.diff(ids, prepend=-2) == 0)
        sizes = np.bincount(rows[~again], minlength=len(counts))
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), ids[~again]

    def missing_of_row(self) -> dict[int, str]:
        """Return the reason of the first missing image of each row that has one."""
        row_of = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        reasons: dict[int, str] = {}
        for at, reason in self.reasons.items():
            reasons.setdefault(int(row_of[at]), reason)
        return reasons

    def set_of_row(self) -> NDArray[np.int32]:
        """Return (N,) int32: rows with the same set of images share a number, in first-seen order.

        Rows without an image, or with one that was not found, have -1.
        """
        codes = self._codes(lambda ids: tuple(sorted(set(ids))))
        shown = codes >= 0
        _, first, inverse = np.unique(codes[shown], return_index=True, return_inverse=True)
        number = np.empty(len(first), np.int32)
        number[np.argsort(first)] = np.arange(len(first))
        of_row = np.full(len(codes), -1, np.int32)
        of_row[shown] = number[inverse]
        return of_row

    def sequence_of_row(self) -> NDArray[np.int64]:
        """Return (N,) int64: rows with the same images in the same order share a number.

        Rows without an image have -1, with one that was not found -2.
        """
        return self._codes(tuple)

    def _codes(self, known_as: Callable[[list[int]], tuple[int, ...]]) -> NDArray[np.int64]:
        """Return a number for what each row shows: its image's id where it shows only one.

        Args:
            known_as: what stands for the images of a row that shows several.
        """
        counts = np.diff(self.offsets)
        codes = np.full(len(counts), -1, np.int64)
        single = counts == 1
        codes[single] = self.flat[self.offsets[:-1][single]]
        codes[single] -= codes[single] < 0
        several: dict[tuple[int, ...], int] = {}
        for row in np.flatnonzero(counts > 1).tolist():
            ids = self.of_row(row).tolist()
            said = known_as(ids)
            lone = len(said) == 1  # a set of one image is that image
            new = said[0] if lone else len(self) + len(several)
            codes[row] = -2 if min(ids) < 0 else several.setdefault(said, new)
        return codes


def _distinct_refs(
    paths: pa.StringArray, roots: NDArray[np.int64]
) -> tuple[list[ImageRef], NDArray[np.int64]]:
    """Return the distinct (path, root) pairs in first-seen order, and which one each entry is."""
    encoded = paths.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    names = encoded.dictionary.to_pylist()
    pairs = codes * (int(roots.max(initial=0)) + 1) + roots
    _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    by_first = np.argsort(first)
    rank[by_first] = np.arange(len(first))
    places = first[by_first]
    return [ImageRef(names[codes[p]], int(roots[p])) for p in places], rank[inverse]


def _locate(roots: Sequence[ImageRoot], ref: ImageRef, digest: bool) -> str | ImageError:
    try:
        return roots[ref.root].locate(ref.path, digest=digest).key
    except ImageError as error:
        return name_image(error, ref.path)


def _settle_roots(
    refs: list[ImageRef], found: list[str | ImageError], roots: Sequence[ImageRoot]
) -> list[str | ImageError]:
    """Where two image roots of a joined pool give one key, let the bytes decide.

    A key that is a digest says all there is to know.
    """
    per_root = {(key, ref.root) for key, ref in zip(found, refs, strict=True)}
    times = Counter(key for key, _ in per_root)
    settled = []
    for key, ref in zip(found, refs, strict=True):
        unsure = not isinstance(key, ImageError) and times[key] > 1 and _MARK in key
        settled.append(_with_digest(roots, ref, str(key)) if unsure else key)
    return settled


def _with_digest(roots: Sequence[ImageRoot], ref: ImageRef, key: str) -> str | ImageError:
    try:
        data = roots[ref.root].read(ref.path)
    except ImageError as error:
        return name_image(error, ref.path)
    return f"{key}{_MARK}{blake2b(data, digest_size=16).hexdigest()}"


def _number(keys: list[str | None]) -> tuple[NDArray[np.int64], list[int]]:
    """Return the image id of each reference, and the first reference of each image."""
    known: dict[str, int] = {}
    first: list[int] = []
    ids = np.full(len(keys), _NOT_FOUND, np.int64)
    for at, key in enumerate(keys):
        if key is None:
            continue
        if key not in known:
            known[key] = len(first)
            first.append(at)
        ids[at] = known[key]
    return ids, first

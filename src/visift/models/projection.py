"""Random projections of long vectors that come in parts and never lie in memory as a whole.

All of them keep inner products on average: <P g, P h> is k <g, h>, with a standard deviation of
about sqrt((|g|^2 |h|^2 + <g, h>^2) k). Cosines of projected vectors are those of the vectors,
give or take (1 - cosine^2) / sqrt(k): 0.011 for k = 8,192 where vectors are far apart.

Signs and permutations come from Philox, a generator with a counter, by a seed and the name of the
part: on the CPU, so that they do not depend on the device, and from its raw bits, which no version
of numpy changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Signs that are written out at a time: 256 MiB of float32; on a processor, what its caches hold.
_MOST_SIGNS, _MOST_CPU_SIGNS = 2**26, 2**19


class Projection(Protocol):
    """Adds up P g, part by part.

    Attributes:
        width: k, entries of what is projected.
    """

    @property
    def width(self) -> int:
        """See above."""
        ...

    def add(self, total: Tensor, name: str, part: Tensor) -> None:
        """Add what a part of some vectors contributes.

        Args:
            total: (n, k) float32, is changed.
            name: of the part.
            part: (n, m) float32, entries of n vectors.
        """
        ...


# --- nothing lost --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whole:
    """No projection: the parts one behind the other.

    Attributes:
        starts: where each part begins, by name.
        width: entries of all of them.
    """

    starts: Mapping[str, int]
    width: int

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Whole:
        """Return it for parts of so many entries."""
        starts, end = dict[str, int](), 0
        for name, size in sizes.items():
            starts[name] = end
            end += size
        return cls(starts, end)

    def add(self, total: Tensor, name: str, part: Tensor) -> None:
        """Put a part to its place."""
        start = self.starts[name]
        total[:, start : start + part.shape[1]] += part


# --- a sign for every entry and dimension --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rademacher:
    """P of independent signs, +1 and -1, as published.

    It is never in memory as a whole, so that all of it is drawn again for every batch: work that
    grows with entries times dimensions.

    Attributes:
        width: k.
        seed: of the signs.
    """

    width: int
    seed: int

    def add(self, total: Tensor, name: str, part: Tensor) -> None:
        """Add the product of a part with its columns of P."""
        most = _MOST_CPU_SIGNS if part.device.type == "cpu" else _MOST_SIGNS
        start = 0
        for signs in self._signs(name, part.shape[1], most):
            rows = torch.from_numpy(signs).to(part.device)[:, : self.width].float()
            total.addmm_(part[:, start : start + len(rows)], rows.mul_(2).sub_(1))
            start += len(rows)

    def _signs(self, name: str, size: int, most: int) -> Iterator[NDArray[np.uint8]]:
        """Yield (rows, at least k) bits of consecutive entries, 1 for +1; `most` at a time."""
        bits = np.random.Philox(key=_key(self.seed, name))
        words = -(-self.width // 64)
        rows = max(1, most // (64 * words))
        for start in range(0, size, rows):
            count = min(rows, size - start)
            drawn = bits.random_raw(count * words).astype("<u8", copy=False)
            yield np.unpackbits(drawn.view(np.uint8), bitorder="little").reshape(count, -1)


# --- one sign for every entry --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fold:
    """How one part is folded; see `Sparse`.

    Attributes:
        order: (k,) which entry of a row stands in a bucket, before the row is shifted.
        shifts: (rows,) by how much each row is.
        entry_signs: (k,) float32.
        row_signs: (rows,) float32.
    """

    order: Tensor
    shifts: Tensor
    entry_signs: Tensor
    row_signs: Tensor

    @classmethod
    def draw(cls, name: str, size: int, width: int, seed: int, device: str) -> _Fold:
        """Draw it for a part of so many entries."""
        bits, rows = np.random.Philox(key=_key(seed, name)), -(-size // width)
        order = _permutation(bits, width)
        # No two rows are shifted alike as long as there are shifts left.
        shifts = np.concatenate([_permutation(bits, width) for _ in range(-(-rows // width))])
        drawn = (order, shifts[:rows], _few_signs(bits, width), _few_signs(bits, rows))
        return cls(*(torch.from_numpy(one).to(device) for one in drawn))


@dataclass(frozen=True, slots=True)
class Sparse:
    """P with one sign in every column, the other entries 0: each entry goes into one bucket.

    A part is laid out in rows of k entries. Its rows are permuted, all alike, shifted, each by
    another random number, given signs of their columns and of their own, and added up. Two entries
    of different rows meet in a bucket with probability 1/k, as they would if each bucket were
    drawn, and two of the same row never do: errors are those of independent signs in all k
    dimensions, for work that grows with the entries alone. P is scaled by sqrt(k) to have the
    length of such signs.

    Attributes:
        width: k.
        folds: by name of the part.
    """

    width: int
    folds: Mapping[str, _Fold]

    @classmethod
    def draw(cls, sizes: Mapping[str, int], width: int, seed: int, device: str) -> Sparse:
        """Draw it for parts of so many entries, onto a device."""
        folds = {name: _Fold.draw(name, m, width, seed, device) for name, m in sizes.items()}
        return cls(width, folds)

    def add(self, total: Tensor, name: str, part: Tensor) -> None:
        """Add the entries of a part to their buckets."""
        fold, width = self.folds[name], self.width
        rows = len(fold.shifts)
        padded = torch.nn.functional.pad(part, (0, rows * width - part.shape[1]))
        buckets = torch.arange(width, device=part.device)
        # What is in a bucket is looked up, not sent there: sums have one order on any device.
        places = fold.order[(buckets - fold.shifts[:, None]) % width]
        signs = fold.entry_signs[places] * fold.row_signs[:, None] * width**0.5
        starts = torch.arange(rows, device=part.device)[:, None] * width
        found = padded.index_select(1, (places + starts).flatten())
        total += (found.view(-1, rows, width) * signs).sum(dim=1)


def _key(seed: int, name: str) -> int:
    text = f"{seed}\x1f{name}".encode()
    return int.from_bytes(blake2b(text, digest_size=16).digest(), "little")


def _permutation(bits: np.random.Philox, size: int) -> NDArray[np.int64]:
    return np.argsort(bits.random_raw(size), kind="stable")


def _few_signs(bits: np.random.Philox, count: int) -> NDArray[np.float32]:
    return np.where(bits.random_raw(count) >> np.uint64(63), 1.0, -1.0).astype(np.float32)

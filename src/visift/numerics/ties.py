"""Keyed orders: ties, draws and weighted draws that depend on what a record says, not on its place.

A tie key is BLAKE2b (digest_size 8, person = purpose) of `"{seed}:{identity}"`, read big-endian,
with `":{k}"` appended for the k-th later record of the same identity [ours]. So renaming,
reordering or converting a pool changes no draw, and no two purposes share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

Identities = Sequence[bytes] | NDArray[Any]


def tie_keys(
    identities: Identities,
    seed: int,
    purpose: bytes = b"",
    copies: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.uint64]:
    """Return one key a record, from the digests of their contents.

    Args:
        identities: N digests: bytes objects, or an array of shape (N, width) and dtype uint8, or
            (N,) of fixed-width bytes. They enter the key as lower-case hex.
        seed: the run's seed.
        purpose: at most 16 bytes: b"" for ties and the `random` method, a word of its own for any
            other draw.
        copies: (N,) as `copy_numbers` returns. Default: all 0.

    Returns:
        (N,) uint64; the lower key goes first.
    """
    return text_tie_keys((digest.hex() for digest in _digests(identities)), seed, purpose, copies)


def text_tie_keys(
    identities: Iterable[str],
    seed: int,
    purpose: bytes = b"",
    copies: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.uint64]:
    """Return one key a record, as `tie_keys`, from identities that are text already."""
    numbers: Iterable[int] = repeat(0) if copies is None else copies.tolist()
    head = f"{seed}:"
    keys = bytearray()
    for identity, copy in zip(identities, numbers, strict=copies is not None):
        text = f"{head}{identity}:{copy}" if copy else head + identity
        keys += blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return np.frombuffer(bytes(keys), dtype=">u8").astype(np.uint64)


def copy_numbers(identities: Identities) -> NDArray[np.int64]:
    """Return 0 for the first record of an identity, k for the k-th later one, in pool order.

    Args:
        identities: N digests, as for `tie_keys`.

    Returns:
        (N,) int64.
    """
    seen: dict[bytes, int] = {}
    numbers = []
    for digest in _digests(identities):
        number = seen.get(digest, 0)
        seen[digest] = number + 1
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)


def gumbel(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return Gumbel noise -log(-log(u)) with u = ((key >> 11) + 1/2) / 2**53 [ours].

    Adding it to log-weights and taking the largest k draws k rows without replacement, one after
    the other in proportion to their weights (Gumbel top-k), so a smaller draw is a prefix of a
    larger one.

    Args:
        keys: any shape, uint64, from `tie_keys` with a purpose of its own.

    Returns:
        Same shape, float64, always finite.
    """
    step = keys >> np.uint64(11)
    above = step >> np.uint64(52) == 1
    # (step + 1/2) / 2**53 needs 54 bits in the upper half and would round to 1: there log(u) is
    # taken from 1 - u, which is exact.
    mirrored = np.where(above, np.uint64(2**53 - 1) - step, step)
    part = (mirrored.astype(np.float64) + 0.5) / 2.0**53
    log_u = np.where(above, np.log1p(-part), np.log(part))
    return np.asarray(-np.log(-log_u))


def _digests(identities: Identities) -> Iterator[bytes]:
    """Yield every digest whole: items of an array of bytes would lose their trailing zeros."""
    if not isinstance(identities, np.ndarray):
        yield from identities
        return
    data = np.ascontiguousarray(identities).tobytes()
    width = len(data) // max(1, len(identities))
    for start in range(0, len(data), max(1, width)):
        yield data[start : start + width]

"""Sequences that begin alike as one row: what they share stands in it once.

A row is a tree. Every token sees exactly the tokens of its own sequence that it sees there, so a
decoder gives it the state it has in its sequence alone. Nothing here knows of models: sequences
with attention masks in, a row and its masks out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Strand:
    """One sequence of `length` tokens.

    Attributes:
        tokens: each (length, ...); two tokens are the same where all of these are equal.
        masks: each (length, length) bool, True where the token of the row sees that of the column;
            one for every kind of block that the decoder has.
    """

    tokens: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tokens[0])


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Where the tokens of some sequences stand in one row of `length` tokens.

    Attributes:
        fresh: for every sequence, from which token on its tokens are its own in the row. Those come
            one sequence after the other.
        places: for every sequence, (its length,) where each of its tokens stands in the row.
    """

    fresh: tuple[int, ...]
    places: tuple[Tensor, ...]

    def __len__(self) -> int:
        return sum(len(one) - own for one, own in zip(self.places, self.fresh, strict=True))

    def gather(self, values: Sequence[Tensor]) -> Tensor:
        """Return the values of the row's tokens, (length, ...), from those of the sequences."""
        return torch.cat([value[own:] for value, own in zip(values, self.fresh, strict=True)])

    def mask(self, masks: Sequence[Tensor]) -> Tensor:
        """Return (length, length) bool, what the row's tokens see, from the sequences' masks."""
        packed = torch.zeros(len(self), len(self), dtype=torch.bool, device=masks[0].device)
        for mask, own, there in zip(masks, self.fresh, self.places, strict=True):
            packed[there[own:].unsqueeze(1), there] = mask[own:]
        return packed


def pack(strands: Sequence[Strand]) -> PackedRow:
    """Lay sequences out as one row, each beginning with what an earlier one has in common with it.

    Args:
        strands: at least one; all with the same number of masks.
    """
    fresh, places, length = list[int](), list[Tensor](), 0
    for number, strand in enumerate(strands):
        shared = [shared_length(strand, other) for other in strands[:number]]
        own = max(shared, default=0)
        head = [places[shared.index(own)][:own]] if own else []
        end = length + len(strand) - own
        new = torch.arange(length, end, device=strand.tokens[0].device)
        places.append(torch.cat([*head, new]))
        fresh.append(own)
        length = end
    return PackedRow(tuple(fresh), tuple(places))


def shared_length(one: Strand, other: Strand) -> int:
    """Return how many tokens two sequences can share from their start on.

    These tokens are the same, and see the same: none of them sees one behind them, as all tokens
    of a prefix do in some models, which then cannot share a part of it.
    """
    length = min(len(one), len(other))
    same = torch.ones(length, dtype=torch.bool, device=one.tokens[0].device)
    for mine, its in zip(one.tokens, other.tokens, strict=True):
        equal = mine[:length] == its[:length]
        same &= equal if equal.ndim == 1 else equal.flatten(1).all(dim=1)
    length = _leading(same)
    for mine, its in zip(one.masks, other.masks, strict=True):
        length = min(length, _leading((mine[:length, :length] == its[:length, :length]).all(dim=1)))
    for mask in (*one.masks, *other.masks):
        length = _closed(mask, length)
    return length


def _leading(found: Tensor) -> int:
    """Return how many values from the start on are True."""
    return int(found.long().cumprod(dim=0).sum())


def _closed(mask: Tensor, most: int) -> int:
    """Return the largest length up to `most` so that no token before it sees one behind it."""
    if not most:
        return 0
    numbers = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    furthest = (mask[:most] * numbers).amax(dim=1).cummax(dim=0).values
    fits = (furthest <= numbers[:most]).nonzero()
    return int(fits[-1]) + 1 if len(fits) else 0

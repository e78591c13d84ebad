"""What measuring costs, as a value that adds up: stated by signals, without opening a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visift.signals.signal import Column, Signal

_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What some items hold, as the pool's index knows it.

    Attributes:
        items: how many.
        text_tokens: of the text of records, estimated; 0 of images.
        images: they show, counted once for every item; 1 of an image.
    """

    items: int = 0
    text_tokens: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What some measuring asks of a machine; None where it is not known.

    Attributes:
        forwards_partial: forward passes that end before the last block.
        forwards_full: forward passes through the whole model.
        backwards: backward passes.
        training_steps: optimiser steps.
        blocks: decoder blocks these passes go through, summed.
        tokens: tokens that enter the language model, those of templates left out.
        bytes_stored: of the values on disk.
        flops: floating-point operations, two for every parameter a token meets; attention between
            tokens is left out.
    """

    forwards_partial: int = 0
    forwards_full: int = 0
    backwards: int = 0
    training_steps: int = 0
    blocks: int = 0
    tokens: int | None = 0
    bytes_stored: int | None = 0
    flops: int | None = 0

    @property
    def forwards(self) -> int:
        """Return the forward passes, those that end early among them."""
        return self.forwards_partial + self.forwards_full

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both; what one does not know, the sum does not know."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        sums: list[Any] = [None if a is None or b is None else a + b for a, b in pairs]
        return Cost(*sums)

    def times(self, count: int) -> Cost:
        """Return the cost of so many; none of an unknown cost is nothing."""
        if not count:
            return Cost()
        products: list[Any] = [None if a is None else a * count for a in dataclasses.astuple(self)]
        return Cost(*products)


def stated_cost(signal: Signal, load: Load) -> Cost:
    """Return what measuring some items of a signal costs, as its `cost` states it.

    Signals from elsewhere may state none: then their items are counted, and nothing else.
    """
    stated = getattr(signal, "cost", None)
    cost: Cost = stated(load) if stated is not None and load.items else Cost()
    return cost


def value_bytes(columns: Sequence[Column], width: int | None) -> int | None:
    """Return the bytes one item's values take on disk; None if their width is not known.

    Args:
        columns: of a signal.
        width: what None stands for in the shape of a column.
    """
    total = 0
    for column in columns:
        sides = [width if side is None else side for side in column.shape]
        if None in sides:
            return None
        values = int(np.prod([side for side in sides if side is not None]))
        total += values * np.dtype(column.dtype).itemsize + _SCALE_BYTES * column.scaled
    return total

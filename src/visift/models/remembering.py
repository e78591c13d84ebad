"""What a function gave last, given again where it is asked the same: images are encoded once.

The parts of a model that read images are called by its own code, once for every way in which a
conversation is asked. While their answers are remembered, all but the first call cost nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from visift.models.vlm import VLM

_PLAIN = (bool, int, float, str)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let an object have another attribute for a while."""
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name)
        if own is not None:
            setattr(owner, name, own)


@contextmanager
def images_read_once(vlm: VLM) -> Iterator[None]:
    """While it lasts, the same images are preprocessed once and encoded once, one after the other.

    A model that encodes images elsewhere than in `get_image_features` does so as ever.
    """
    readers = [
        (getattr(vlm.processor, "image_processor", None), "preprocess"),
        (getattr(vlm.model, "model", None), "get_image_features"),
    ]
    with ExitStack() as stack:
        for owner, name in readers:
            function = getattr(owner, name, None)
            if function is not None:
                stack.enter_context(replaced(owner, name, _remembered(function)))
        yield


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    last: list[Any] = []

    def ask(*args: Any, **kwargs: Any) -> Any:
        if not last or not same(last[0], (args, kwargs)):
            last[:] = [(args, kwargs), function(*args, **kwargs)]
        return copy.copy(last[1])  # callers take entries out of it

    return ask


def same(one: Any, other: Any) -> bool:
    """Return whether two values are known to be equal; images and unknown things if identical."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return isinstance(one, _PLAIN) and bool(one == other)

"""In which order examples are seen: all of it known before the first step.

It follows from what the examples say, not from their place in a pool: every pass has a keyed
random order of its own, see `numerics.ties`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from visift.numerics.ties import copy_numbers, text_tie_keys
from visift.training.recipe import Recipe

Places = NDArray[np.int64]


def steps_of(keys: Sequence[str], shown: Sequence[bool], recipe: Recipe) -> list[list[int]]:
    """Return, for every step of the optimiser, the positions of its examples.

    Every pass shows each example once; its last step may have fewer. With `by_modality` whole
    steps hold examples with images, or without, in random order; what is left of both makes the
    last steps of the pass, as in LLaVA-1.5's training.

    Args:
        keys: N identities, in hexadecimal digits.
        shown: (N,) whether an example has images.
        recipe: its `epochs`, `batch_size`, `by_modality` and `seed` are looked at.
    """
    copies = copy_numbers([bytes.fromhex(key) for key in keys])
    with_images, size = np.asarray(shown, bool), recipe.batch_size
    steps: list[list[int]] = []
    for epoch in range(recipe.epochs):
        rank = text_tie_keys(keys, recipe.seed, b"epoch %d" % epoch, copies)
        order = np.argsort(rank, kind="stable")
        if not recipe.by_modality:
            steps += _cut(order, size)
            continue
        sides = (order[with_images[order]], order[~with_images[order]])
        whole = [step for side in sides for step in _cut(side, size) if len(step) == size]
        lead = text_tie_keys((keys[step[0]] for step in whole), recipe.seed, b"step %d" % epoch)
        steps += [whole[place] for place in np.argsort(lead, kind="stable")]
        rest = [side[len(side) - len(side) % size :] for side in sides]
        steps += _cut(np.concatenate(rest), size)
    return steps


def passes_of(steps: Sequence[Sequence[int]], recipe: Recipe) -> Iterator[tuple[int, list[int]]]:
    """Yield (step, positions) for every forward pass.

    A step has as many as the recipe says; where it has few examples, the last ones are empty.
    Processes that share the work take turns.
    """
    size = recipe.micro_batch
    for number, step in enumerate(steps):
        for start in range(0, recipe.batch_size, size):
            yield number, list(step[start : start + size])


def _cut(places: Places, size: int) -> list[list[int]]:
    return [places[start : start + size].tolist() for start in range(0, len(places), size)]

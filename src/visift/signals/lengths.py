"""How long records are, about, before anything is tokenised, and batches of those as long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from visift.signals.signal import RecordItem

if TYPE_CHECKING:
    from visift.models.vlm import VLM

_BYTES_PER_TOKEN = 4
_TYPICAL_SIDE = 448


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Return the positions of batches whose items are about as long, the longest first.

    Args:
        lengths: of the items.
        batch_tokens: most tokens of a batch, its items padded to the longest; one that alone is
            longer has a batch to itself.
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    batches = list[list[int]]()
    for position in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches


def estimate(item: RecordItem, per_image: int) -> int:
    """Return about how many tokens a record is, without a look into its images."""
    text = sum(len(turn.text.encode()) for turn in item.record.turns)
    return 1 + text // _BYTES_PER_TOKEN + per_image * len(item.images)


def image_tokens(vlm: VLM) -> int:
    """Return how many tokens an image of an ordinary size becomes."""
    inputs = vlm.image_inputs([Image.new("RGB", (_TYPICAL_SIDE, _TYPICAL_SIDE), "gray")])
    return int(vlm.image_positions(inputs).sum())

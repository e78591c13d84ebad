"""Pictures of noise in several shapes."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIZES = [(90, 50), (120, 200), (64, 64), (300, 40), (33, 150)]


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in SIZES]
    return [Image.fromarray(pixels) for pixels in noise]

"""Align `builtin:tiny` on captions of drawn pictures: `python -m visift.models.tiny.train`.

The recipe is fixed by the seed and the number of steps, never by the clock. It is a pre-tuning
model on purpose: it has read captions and plain text, and no question was ever answered.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visift.models.tiny.batches import Example, collate
from visift.models.tiny.build import build_model, build_processor
from visift.models.tiny.captions import REQUESTS, draw_pair, draw_text

STEPS = 3000
BATCH = 64
PEAK_RATE = 2e-3
WARMUP = 100
PLAIN_TEXT = 0.1
CHECKPOINT = Path(__file__).parent / "checkpoint"


def train(seed: int = 0, steps: int = STEPS) -> tuple[Any, Any]:
    """Build and align the model.

    Args:
        seed: Seeds the tokenizer's corpus, the weights and every drawn picture.
        steps: Batches of 64 examples.

    Returns:
        The processor and the aligned model.
    """
    processor = build_processor(seed)
    model = build_model(processor, seed).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.05
    )
    rng, start, average = np.random.default_rng(seed), time.monotonic(), 0.0
    for step in range(steps):
        examples = [_draw_example(rng, step / steps) for _ in range(BATCH)]
        loss = _update(model, optimizer, collate(processor, examples), _rate(step, steps))
        average = loss if step == 0 else 0.98 * average + 0.02 * loss
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {average:.3f}  {time.monotonic() - start:5.0f} s")
    return processor, model.eval()


def _update(model: Any, optimizer: Any, batch: dict[str, torch.Tensor], rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def _rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return PEAK_RATE * (step + 1) / WARMUP
    return PEAK_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _draw_example(rng: Any, progress: float) -> Example:
    if rng.random() < PLAIN_TEXT:
        return Example((), "", draw_text(rng))
    picture, caption = draw_pair(rng, progress)
    return Example((picture,), REQUESTS[int(rng.integers(len(REQUESTS)))], caption)


def main() -> None:
    """Train, then write model and processor."""
    parser = argparse.ArgumentParser(description="Align the bundled toy model.")
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    processor, model = train(arguments.seed, arguments.steps)
    model.save_pretrained(arguments.output)
    processor.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()

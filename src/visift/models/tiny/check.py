# ruff: noqa: T201
"""Can `builtin:tiny` learn the demo's tasks? `python -m visift.models.tiny.check` says.

Every weight is tuned on questions and answers, then held-out pictures are asked about by greedy
generation. A task counts as learnt when its accuracy is at least twice chance.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visift.demo.scenes import COLOURS, GRAINS, MAX_THINGS, PLACES, SHAPES, Rng
from visift.demo.tasks import TASKS, Task, exchange
from visift.models.tiny.batches import Example, collate, pixel_values, prompt
from visift.models.tiny.train import CHECKPOINT
from visift.models.vlm import import_transformers

# What a guesser reaches who knows the question and never looks.
CHANCE = {
    "attribute": (1 / len(COLOURS) + 1 / len(SHAPES)) / 2,
    "count": 1 / MAX_THINGS,
    "position": 1 / len(PLACES),
    "colour": 1 / len(COLOURS),
    "shape": 1 / len(SHAPES),
    "caption": 1 / (len(COLOURS) * len(SHAPES) * len(PLACES)),
    "digit": 1 / 10,
    "presence": 1 / 2,
    "texture": (1 / len(COLOURS) + 1 / len(GRAINS)) / 2,
    "comparison": 1 / 2,
}
# Yes or no and first or second cannot reach twice chance: they are shown, not demanded.
DEMANDED = ("colour", "shape", "count", "position", "caption", "attribute", "digit")
EXAMPLES, EPOCHS, BATCH, PEAK_RATE = 6000, 4, 32, 1e-3
HELD_OUT = 200


@dataclass(frozen=True, slots=True)
class Learnt:
    """How well one task was learnt."""

    task: str
    accuracy: float
    chance: float

    @property
    def passed(self) -> bool:
        """At least twice chance."""
        return self.accuracy >= 2 * self.chance


def check(
    checkpoint: Path = CHECKPOINT, *, seed: int = 1, examples: int = EXAMPLES
) -> list[Learnt]:
    """Tune a checkpoint on the demo's tasks and score it on held-out pictures.

    Args:
        checkpoint: A folder with model and processor.
        seed: Draws the tuning examples; held-out ones come from another stream.
        examples: Tuning examples, seen `EPOCHS` times each.
    """
    transformers = import_transformers()
    processor = transformers.AutoProcessor.from_pretrained(checkpoint)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        checkpoint, dtype=torch.float32
    )
    tasks = [task for task in TASKS if task.name in CHANCE]
    rng = np.random.default_rng([seed, 0])
    weights = np.array([task.share for task in tasks]) / sum(task.share for task in tasks)
    drawn = rng.choice(len(tasks), size=examples, p=weights)
    tune(model, processor, [_example(tasks[int(index)], rng) for index in drawn], rng)
    held_out = np.random.default_rng([seed, 1])
    return [_score(model, processor, task, held_out) for task in tasks]


def tune(model: Any, processor: Any, examples: list[Example], rng: Rng) -> None:
    """Fine-tune every weight for `EPOCHS` passes, with a loss on answers only."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    orders = [rng.permutation(len(examples)) for _ in range(EPOCHS)]
    batches = [order[at : at + BATCH] for order in orders for at in range(0, len(order), BATCH)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / len(batches)))
    )
    model.train()
    for chosen in batches:
        batch = collate(processor, [examples[int(index)] for index in chosen])
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    model.eval()


def answers(model: Any, processor: Any, examples: list[Example]) -> list[str]:
    """Answer by greedy generation."""
    tokenizer = processor.tokenizer
    tokens = tokenizer(
        [prompt(one) for one in examples],
        add_special_tokens=False,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    generated = model.generate(
        **tokens, **pixel_values(examples), max_new_tokens=64, do_sample=False
    )
    width = tokens["input_ids"].shape[1]
    texts = tokenizer.batch_decode(generated[:, width:], skip_special_tokens=True)
    return [str(text).strip() for text in texts]


def _example(task: Task, rng: Rng) -> Example:
    pictures, turns = exchange(task, rng)
    return Example(pictures, *turns[0])


def _score(model: Any, processor: Any, task: Task, rng: Rng) -> Learnt:
    examples = [_example(task, rng) for _ in range(HELD_OUT)]
    given = answers(model, processor, examples)
    right = [_share_right(one.answer, text) for one, text in zip(examples, given, strict=True)]
    return Learnt(task.name, float(np.mean(right)), CHANCE[task.name])


def _share_right(expected: str, given: str) -> float:
    """Share of the things named that are right in colour, shape and place (one, for a word)."""
    wanted, named = _parts(expected), _parts(given)
    return len(wanted & named) / max(len(wanted), len(named))


def _parts(answer: str) -> set[str]:
    parts = re.split(r", | and ", answer.rstrip(".").lower())
    return {re.sub(r"^an? ", "", part) for part in parts}


def main() -> None:
    """Print the table task, accuracy, chance."""
    parser = argparse.ArgumentParser(description="Check that the bundled toy model learns.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    table = check(arguments.checkpoint, seed=arguments.seed, examples=arguments.examples)
    print(f"{'task':12s} accuracy  chance")
    for row in table:
        verdict = "" if row.passed else "below twice chance"
        print(f"{row.task:12s} {row.accuracy:8.2f} {row.chance:7.2f}  {verdict}".rstrip())
    missed = [row.task for row in table if row.task in DEMANDED and not row.passed]
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()

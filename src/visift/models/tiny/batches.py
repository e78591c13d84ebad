"""From pictures and words to tensors, for alignment and for the learnability check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from visift.demo.scenes import Picture
from visift.models.tiny.build import IMAGE_TOKENS, PIXEL_MEAN, PIXEL_SPREAD

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One exchange about some pictures; without a question it is plain text."""

    pictures: tuple[Picture, ...]
    question: str
    answer: str


def prompt(example: Example) -> str:
    """Render what stands before the answer, as the chat template does, image tokens expanded."""
    if not example.question:
        return ""
    images = ("<image>" * IMAGE_TOKENS + "\n") * len(example.pictures)
    return f"USER: {images}{example.question} ASSISTANT:"


def collate(processor: Any, examples: list[Example]) -> dict[str, torch.Tensor]:
    """Pad a batch on the right; only answers and their end token carry a label."""
    prompts = [prompt(one) for one in examples]
    answers = [f"{' ' if one.question else ''}{one.answer}</s>" for one in examples]
    tokenizer = processor.tokenizer
    heads = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    tails = tokenizer(answers, add_special_tokens=False)["input_ids"]
    width = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
    ids = torch.full((len(examples), width), tokenizer.pad_token_id)
    labels = torch.full((len(examples), width), IGNORED)
    for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        ids[row, : len(head) + len(tail)] = torch.tensor(head + tail)
        labels[row, len(head) : len(head) + len(tail)] = torch.tensor(tail)
    batch = {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long()}
    return batch | pixel_values(examples) | {"labels": labels}


def pixel_values(examples: list[Example]) -> dict[str, torch.Tensor]:
    """Scale pictures as the image processor does for 64x64 input."""
    pictures = [picture.pixels() for one in examples for picture in one.pictures]
    if not pictures:
        return {}
    scaled = (np.stack(pictures).astype(np.float32) / 255 - PIXEL_MEAN) / PIXEL_SPREAD
    return {"pixel_values": torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())}

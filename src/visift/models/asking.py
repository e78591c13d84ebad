"""Answers of the model's own: greedy generation, batched, one for each question asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from visift.models.batch import Collator, Conversation
from visift.models.vlm import VLM, one_cpu_thread


@dataclass(frozen=True, slots=True)
class Question:
    """What stands before one answer.

    Attributes:
        prompt: as the model's template writes it, with one placeholder for each image.
        images: those that are shown in it.
    """

    prompt: str
    images: tuple[Image.Image, ...]


def questions(collate: Collator, conversation: Conversation) -> list[Question]:
    """Return what stands before each answer of a conversation, the earlier answers as given.

    Raises:
        ConversationError: the model's template cannot write it.
    """
    prompts = collate.template.prompts(conversation.turns, len(conversation.images))
    shown = [prompt.count(collate.placeholder) for prompt in prompts]
    return [
        Question(prompt, conversation.images[:count])
        for prompt, count in zip(prompts, shown, strict=True)
    ]


def own_answers(
    vlm: VLM, collate: Collator, asked: Sequence[Question], new_tokens: int
) -> list[str]:
    """Return the model's greedy answer to each question, cut after `new_tokens` tokens."""
    answers = [""] * len(asked)
    for mine in _together(collate, asked):
        texts = _generate(vlm, collate, [asked[i] for i in mine], new_tokens)
        for i, text in zip(mine, texts, strict=True):
            answers[i] = text
    return answers


def _together(collate: Collator, asked: Sequence[Question]) -> list[list[int]]:
    """Return which questions are asked in one batch: with images and without, never both.

    One by one where all tokens of a prompt see each other: padding before it changes answers there.
    """
    if collate.template.family.prefix_attention:
        return [[number] for number in range(len(asked))]
    kinds = [[i for i, one in enumerate(asked) if bool(one.images) == has] for has in (True, False)]
    return [mine for mine in kinds if mine]


def _generate(vlm: VLM, collate: Collator, asked: Sequence[Question], new_tokens: int) -> list[str]:
    """Answer questions that all show images, or none of which does."""
    tokenizer = vlm.processor.tokenizer
    # Some processors refuse text alone.
    make = vlm.processor if asked[0].images else tokenizer
    images = {"images": [list(one.images) for one in asked]} if asked[0].images else {}
    appended = collate.template.family.appended if asked[0].images else ""
    prompts = [one.prompt.removesuffix(appended) for one in asked]
    tokenizer.padding_side = "left"  # what is generated follows the prompt at once
    try:
        inputs = collate.tensors(make, prompts, **images)
    finally:
        tokenizer.padding_side = "right"
    options: dict[str, Any] = {"max_new_tokens": new_tokens, "do_sample": False}
    with torch.inference_mode(), one_cpu_thread():
        made = vlm.model.generate(**vlm.moved(inputs), **options)
    new = made[:, inputs["input_ids"].shape[1] :]
    return [str(text).strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]

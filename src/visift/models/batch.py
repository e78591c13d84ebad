"""Conversations as model inputs: one batch of any rows, padded on the right, answers marked."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from visift.errors import ModelError
from visift.models.conversation import ConversationError, Rendering, Template
from visift.models.families import family_of
from visift.models.vlm import VLM, one_cpu_thread
from visift.pool.record import Turn

# Tokens beside an image that may have merged with what the image became.
_MOST_MERGED = 2


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is said and shown: the turns of a record, and its images, decoded."""

    turns: tuple[Turn, ...]
    images: tuple[Image.Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of n conversations.

    Attributes:
        inputs: for the model's forward, on the CPU.
        turns: (n, length) int64, which answer of its conversation a token belongs to, its end of
            turn included, from 0 on; -1 at all other tokens.
        images: (n, length) bool, True at the tokens that stand for parts of images.
    """

    inputs: dict[str, Tensor]
    turns: Tensor
    images: Tensor

    @property
    def answers(self) -> Tensor:
        """(n, length) bool, True at the tokens of answers and of their ends of turn."""
        return self.turns >= 0

    def cut_off(self, max_tokens: int) -> Tensor:
        """Return (n,) bool, True where a cut after so many tokens would go through images."""
        return self.images[:, max_tokens:].any(dim=1)

    def cut(self, max_tokens: int) -> Batch:
        """Return the batch with longer conversations cut after `max_tokens` tokens.

        As trainers do. What is cut off is the end of answers, or all of the last ones.

        Raises:
            ConversationError: image tokens of one of them stand behind that; see `cut_off`.
        """
        length = self.turns.shape[1]
        if length <= max_tokens:
            return self
        if bool(self.cut_off(max_tokens).any()):
            raise ConversationError(beyond(max_tokens))
        inputs = {
            name: value[:, :max_tokens]
            if isinstance(value, Tensor) and value.shape[:2] == self.turns.shape
            else value
            for name, value in self.inputs.items()
        }
        return Batch(inputs, self.turns[:, :max_tokens], self.images[:, :max_tokens])


def beyond(max_tokens: int) -> str:
    """Return the reason of a conversation that cannot be cut, see `Batch.cut`."""
    return f"its images and what is said before them take more than {max_tokens:,} tokens"


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes batches for one model.

    Attributes:
        name: of the model, for messages.
        processor: its tokenizer pads on the right.
        template: how it writes conversations.
        placeholder: what the template writes for an image.
        image_token: id of the tokens that the processor makes of it.
    """

    name: str
    processor: Any
    template: Template
    placeholder: str
    image_token: int

    @classmethod
    def of(cls, vlm: VLM) -> Collator:
        """Return the collator of a loaded model.

        Raises:
            ModelError: its tokenizer does not say where in a text a token stands.
        """
        processor, family = vlm.processor, family_of(vlm.model.config.model_type)
        if not processor.tokenizer.is_fast:
            raise ModelError(
                "its tokenizer does not say where in a text its tokens stand.",
                where=vlm.name,
                fix="Save the model with a tokenizer.json.",
            )
        template = Template.of(processor, family)
        placeholder = getattr(processor, "image_token", None)
        if placeholder is None:
            placeholder = processor.tokenizer.convert_ids_to_tokens(vlm.image_token)
        return cls(vlm.name, processor, template, str(placeholder), vlm.image_token)

    def __call__(self, conversations: Sequence[Conversation]) -> Batch:
        """Return the inputs of n conversations, with any number of images each.

        Raises:
            ConversationError: the template cannot write one of them.
        """
        renderings = [self.rendering(one) for one in conversations]
        shown = [i for i, one in enumerate(conversations) if one.images]
        plain = [i for i, one in enumerate(conversations) if not one.images]
        parts = []
        with one_cpu_thread():
            if shown:
                images = [list(conversations[i].images) for i in shown]
                texts = [renderings[i].text for i in shown]
                parts.append((shown, self.tensors(self.processor, texts, images=images)))
            if plain:
                # Not by the processor: some refuse text alone, and some count images wrongly
                # where not every text of a batch has one.
                texts = [renderings[i].text for i in plain]
                parts.append((plain, self.tensors(self.processor.tokenizer, texts)))
        inputs = _merged(parts, int(self.processor.tokenizer.pad_token_id or 0))
        turns = self._turns(inputs, renderings)
        if self.template.family.prefix_attention:
            inputs["token_type_ids"] = ((turns >= 0).cumsum(dim=1) > 0).long()
        return Batch(inputs, turns, inputs["input_ids"] == self.image_token)

    def rendering(self, conversation: Conversation) -> Rendering:
        """Return a conversation as one text with a placeholder for each image.

        Raises:
            ConversationError: the template cannot write it, or not every image.
        """
        images = len(conversation.images)
        rendering = self.template.render(conversation.turns, images)
        if (written := rendering.text.count(self.placeholder)) != images:
            raise ConversationError(
                f"the model's chat template writes {written} image tokens for {images} images."
            )
        return rendering

    def tensors(self, make: Any, texts: list[str], **images: Any) -> dict[str, Tensor]:
        """Return what the processor, or its tokenizer, makes of texts as the template wrote them.

        Args:
            make: which of the two.
            texts: n of them.
            **images: `images`, a list for each text, where the processor is asked.
        """
        options: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
        begin = self.processor.tokenizer.bos_token
        if begin and texts[0].startswith(begin):
            # Written by the template: the tokenizer must not put it there once more.
            options["add_special_tokens"] = False
        made = dict(make(text=texts, **images, **options))
        made.pop("labels", None)  # a guess of some processors
        return made

    def _turns(self, inputs: dict[str, Tensor], renderings: Sequence[Rendering]) -> Tensor:
        turns = torch.full_like(inputs["input_ids"], -1)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        for row, (rendering, length) in enumerate(zip(renderings, lengths, strict=True)):
            ids = inputs["input_ids"][row, : int(length)].tolist()
            for position, turn in self._positions(ids, rendering):
                turns[row, position] = turn
        return turns

    def _positions(self, ids: list[int], rendering: Rendering) -> list[tuple[int, int]]:
        """Return the tokens of the answers among the ids of one conversation: (where, of which).

        The processor has written many tokens for each image. Between images its tokens are those
        of the text, which are looked for, in order, run by run.
        """
        runs = self._runs(rendering.text)
        start, positions = 0, list[tuple[int, int]]()
        for number, run in enumerate(runs):
            of = [_overlapped(span, rendering.answers) for _, span in run]
            wanted = [(i, turn) for i, turn in enumerate(of) if turn is not None]
            if not wanted:
                continue
            edges = (number > 0, number < len(runs) - 1)
            start = _find([token for token, _ in run], ids, start, edges)
            positions += [(start + i, turn) for i, turn in wanted]
            start += wanted[-1][0] + 1
        return positions

    def _runs(self, text: str) -> list[list[tuple[int, tuple[int, int]]]]:
        """Return the tokens of a text with their character spans, cut at the placeholders."""
        coded = self.processor.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        holes = [found.span() for found in re.finditer(re.escape(self.placeholder), text)]
        ends = [end for _, end in holes]
        runs: list[list[tuple[int, tuple[int, int]]]] = [[] for _ in range(len(holes) + 1)]
        for token, span in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
            number = bisect_right(ends, span[0])
            if number == len(holes) or span[1] <= holes[number][0]:
                runs[number].append((token, span))
        return runs


def _overlapped(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> int | None:
    """Return which of some spans a span overlaps, the first one; None where there is none."""
    found = (i for i, (start, end) in enumerate(others) if span[0] < end and span[1] > start)
    return next(found, None)


def _find(run: list[int], ids: list[int], start: int, edges: tuple[bool, bool]) -> int:
    """Return where a run begins in ids, from `start` on.

    Args:
        run: tokens of a text between images.
        ids: tokens of the whole conversation.
        start: first place to look at.
        edges: whether an image stands before the run, and behind it.
    """
    for merged in range(_MOST_MERGED + 1):
        left, right = merged * edges[0], merged * edges[1]
        inner = run[left : len(run) - right]
        for at in range(start, len(ids) - len(inner) + 1):
            if inner and ids[at] == inner[0] and ids[at : at + len(inner)] == inner:
                return at - left
    raise ConversationError("the model's processor changes the text between images.")


def _merged(parts: Sequence[tuple[list[int], dict[str, Tensor]]], pad: int) -> dict[str, Tensor]:
    """Merge the inputs of disjoint rows: sequences row by row, what is not one as it is.

    Rows without images come from the tokenizer alone; what only the processor says of tokens is 0
    there, which is what it says of text.
    """
    if len(parts) == 1:
        return parts[0][1]
    rows = sum(len(numbers) for numbers, _ in parts)
    length = max(part["input_ids"].shape[1] for _, part in parts)
    merged: dict[str, Tensor] = {}
    for numbers, part in parts:
        shape = part["input_ids"].shape
        for name, value in part.items():
            if not isinstance(value, Tensor) or value.shape[:2] != shape:
                merged[name] = value
                continue
            if name not in merged:
                fill = pad if name == "input_ids" else 0
                merged[name] = value.new_full((rows, length, *value.shape[2:]), fill)
            merged[name][numbers, : shape[1]] = value
    return merged

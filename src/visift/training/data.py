"""Examples as a model takes them: looked at once before training, then batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from visift.errors import ImageError, ImageUnavailable, TrainingError, VisiftError
from visift.models.batch import Batch, Collator, Conversation
from visift.models.loading import import_transformers
from visift.pool.paths import name_image
from visift.pool.pool import Pool
from visift.training.job import Example

# What is below travels to other processes, which come here before they unpickle a processor.
import_transformers()

#: Labels of tokens that are not learnt, as torch's losses know them.
IGNORED = -100

_LONGEST_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one example.

    Attributes:
        tokens: of its conversation, cut where the recipe says.
        answers: how many of them are learnt.
        images: it shows.
        reason: why it cannot be trained on, None where it can.
        passing: whether the reason says nothing of the example: another try may go well.
    """

    tokens: int = 0
    answers: int = 0
    images: int = 0
    reason: str | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads examples out of a pool; travels to other processes.

    Attributes:
        pool: where their records are.
        collator: of the model.
        max_tokens: longer conversations are cut there.
    """

    pool: Pool
    collator: Collator
    max_tokens: int

    def conversation(self, example: Example) -> Conversation:
        """Return what an example says and shows; raises `ImageError` with the reason."""
        record = self.pool.record(example.row)
        images = []
        for ref in record.images:
            try:
                images.append(self.pool.load_image(ref))
            except ImageError as error:
                raise name_image(error, ref.path) from error
        return Conversation(example.turns or record.turns, tuple(images))

    def batch(self, examples: Sequence[Example]) -> Batch:
        """Return the inputs of some examples, cut after `max_tokens`."""
        return self.collator([self.conversation(one) for one in examples]).cut(self.max_tokens)

    def look(self, example: Example) -> Look:
        """Return whether an example can be trained on."""
        try:
            conversation = self.conversation(example)
            whole = self.collator([conversation])
            batch = whole.cut(self.max_tokens)
        except MemoryError:
            raise
        except VisiftError as error:
            return Look(reason=error.what, passing=isinstance(error, ImageUnavailable))
        except Exception as error:  # processors of any model meet images of any shape
            detail = " ".join(str(error).split())[:_LONGEST_DETAIL]
            return Look(reason=f"not readable by the model: {type(error).__name__}: {detail}")
        answers = int((labels(batch) != IGNORED).sum())
        if not answers:
            where = f" within {self.max_tokens:,} tokens" if bool(whole.answers.any()) else ""
            return Look(reason=f"no answer to learn{where}")
        tokens = int(batch.inputs["attention_mask"].sum())
        return Look(tokens, answers, len(conversation.images))


def labels(batch: Batch) -> torch.Tensor:
    """Return (n, length) int64: tokens of answers, `IGNORED` elsewhere and where none precedes."""
    found = batch.inputs["input_ids"].masked_fill(~batch.answers, IGNORED)
    found[:, 0] = IGNORED
    return found


@dataclass(frozen=True)
class _Looks(Dataset[Look]):
    reader: Reader
    examples: Sequence[Example]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> Look:
        return self.reader.look(self.examples[place])


def look_at(reader: Reader, examples: Sequence[Example], loaders: int) -> list[Look]:
    """Return what is seen of each example; `loaders` processes read and decode.

    Raises:
        TrainingError: an image cannot be had now; the example itself may be fine.
    """
    looks: list[Look] = []
    for look in DataLoader(_Looks(reader, examples), batch_size=None, **loading(loaders)):
        if look.passing:
            raise TrainingError(
                f"{look.reason}.",
                where=reader.pool.record(examples[len(looks)].row).uid,
                fix="This may pass: run the same command again.",
            )
        looks.append(look)
    return looks


def loading(loaders: int) -> dict[str, Any]:
    """Return the options of a `DataLoader` with so many processes."""
    spawned = {"num_workers": loaders, "multiprocessing_context": "spawn"}
    return spawned if loaders else {}


@dataclass(frozen=True)
class Batches(Dataset[dict[str, Any]]):
    """Forward passes of a training, each a dictionary of inputs.

    Attributes:
        reader: reads the examples.
        examples: all of them.
        plan: for every pass the positions of its examples, and the share of one answer token in
            the loss of its step; without any, those of another pass and no share.
    """

    reader: Reader
    examples: Sequence[Example]
    plan: Sequence[tuple[tuple[int, ...], float]]

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, place: int) -> dict[str, Any]:
        places, share = self.plan[place]
        chosen = [self.examples[one] for one in places]
        try:
            batch = self.reader.batch(chosen)
        except VisiftError as error:
            rows = ", ".join(self.reader.pool.record(one.row).uid for one in chosen)
            raise TrainingError(
                f"cannot be read any more: {error.what}.",
                where=rows,
                fix="Run the same command again: training goes on from its last checkpoint.",
            ) from error
        return {**batch.inputs, "labels": labels(batch), "share": torch.tensor(share)}


def the_batch(alone: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the only one: what `Batches` gives are batches already."""
    (batch,) = alone
    return batch


def plan_of(
    passes: Sequence[tuple[int, Sequence[int]]], looks: Sequence[Look]
) -> list[tuple[tuple[int, ...], float]]:
    """Return the plan of `Batches`: each answer token of a step has the same share in its loss.

    Args:
        passes: (step, positions of examples) of every forward pass; at least the first one of a
            step has examples.
        looks: what was seen of every example.
    """
    answers: dict[int, int] = {}
    for step, places in passes:
        answers[step] = answers.get(step, 0) + sum(looks[place].answers for place in places)
    plan: list[tuple[tuple[int, ...], float]] = []
    for step, places in passes:
        # All processes must take part: one that has nothing left looks at an example again.
        shown = tuple(places) or plan[-1][0][:1]
        plan.append((shown, 1 / answers[step] if places else 0.0))
    return plan

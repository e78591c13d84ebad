"""Models that say what a test wants them to, by what is added to the output of their heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.parts import torch
from visift.models.answers import decoded
from visift.models.batch import Collator, Conversation
from visift.models.vlm import VLM

_SURE = 30.0


@contextmanager
def saying(vlm: VLM, collate: Collator, talks: Sequence[Conversation]) -> Iterator[None]:
    """Let a model end each of some conversations as it is written: one answer and its end of turn.

    As exactly as weights of the head can: behind fewer states than the model is wide, the tokens
    wanted are the likeliest there.

    Args:
        vlm: the model.
        collate: its collator.
        talks: a question and an answer each.
    """
    states, tokens = list[Any](), list[int]()
    for talk in talks:
        batch = collate([talk])
        ids = batch.inputs["input_ids"][0]
        with torch.inference_mode():
            values = decoded(vlm, batch.inputs).last_hidden_state[0].float()
        marked = batch.answers[0].nonzero()[:, 0].tolist()
        for spot in range(marked[0], marked[-1] + 1):
            states.append(values[spot - 1])
            tokens.append(int(ids[spot]))
    head = vlm.model.get_output_embeddings()
    wanted = torch.zeros(len(tokens), len(head.weight), dtype=torch.float64)
    wanted[torch.arange(len(tokens)), torch.tensor(tokens)] = _SURE
    weights = torch.linalg.lstsq(torch.stack(states).double(), wanted, driver="gelsd").solution
    add = lambda _, args, out: out + (args[0].double() @ weights).to(out.dtype)  # noqa: E731
    hook = head.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()

"""What the parts of a model are called with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from visift.models.vlm import VLM


@contextmanager
def inputs_of(modules: list[Any]) -> Iterator[dict[int, list[Any]]]:
    """Record what each module is called with, by its number."""
    seen: dict[int, list[Any]] = {number: [] for number in range(len(modules))}
    with ExitStack() as stack:
        for number, module in enumerate(modules):

            def record(_: Any, args: Any, kwargs: Any, number: int = number) -> None:
                seen[number].append(args[0] if args else kwargs.get("hidden_states"))

            hook = module.register_forward_pre_hook(record, with_kwargs=True)
            stack.callback(hook.remove)
        yield seen


def parts(vlm: VLM) -> list[Any]:
    """The decoder's blocks, its final norm and the language model's head, in this order."""
    return [*vlm.blocks, vlm.decoder.norm, vlm.model.get_output_embeddings()]

"""Losses of answer tokens, of the same answers asked for in several ways at once.

Images are encoded once for all ways; what conversations have in common goes through the decoder
once, where the model allows it; logits of other tokens than those of answers are never made.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from visift.models.batch import Batch, Collator, Conversation
from visift.models.conditions import Condition, asked_as
from visift.models.handed import PackedRows, Unpackable, hand, pack_rows, run_packed
from visift.models.remembering import images_read_once, replaced
from visift.models.vlm import VLM, Stop, one_cpu_thread
from visift.pool.record import Turn

# Logits made at a time: 128 MiB in float32.
MOST_LOGITS = 2**25

# Tokens a processor's decoder is given at a time: more of them leave its caches.
_MOST_CPU_TOKENS = 1024

# Kinds of blocks in which a token sees others through a mask and in no other way.
_MASKED = {"full_attention", "sliding_attention", "chunked_attention"}

# How far the losses of a packed row may be from those of its sequences alone: noise is well below,
# a token that sees one too many well above.
_TOLERANCE, _HALF_TOLERANCE = 1e-3, 0.05


#: When the conversations of a record share a row of the decoder.
Packing = Literal["never", "always", "if less work"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Conversations of some records, asked for in one way.

    Attributes:
        batch: n conversations.
        records: (n,) the record of each, no two the same.
    """

    batch: Batch
    records: tuple[int, ...]


@contextmanager
def asking(vlm: VLM) -> Iterator[None]:
    """While it lasts, the images of the same records are read once, however often asked for."""
    with torch.inference_mode(), one_cpu_thread(), images_read_once(vlm):
        yield


def answer_losses(vlm: VLM, asked: Sequence[Asked], packing: Packing) -> list[list[Tensor]]:
    """Return the loss of every answer token, -log p given all that stands before it.

    Images are read once for all ways inside of `asking`.

    Args:
        vlm: the model.
        asked: the ways, at least one.
        packing: not every model can, see `why_not_packed`. It is more work where answers are long:
            in a row each token is compared with those of all of them, seen or not.

    Returns:
        For every way, for every conversation, (its answer tokens,) float32 on the CPU, in order.

    Raises:
        Unpackable: the model cannot, and always should.
    """
    with torch.inference_mode(), one_cpu_thread():
        states, output = _states(vlm, asked, packing)
        targets = [
            one.batch.inputs["input_ids"][row, _spots(one.batch, row)]
            for one in asked
            for row in range(len(one.records))
        ]
        every = _token_losses(vlm, asked, output, torch.cat(states), torch.cat(targets))
    parts = iter(torch.split(every, [len(one) for one in targets]))
    return [[next(parts) for _ in one.records] for one in asked]


def why_not_packed(vlm: VLM, collate: Collator) -> str | None:
    """Return why the conversations of a record cannot share a row of this model; None if they can.

    Whether they can is tried, on one conversation asked for in every way: nothing is taken from
    the name of a model.
    """
    config = vlm.decoder.config
    kinds = set(getattr(config, "layer_types", None) or ()) - _MASKED
    if kinds:
        return (
            f"its {', '.join(sorted(kinds))} blocks carry more than attention from token to token"
        )
    said = ("What is it?", "A cat on a mat.", "Its colour?", "Black.")
    turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(said))
    talk = Conversation(turns, (Image.new("RGB", (64, 64), "gray"),))
    with asking(vlm):
        asked = [Asked(collate([asked_as(talk, way)]), (0,)) for way in get_args(Condition)]
        separate = answer_losses(vlm, asked, "never")
        try:
            if not any(any(row.fresh) for row in _pack(vlm, asked)[0].rows):
                return "every token of its prompts sees all of the prompt"
            packed = answer_losses(vlm, asked, "always")
        except Unpackable as error:
            return str(error)
        except Exception as error:  # the model's own code, handed what it never was
            return f"its decoder takes no packed rows ({type(error).__name__}: {error})"
    pairs = zip(separate, packed, strict=True)
    apart = max(float((one[0].mean() - other[0].mean()).abs()) for one, other in pairs)
    most = _TOLERANCE if vlm.model.dtype == torch.float32 else _HALF_TOLERANCE
    return None if apart <= most else f"its losses in packed rows are off by {apart:.2g}"


# --- states --------------------------------------------------------------------------------------


def _spots(batch: Batch, row: int) -> Tensor:
    """Return where the answer tokens of a row stand; nothing predicts the first token."""
    return batch.answers[row, 1:].nonzero()[:, 0] + 1


def _pack(vlm: VLM, asked: Sequence[Asked]) -> tuple[PackedRows, list[list[tuple[int, int]]]]:
    """Return a packed row for each record, and its sequences: (which way, which row of that)."""
    sequences: dict[int, list[tuple[int, int]]] = {}
    for way, one in enumerate(asked):
        for row, record in enumerate(one.records):
            sequences.setdefault(record, []).append((way, row))
    rows = list(sequences.values())
    return pack_rows([hand(vlm, one.batch.inputs) for one in asked], rows), rows


def _states(vlm: VLM, asked: Sequence[Asked], packing: Packing) -> tuple[list[Tensor], Any]:
    """Return what answer tokens are predicted from, way by way and row by row, and an output."""
    if packing == "never":
        return _separate_states(vlm, asked)
    try:
        packed, sequences = _pack(vlm, asked)
    except Unpackable:
        if packing == "always":
            raise
        return _separate_states(vlm, asked)
    apart = _work(vlm, [one.batch.turns.shape for one in asked])
    if packing == "always" or _work(vlm, [(len(sequences), packed.length)]) <= apart:
        return _packed_states(vlm, asked, packed, sequences)
    return _separate_states(vlm, asked)


def _packed_states(
    vlm: VLM,
    asked: Sequence[Asked],
    packed: PackedRows,
    sequences: Sequence[Sequence[tuple[int, int]]],
) -> tuple[list[Tensor], Any]:
    on_cpu = vlm.model.device.type == "cpu"
    last = list[Tensor]()
    for part in packed.parts(_MOST_CPU_TOKENS) if on_cpu else [packed]:
        output = run_packed(vlm, part)
        last += output.last_hidden_state
    states: dict[tuple[int, int], Tensor] = {}
    for number, some in enumerate(sequences):
        for (way, row), places in zip(some, packed.rows[number].places, strict=True):
            spots = _spots(asked[way].batch, row).to(places.device)
            states[way, row] = last[number][places[spots - 1]]
    return [states[key] for key in sorted(states)], output


def _work(vlm: VLM, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return how much a block does with batches of (rows, length), in proportion.

    Matrices a token goes through (about 24 d^2 operations), and all tokens that it is compared
    with, masked or not (4 d operations each).
    """
    return sum(rows * length * (6 * vlm.width + length) for rows, length in shapes)


def _separate_states(vlm: VLM, asked: Sequence[Asked]) -> tuple[list[Tensor], Any]:
    """Return the same as `_packed_states`, each way by a forward pass of its own."""
    states = list[Tensor]()
    for one in asked:
        output = decoded(vlm, one.batch.inputs)
        last = output.last_hidden_state
        rows = range(len(one.records))
        states += [last[row, _spots(one.batch, row).to(last.device) - 1] for row in rows]
    return states, output


def decoded(vlm: VLM, inputs: dict[str, Tensor]) -> Any:
    """Return what the decoder gives for some inputs; the output layer does not run."""
    run, seen = vlm.decoder.forward, list[Any]()

    def stop(*args: Any, **kwargs: Any) -> Any:
        seen.append(run(*args, **kwargs))
        raise Stop

    with replaced(vlm.decoder, "forward", stop), suppress(Stop):
        vlm.model(**vlm.moved(inputs), use_cache=False)
    return seen[0]


# --- losses --------------------------------------------------------------------------------------


def _token_losses(
    vlm: VLM, asked: Sequence[Asked], output: Any, states: Tensor, targets: Tensor
) -> Tensor:
    """Return (t,) losses of tokens from the states that predict them, (t, d), on the CPU.

    The model's own code makes logits of them, whatever it scales them by: it is run on one token,
    with the states in place of what its decoder would give.
    """
    inputs = one_token(asked)
    most = max(1, MOST_LOGITS // vlm.model.config.get_text_config().vocab_size)
    losses = [torch.empty(0)]
    for some, wanted in zip(torch.split(states, most), torch.split(targets, most), strict=True):
        if len(some):
            logits = logits_of(vlm, inputs, output, some).float()
            wanted = wanted.to(logits.device)
            losses.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="none").cpu())
    return torch.cat(losses)


def logits_of(vlm: VLM, inputs: dict[str, Tensor], output: Any, states: Tensor) -> Tensor:
    """Return the logits that a model's own head makes of some states, scaled and capped as it does.

    Args:
        vlm: the model.
        inputs: of any batch.
        output: what its decoder returned.
        states: (n, d) final states.
    """
    answer = copy.copy(output)
    answer.last_hidden_state = states.unsqueeze(0)
    with replaced(vlm.decoder, "forward", lambda *_, **__: answer):
        made: Tensor = vlm.model(**vlm.moved(inputs), use_cache=False).logits[0]
    return made


def one_token(asked: Sequence[Asked]) -> dict[str, Tensor]:
    """Return inputs of the first answer token: text, whatever the model."""
    for one in asked:
        for row, spot in one.batch.answers.nonzero()[:1].tolist():
            return {
                name: value[row : row + 1, spot : spot + 1]
                for name, value in one.batch.inputs.items()
                if isinstance(value, Tensor) and value.shape[:2] == one.batch.turns.shape
            }
    return {}

"""What a model's own code hands to its decoder, and the decoder run on packed rows of it.

Image features merged in, positions, masks, whatever else a family gives: all of it is caught at
the decoder's door, by running the model's forward up to there, so that none of it is known here by
family. Masks are caught where they are used, at each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from visift.models.packing import PackedRow, Strand, pack
from visift.models.remembering import replaced
from visift.models.vlm import VLM, Stop

# Rebuilt for packed rows, or of no use without a cache.
_OURS = ("attention_mask", "position_ids", "cache_position")


class Unpackable(Exception):
    """Why the sequences of a model cannot share a row."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What a decoder is handed for n sequences.

    Attributes:
        tokens: by argument, (n, length, ...) what it says of each token; of a list of tensors
            for some tokens only, one entry `name/number` each, 0 at the other tokens.
        chosen: argument that is such a list -> the one that marks its tokens.
        rest: arguments that say nothing of tokens.
        lengths: of the sequences, padding left out.
        masks: for every block, what it is handed as `attention_mask`.
    """

    tokens: dict[str, Tensor]
    chosen: dict[str, str]
    rest: dict[str, Any]
    lengths: tuple[int, ...]
    masks: tuple[Tensor | None, ...]

    def mask(self, block: int) -> Tensor:
        """Return (n, length, length) bool, which tokens a block lets each token see.

        Raises:
            Unpackable: that is not what its mask says.
        """
        mask, shape = self.masks[block], self.tokens["inputs_embeds"].shape[:2]
        n, length = shape
        if mask is None:  # what a causal mask becomes where nothing is padded
            device = self.tokens["inputs_embeds"].device
            return (
                torch.ones(length, length, dtype=torch.bool, device=device).tril().expand(n, -1, -1)
            )
        if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[2:] != (length, length):
            raise Unpackable(f"block {block} has a mask of shape {tuple(mask.shape)}")
        if mask.is_floating_point():
            closed = mask <= torch.finfo(mask.dtype).min / 2
            if bool((mask != 0).logical_and(~closed).any()):
                raise Unpackable(f"block {block} has a mask with weights")
            mask = ~closed
        return mask[:, 0].expand(n, -1, -1)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """How some sequences share rows of a decoder.

    Attributes:
        rows: where in them the tokens of the sequences stand.
        strands: for every row its sequences, their tokens in the order of `names`.
        names: what is said of tokens, see `Handed.tokens`.
        chosen: see `Handed.chosen`.
        rest: see `Handed.rest`.
        kinds: for every block, which of the masks of a strand is its.
        dtype: of the masks that blocks are handed.
    """

    rows: tuple[PackedRow, ...]
    strands: tuple[tuple[Strand, ...], ...]
    names: tuple[str, ...]
    chosen: dict[str, str]
    rest: dict[str, Any]
    kinds: tuple[int, ...]
    dtype: torch.dtype

    @property
    def length(self) -> int:
        """Tokens of the longest row, to which the others are padded."""
        return max(map(len, self.rows))

    def parts(self, most: int) -> list[PackedRows]:
        """Return the rows in order, in parts of at most `most` tokens where one row allows it."""
        starts = [0]
        for row in range(1, len(self.rows)):
            longest = max(map(len, self.rows[starts[-1] : row + 1]))
            if longest * (row + 1 - starts[-1]) > most:
                starts.append(row)
        slices = [slice(*pair) for pair in pairwise([*starts, len(self.rows)])]
        return [replace(self, rows=self.rows[s], strands=self.strands[s]) for s in slices]

    def arguments(self) -> dict[str, Any]:
        """Return what the decoder is to be called with."""
        tokens: dict[str, Tensor] = {}
        for number, name in enumerate(self.names):
            values = [
                row.gather([strand.tokens[number] for strand in some])
                for row, some in zip(self.rows, self.strands, strict=True)
            ]
            tokens[name] = _padded(values, self.length)
        real = [tokens["position_ids"].new_ones(len(row)) for row in self.rows]
        made = {**self.rest, **_arguments(tokens, self.chosen)}
        return {**made, "attention_mask": _padded(real, self.length)}

    def masks(self) -> list[Tensor]:
        """Return what each block is to be handed, (rows, 1, length, length)."""
        square = []
        for kind in range(len(self.strands[0][0].masks)):
            masks = [
                row.mask([strand.masks[kind] for strand in some])
                for row, some in zip(self.rows, self.strands, strict=True)
            ]
            square.append(_square(masks, self.length, self.dtype))
        return [square[kind] for kind in self.kinds]


def hand(vlm: VLM, inputs: dict[str, Tensor]) -> Handed:
    """Return what the decoder is handed for some inputs; none of its blocks runs.

    Raises:
        Unpackable: it is handed something that is not understood.
    """
    decoder, blocks = vlm.decoder, list(vlm.blocks)
    run = decoder.forward
    arguments: dict[str, Any] = {}
    masks: dict[int, Any] = {}

    def look(*args: Any, **kwargs: Any) -> Any:
        if args or kwargs.get("inputs_embeds") is None:
            raise Unpackable("its decoder is not handed embeddings by name")
        arguments.update(kwargs)
        with ExitStack() as stack:
            for number, block in enumerate(blocks):
                stack.enter_context(replaced(block, "forward", _passing(number, masks)))
            run(**kwargs)
        raise Stop

    with replaced(decoder, "forward", look), suppress(Stop):
        vlm.model(**vlm.moved(inputs), use_cache=False)
    if sorted(masks) != list(range(len(blocks))):
        raise Unpackable("not all of its blocks are handed a mask")
    lengths = tuple(inputs["attention_mask"].sum(dim=1).tolist())
    tokens, chosen, rest = _sorted(arguments)
    return Handed(tokens, chosen, rest, lengths, tuple(masks[n] for n in range(len(blocks))))


def _passing(number: int, masks: dict[int, Any]) -> Any:
    """Return a block's forward that notes its mask and changes nothing."""

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if "attention_mask" in kwargs:
            masks[number] = kwargs["attention_mask"]
        return hidden_states.clone()  # the caller may add to it in place

    return forward


def _sorted(arguments: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Any]]:
    """Sort what a decoder is handed, see `Handed`."""
    n, length = arguments["inputs_embeds"].shape[:2]
    tokens = {"position_ids": _positions(arguments)}
    rest: dict[str, Any] = {}
    lists: dict[str, Sequence[Tensor]] = {}
    for name, value in arguments.items():
        if name in _OURS:
            continue
        if isinstance(value, Tensor) and value.shape[:2] in ((n, length), (1, length)):
            tokens[name] = value.expand(n, *value.shape[1:])
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
            lists[name] = value
        elif isinstance(value, Tensor):
            raise Unpackable(f"its decoder is handed {name} of shape {tuple(value.shape)}")
        else:
            rest[name] = value
    chosen: dict[str, str] = {}
    for name, values in lists.items():
        marks = _marking(tokens, len(values[0]))
        if marks is None:
            raise Unpackable(f"its decoder is handed a list of tensors, {name}")
        chosen[name] = marks
        for number, value in enumerate(values):
            spread = value.new_zeros(n, length, *value.shape[1:])
            spread[tokens[marks]] = value
            tokens[f"{name}/{number}"] = spread
    return tokens, chosen, rest


def _positions(arguments: dict[str, Any]) -> Tensor:
    """Return (n, length) or, where a token has several positions, (n, length, k)."""
    embeds: Tensor = arguments["inputs_embeds"]
    given: Tensor | None = arguments.get("position_ids")
    n, length = embeds.shape[:2]
    if given is None:
        return torch.arange(length, device=embeds.device).expand(n, length)
    given = given.movedim(0, -1) if given.ndim == 3 else given
    return given.expand(n, *given.shape[1:])


def _marking(tokens: dict[str, Tensor], count: int) -> str | None:
    marks = (k for k, v in tokens.items() if v.dtype == torch.bool and v.ndim == 2)
    return next((name for name in marks if int(tokens[name].sum()) == count), None)


def pack_rows(handed: Sequence[Handed], rows: Sequence[Sequence[tuple[int, int]]]) -> PackedRows:
    """Lay sequences out in rows.

    Args:
        handed: some batches of sequences.
        rows: for every row the sequences in it: (which of `handed`, which row of that).

    Raises:
        Unpackable: the masks of the decoder are not understood.
    """
    names: dict[str, Tensor] = {}
    for name, value in (pair for one in handed for pair in one.tokens.items()):
        names[name] = max(names.get(name, value), value, key=lambda one: one.ndim)
    tokens = [[_of(one, name, like) for name, like in names.items()] for one in handed]
    alike = [tuple(id(one.masks[block]) for one in handed) for block in range(len(handed[0].masks))]
    kinds = list(dict.fromkeys(alike))
    masks = [[one.mask(alike.index(kind)) for kind in kinds] for one in handed]

    def strand(which: int, row: int) -> Strand:
        length = handed[which].lengths[row]
        return Strand(
            tuple(value[row, :length] for value in tokens[which]),
            tuple(mask[row, :length, :length] for mask in masks[which]),
        )

    strands = tuple(tuple(strand(*one) for one in sequences) for sequences in rows)
    return PackedRows(
        rows=tuple(map(pack, strands)),
        strands=strands,
        names=tuple(names),
        chosen={name: marks for one in handed for name, marks in one.chosen.items()},
        rest=handed[0].rest,
        kinds=tuple(map(kinds.index, alike)),
        dtype=next((m.dtype for one in handed for m in one.masks if m is not None), torch.bool),
    )


def _of(one: Handed, name: str, like: Tensor) -> Tensor:
    """Return what is said of each token, in the shape that another batch has it in.

    Nothing (0) where this batch had no such argument; text alone may have one position a token
    where there are several beside images.
    """
    shape = (*one.tokens["inputs_embeds"].shape[:2], *like.shape[2:])
    value = one.tokens.get(name)
    if value is None:
        return like.new_zeros(shape)
    return value if value.ndim == like.ndim else value.unsqueeze(-1).expand(shape)


def _padded(values: Sequence[Tensor], length: int) -> Tensor:
    out = values[0].new_zeros(len(values), length, *values[0].shape[1:])
    for row, value in zip(out, values, strict=True):
        row[: len(value)] = value
    return out


def _arguments(tokens: dict[str, Tensor], chosen: dict[str, str]) -> dict[str, Any]:
    """Return arguments of a decoder, from what they say of tokens; the inverse of `_sorted`."""
    made: dict[str, Any] = {name: value for name, value in tokens.items() if "/" not in name}
    if made["position_ids"].ndim == 3:
        made["position_ids"] = made["position_ids"].movedim(-1, 0)
    for name, marks in chosen.items():
        parts = [value for part, value in tokens.items() if part.partition("/")[0] == name]
        made[name] = [part[tokens[marks]] for part in parts]
    return made


def _square(masks: Sequence[Tensor], length: int, dtype: torch.dtype) -> Tensor:
    """Return the masks of rows as a block takes them, (rows, 1, length, length)."""
    out = torch.eye(length, dtype=torch.bool, device=masks[0].device).repeat(len(masks), 1, 1)
    for row, mask in zip(out, masks, strict=True):
        row[: len(mask), : len(mask)] = mask
    if dtype != torch.bool:
        out = torch.zeros_like(out, dtype=dtype).masked_fill(~out, torch.finfo(dtype).min)
    return out.unsqueeze(1)


def run_packed(vlm: VLM, packed: PackedRows) -> Any:
    """Return what the decoder gives for packed rows."""
    with ExitStack() as stack:
        for block, mask in zip(vlm.blocks, packed.masks(), strict=True):
            hook = block.register_forward_pre_hook(_with_mask(mask), with_kwargs=True)
            stack.callback(hook.remove)
        return vlm.decoder(**packed.arguments())


def _with_mask(mask: Tensor) -> Any:
    def swap(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "attention_mask": mask}

    return swap

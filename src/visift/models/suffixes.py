"""One short reply to each of many queries about the same record: what they share is read once.

Each query ends a conversation that begins like the others of its record. All of them stand in one
row of the decoder, where the model allows it, and behind each of them every possible reply, so
that one pass tells how likely each reply is, which one greedy decoding gives, and whether it ends
there. Elsewhere queries go through the decoder one by one and share the features of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from visift.models.answers import (
    MOST_LOGITS,
    Asked,
    asking,
    decoded,
    logits_of,
    one_token,
    why_not_packed,
)
from visift.models.batch import Batch, Collator, Conversation
from visift.models.handed import Handed, PackedRows, hand, pack_rows, run_packed
from visift.models.packing import PackedRow, Strand, shared_length
from visift.models.replies import Replies, replied
from visift.models.vlm import VLM
from visift.pool.record import Turn

# Tokens a processor's decoder is given at a time: more of them leave its caches.
_MOST_CPU_TOKENS = 1024

# How far log-probabilities in packed rows may be from those of separate passes, as for losses.
_TOLERANCE, _HALF_TOLERANCE = 1e-3, 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model replies to c queries about n records.

    Attributes:
        logs: (c, n, r) float32, log-probability of each reply's token where it belongs.
        greedy: (c, n) int64, which reply greedy decoding gives and then ends; -1 where it gives
            anything else.
    """

    logs: Tensor
    greedy: Tensor


@dataclass(frozen=True, slots=True)
class ReplyReader:
    """Reads replies off one model.

    Attributes:
        vlm: the model.
        replies: that it can give.
        ends: tokens that end a reply.
        packs: whether the queries about a record share a row of the decoder.
    """

    vlm: VLM
    replies: Replies
    ends: frozenset[int]
    packs: bool

    @classmethod
    def of(cls, vlm: VLM, collate: Collator, replies: Replies, ends: frozenset[int]) -> ReplyReader:
        """Return what reads a model; whether it packs is tried, on two queries of our own."""
        separate = cls(vlm, replies, ends, packs=False)
        if why_not_packed(vlm, collate) is not None:
            return separate
        packed = replace(separate, packs=True)
        with asking(vlm):
            batches = [_trial(collate, replies, query) for query in ("Is it so?", "How many?")]
            wanted = separate.read(batches).logs
            try:
                apart = float((packed.read(batches).logs - wanted).abs().max())
            except Exception:  # the model's own code, handed what it never was
                return separate
        most = _TOLERANCE if vlm.model.dtype == torch.float32 else _HALF_TOLERANCE
        return packed if apart <= most else separate

    def read(self, batches: Sequence[Batch]) -> Reading:
        """Return the replies to some queries; images are read once inside of `answers.asking`.

        Args:
            batches: one for each query, at least one, of the same n records in the same order,
                each conversation with the first of `replies` at its end.
        """
        states, after, output = self._packed(batches) if self.packs else self._separate(batches)
        inputs = one_token([Asked(one, tuple(range(len(one.turns)))) for one in batches])
        logs, which = self._first(inputs, output, states)
        if after is None:
            last = self._again(batches, which)
        else:
            last = after[torch.arange(len(which)), which.clamp(min=0).to(after.device)]
        ended = torch.isin(self._likeliest(inputs, output, last), torch.tensor(sorted(self.ends)))
        shape = (len(batches), len(batches[0].turns))
        greedy = torch.where(ended, which, -1)
        return Reading(logs.reshape(*shape, -1), greedy.reshape(shape))

    # --- states ----------------------------------------------------------------------------------

    def _separate(self, batches: Sequence[Batch]) -> tuple[Tensor, None, Any]:
        """Return (c n, k + 1, d) states that predict the lead and the reply, and an output."""
        steps = torch.arange(-len(self.replies.lead) - 1, 0)
        states = list[Tensor]()
        for batch in batches:
            output = decoded(self.vlm, batch.inputs)
            there = self.replies.spots(batch).unsqueeze(1) + steps
            states.append(_at(output.last_hidden_state, there))
        return torch.cat(states), None, output

    def _again(self, batches: Sequence[Batch], which: Tensor) -> Tensor:
        """Return (c n, d) states behind the replies that were given; of -1 behind the first."""
        tokens = torch.tensor(self.replies.tokens)
        states = list[Tensor]()
        for batch, chosen in zip(batches, which.reshape(len(batches), -1), strict=True):
            there = self.replies.spots(batch).unsqueeze(1)
            ids = batch.inputs["input_ids"].scatter(1, there, tokens[chosen.clamp(min=0), None])
            output = decoded(self.vlm, {**batch.inputs, "input_ids": ids})
            states.append(_at(output.last_hidden_state, there)[:, 0])
        return torch.cat(states)

    def _packed(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor, Any]:
        """Return the same as `_separate`, and (c n, r, d) states behind each of the replies."""
        packed = self._rows(batches)
        on_cpu = self.vlm.model.device.type == "cpu"
        last = list[Tensor]()
        for part in packed.parts(_MOST_CPU_TOKENS) if on_cpu else [packed]:
            output = run_packed(self.vlm, part)
            last += output.last_hidden_state
        r, k = len(self.replies.tokens), len(self.replies.lead)
        states, after = list[Tensor](), list[Tensor]()
        for query in range(len(batches)):
            for row, values in zip(packed.rows, last, strict=True):
                places = row.places[query]
                states.append(values[places[-r - k - 1 : -r]])
                after.append(values[places[-r:]])
        return torch.stack(states), torch.stack(after), output

    def _rows(self, batches: Sequence[Batch]) -> PackedRows:
        """Return a row for each record: its queries, all replies behind each of them."""
        handed = [self._handed(one) for one in (*batches, self.replies.written)]
        records, r = len(batches[0].turns), len(self.replies.tokens)
        by_record = [(query, row) for row in range(records) for query in range(len(batches))]
        alone = pack_rows(
            handed, [[one] for one in [*by_record, *((len(batches), j) for j in range(r))]]
        )
        single = [one for (one,) in alone.strands]
        written = [
            torch.stack([one.tokens[number][-1] for one in single[-r:]])
            for number in range(len(alone.names))
        ]
        every = [_with_replies(one, alone.names, written) for one in single[:-r]]
        c = len(batches)
        strands = tuple(tuple(every[start : start + c]) for start in range(0, len(every), c))
        return replace(alone, rows=tuple(map(_pack, strands)), strands=strands)

    def _handed(self, batch: Batch) -> Handed:
        """Return what the decoder is handed, every sequence cut behind its reply."""
        lengths = tuple((self.replies.spots(batch) + 1).tolist())
        return replace(hand(self.vlm, batch.inputs), lengths=lengths)

    # --- logits ----------------------------------------------------------------------------------

    def _first(
        self, inputs: dict[str, Tensor], output: Any, states: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (m, r) log-probabilities, and (m,) which reply greedy decoding begins, or -1."""
        tokens = torch.tensor(self.replies.tokens)
        logs, which = list[Tensor](), list[Tensor]()
        for some in torch.split(states, self._most(states.shape[1])):
            logits = logits_of(self.vlm, inputs, output, some.flatten(0, 1)).float()
            logits = logits.reshape(*some.shape[:2], -1)
            logs.append(logits[:, -1].log_softmax(dim=-1).cpu()[:, tokens])
            said = logits.argmax(dim=-1).cpu()
            led = (said[:, :-1] == torch.tensor(self.replies.lead, dtype=torch.int64)).all(dim=1)
            is_one = said[:, -1:] == tokens
            given = torch.where(is_one.any(dim=1), is_one.int().argmax(dim=1), -1)
            which.append(torch.where(led, given, -1))
        return torch.cat(logs), torch.cat(which)

    def _likeliest(self, inputs: dict[str, Tensor], output: Any, states: Tensor) -> Tensor:
        """Return (m,) the likeliest token behind each of (m, d) states."""
        return torch.cat(
            [
                logits_of(self.vlm, inputs, output, some).argmax(dim=-1).cpu()
                for some in torch.split(states, self._most(1))
            ]
        )

    def _most(self, each: int) -> int:
        """Return of how many sequences logits are made at once, `each` tokens of them."""
        words = self.vlm.model.config.get_text_config().vocab_size
        return int(max(1, MOST_LOGITS // (words * each)))


def _trial(collate: Collator, replies: Replies, query: str) -> Batch:
    talk = Conversation((Turn("user", f"A cat.\n{query}"),), (Image.new("RGB", (64, 64), "gray"),))
    return collate([replied(talk, replies.texts[0])])


def _at(values: Tensor, places: Tensor) -> Tensor:
    """Return (n, k, d), what (n, length, d) values hold at (n, k) places of their rows."""
    rows = torch.arange(len(values), device=values.device).unsqueeze(1)
    return values[rows, places.to(values.device)]


def _with_replies(strand: Strand, names: Sequence[str], written: Sequence[Tensor]) -> Strand:
    """Return a sequence with all r replies in place of the one it ends with.

    They stand at the same position, and each sees what that one saw: none sees another.

    Args:
        strand: a sequence, one reply the last token of it.
        names: of what is said of tokens.
        written: for every name, (r, ...) what is said of the replies.
    """
    r = len(written[0])
    tokens = [
        torch.cat([own[:-1], own[-1:].expand(r, *own.shape[1:]) if name == "position_ids" else new])
        for name, own, new in zip(names, strand.tokens, written, strict=True)
    ]
    masks = list[Tensor]()
    for mask in strand.masks:
        n = len(mask) - 1
        wide = mask.new_zeros(n + r, n + r)
        wide[:n, :n] = mask[:n, :n]
        wide[n:, :n] = mask[n, :n]
        wide[n:, n:] = torch.eye(r, dtype=torch.bool, device=mask.device)
        masks.append(wide)
    return Strand(tuple(tokens), tuple(masks))


def _pack(strands: Sequence[Strand]) -> PackedRow:
    """Lay sequences out as one row, each beginning with what it shares with the first.

    Queries about a record differ from the same place on; comparing all with all would find hardly
    more, and cost more than it saves.
    """
    first, length = strands[0], len(strands[0])
    fresh, places = [0], [torch.arange(length, device=first.tokens[0].device)]
    for one in strands[1:]:
        own = shared_length(one, first)
        new = torch.arange(length, length + len(one) - own, device=places[0].device)
        places.append(torch.cat([places[0][:own], new]))
        fresh.append(own)
        length += len(one) - own
    return PackedRow(tuple(fresh), tuple(places))

"""Sequences as one row: each token in it has the state that it has in its own sequence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from visift.models.packing import PackedRow, Strand, pack, shared_length  # noqa: E402

WIDTH, BLOCKS = 8, 3
WINDOW = 3


def causal(length: int) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


def sliding(length: int) -> torch.Tensor:
    return causal(length) & ~causal(length).tril(-WINDOW)


def strand(text: str, prefix: int = 0) -> Strand:
    """Letters as tokens; all letters of the prefix see each other."""
    mask = causal(len(text))
    mask[:prefix, :prefix] = True
    return Strand((torch.tensor([ord(letter) for letter in text]),), (mask, sliding(len(text))))


def letters(row: PackedRow, strands: list[Strand]) -> str:
    return "".join(map(chr, row.gather([one.tokens[0] for one in strands]).tolist()))


def mask(strands: list[Strand], kind: int = 0) -> torch.Tensor:
    return pack(strands).mask([one.masks[kind] for one in strands])


def decode(tokens: torch.Tensor, depth: torch.Tensor, masks: tuple[torch.Tensor, ...]):
    """A decoder of attention alone: (length,) tokens at their depths -> (length, d) states."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(256, WIDTH, generator=generator, dtype=torch.float64)
    states = table[tokens] + table[200 + depth]
    for block in range(BLOCKS):
        keys, values = torch.randn(2, WIDTH, WIDTH, generator=generator, dtype=torch.float64) / 3
        scores = states @ keys @ states.T
        scores = scores.masked_fill(~masks[block % len(masks)], -torch.inf)
        states = states + torch.tanh(scores.softmax(dim=1) @ states @ values)
    return states


def test_what_sequences_begin_with_stands_in_the_row_once() -> None:
    strands = [strand("SIQAQA"), strand("SIAA"), strand("SQAQA"), strand("SAA")]
    row = pack(strands)
    assert letters(row, strands) == "SIQAQA" + "AA" + "QAQA" + "AA"
    assert row.fresh == (0, 2, 1, 1)
    assert len(row) == 14
    assert [places.tolist() for places in row.places] == [
        [0, 1, 2, 3, 4, 5],
        [0, 1, 6, 7],
        [0, 8, 9, 10, 11],
        [0, 12, 13],
    ]


def test_a_sequence_goes_on_from_the_one_it_has_most_in_common_with() -> None:
    strands = [strand("ab"), strand("acde"), strand("acdf")]
    assert pack(strands).fresh == (0, 1, 3)
    assert letters(pack(strands), strands) == "abcdef"


def test_a_sequence_that_is_there_already_adds_nothing() -> None:
    row = pack([strand("SQA"), strand("SQA"), strand("SQ")])
    assert len(row) == 3
    assert row.places[1].tolist() == [0, 1, 2]
    assert row.places[2].tolist() == [0, 1]


def test_every_token_sees_what_it_sees_in_its_own_sequence_and_nothing_else() -> None:
    assert mask([strand("abc"), strand("abd")]).int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 0, 1],
    ]
    window = mask([strand("abcdef"), strand("abcx")], kind=1)
    assert window[-1].nonzero()[:, 0].tolist() == [1, 2, 6]


def test_of_a_prefix_that_sees_all_of_itself_no_part_is_shared() -> None:
    assert shared_length(strand("imqA", prefix=3), strand("imA", prefix=2)) == 0
    assert shared_length(strand("imqA", prefix=2), strand("imA", prefix=2)) == 2
    assert shared_length(strand("imqA", prefix=2), strand("ixqA", prefix=2)) == 0


def test_the_same_tokens_at_other_positions_are_others() -> None:
    def at(*positions: int) -> Strand:
        return Strand((torch.tensor([7, 7, 7]), torch.tensor(positions)), (causal(3),))

    assert shared_length(at(0, 1, 2), at(0, 1, 2)) == 3
    assert shared_length(at(0, 1, 2), at(0, 2, 3)) == 1


@settings(max_examples=80)
@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), st.integers(0, 4)), min_size=1))
def test_states_in_a_row_are_those_of_each_sequence_alone(said: list[tuple[str, int]]) -> None:
    strands = [strand(text, min(prefix, len(text))) for text, prefix in said[:5]]
    row = pack(strands)
    tokens = row.gather([one.tokens[0] for one in strands])
    depth = row.gather([torch.arange(len(one)) for one in strands])
    states = decode(tokens, depth, (mask(strands), mask(strands, kind=1)))
    assert len(row) <= sum(map(len, strands))
    for one, places in zip(strands, row.places, strict=True):
        alone = decode(one.tokens[0], torch.arange(len(one)), one.masks)
        assert torch.allclose(states[places], alone, atol=1e-9)

"""Contract of the fine-tuning step; the training helper fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from visift.pool.pool import Pool
from visift.pool.record import Turn
from visift.training.tuned import TunedRef


@dataclass(frozen=True, slots=True)
class Example:
    row: int
    key: str
    turns: tuple[Turn, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Outcome:
    left_out: Mapping[str, str]


def finetune(
    tuned: TunedRef,
    pool: Pool,
    examples: Sequence[Example],
    devices: Sequence[str],
    hear: Callable[[Step], None],
) -> Outcome:
    raise NotImplementedError


def outcome_of(tuned: TunedRef) -> Outcome | None:
    return None

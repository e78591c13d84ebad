"""An executor as bad as the contract allows: shards get lost, or are done and reported as lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from visift.engine.executor import Events, Inline, OpenWork, ShardFailed


@dataclass
class Faulty:
    """Runs shards in a random order and loses some of them.

    Attributes:
        seed: of the faults.
        lost: share of shards that are never started.
        denied: share of shards that are done and yet reported as failed.
        rounds: calls of `map` so far; from the second one on everything works.
    """

    seed: int = 0
    lost: float = 0.4
    denied: float = 0.2
    rounds: int = field(default=0, init=False)

    def map(self, open_work: OpenWork, shards: Sequence[int]) -> Events:
        """See `visift.engine.executor.Executor`."""
        chance = random.Random(f"{self.seed}:{self.rounds}")
        bad = self.lost + self.denied if self.rounds == 0 else 0.0
        self.rounds += 1
        drawn = {shard: chance.random() for shard in shards}
        started = [shard for shard in shards if not drawn[shard] < min(bad, self.lost)]
        chance.shuffle(started)
        for event in Inline().map(open_work, started):
            denied = drawn[event.shard] < bad
            yield ShardFailed(event.shard, "the node is gone") if denied else event
        for shard in shards:
            if shard not in started:
                yield ShardFailed(shard, "the node is gone")

"""Which records are trained on with which seed, and which trainings are held against each other.

A verdict needs five training seeds and three draws of the control, so one training of a part of
the pool is no arm. Here an arm is what `visift validate --seeds 5` makes of it: five draws, each
trained once, with a training seed of its own.

One partition of the pool is ten disjoint parts, two for each of five training seeds. An arm takes
one part of every seed, its opponent the others, so that both hold different records throughout and
are compared seed by seed. Parts are exchangeable, so whichever arm is called the method, nothing
can be better. There are sixteen ways to choose; five are judged, each with one other seed swapped.
These five share ten trainings: any two of their differences agree in three of five signs, a
correlation of 1/5. A hundred such pairs say as much as a hundred that share nothing and take a
thousand trainings: where t-tests at 5 % find 5 of 100 on average, the standard deviation of that
number is 1.9 for these pairs and 2.2 for independent ones (20,000 simulations with normal
differences), as clear pairs leave little for others of their partition. Partitions share records,
but neither parts nor training seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.calibration_pool import Known, Rows
from visift.numerics.allocate import allocate
from visift.training.recipe import Recipe
from visift.validate.arms import FULL, Arm
from visift.validate.judging import Scored
from visift.validate.running import Trial

#: Draws of an arm, and training seeds: what a verdict needs.
DRAWS = 5
SIDES = ("this", "other")
METHOD, RANDOM = "random, one half", "random, other half"
NULL, ORACLE, INVERSE = "random against random", "oracle", "inverse"
#: Further than any seed that is used.
_APART = 1 << 20
#: The full arm only says which tasks count.
FULL_SEEDS = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one training.

    Attributes:
        name: of the arm that it belongs to, one of `SIDES`, `ORACLE` or `INVERSE`.
        partition: number of the partition, or of the replicate.
        draw: which of the five.
        rows: in the order of the draw.
    """

    name: str
    partition: int
    draw: int
    rows: Rows = field(repr=False)

    @property
    def seed(self) -> int:
        """Return the training seed; it is shared with what this part is compared with only."""
        return self.partition * DRAWS + self.draw

    def trial(self, recipe: Recipe) -> Trial:
        """Return what is trained and asked."""
        return Trial(
            Arm(self.name, self.rows, self.seed), self.seed, replace(recipe, seed=self.seed)
        )


def partitioned(rows: Rows, partition: int, size: int) -> list[Part]:
    """Return ten disjoint random parts of the pool.

    Args:
        rows: of the pool.
        partition: its number, which is the seed of the draw.
        size: records of a part; ten of them must be there.
    """
    count = len(SIDES) * DRAWS
    if size * count > len(rows):
        raise ValueError(f"{count} disjoint parts of {size} need more than {len(rows)} records")
    drawn = np.random.default_rng([0, partition]).permutation(rows)[: size * count]
    places = ((draw, side) for draw in range(DRAWS) for side in SIDES)
    split = zip(np.split(drawn, count), places, strict=True)
    return [Part(side, partition, draw, part) for part, (draw, side) in split]


def pairs() -> Iterator[tuple[str, ...]]:
    """Yield, for every pair of a partition, the side that the method takes of each draw."""
    for swapped in range(DRAWS):
        yield tuple(SIDES[draw == swapped] for draw in range(DRAWS))


def opponent(sides: Sequence[str]) -> tuple[str, ...]:
    """Return the sides that the control takes of each draw."""
    return tuple(SIDES[1 - SIDES.index(side)] for side in sides)


def oracle(known: Known, replicate: int, size: int) -> list[Part]:
    """Return draws of sound records, all tasks alike as far as they have as many."""
    return [
        Part(ORACLE, replicate, draw, _balanced(known, size, np.random.default_rng(seed)))
        for draw, seed in _seeds(1, replicate)
    ]


def inverse(known: Known, replicate: int, size: int) -> list[Part]:
    """Return draws of misleading records and of the commonest task, half of each."""
    rest = np.setdiff1d(known.commonest, known.misleading)
    found = []
    for draw, seed in _seeds(2, replicate):
        rng = np.random.default_rng(seed)
        bad = rng.permutation(known.misleading)[: size - size // 2]
        rows = np.concatenate([bad, rng.permutation(rest)[: size - len(bad)]])
        found.append(Part(INVERSE, replicate, draw, rows))
    return found


def full(known: Known, recipe: Recipe) -> list[Trial]:
    """Return the trainings on everything."""
    seeds = range(FULL_SEEDS)
    return [Trial(Arm(FULL, known.rows, 0), seed, replace(recipe, seed=seed)) for seed in seeds]


def _seeds(what: int, replicate: int) -> Iterator[tuple[int, list[int]]]:
    return ((draw, [what, replicate, draw]) for draw in range(DRAWS))


def _balanced(known: Known, size: int, rng: np.random.Generator) -> Rows:
    tasks = known.tasks[known.sound]
    names, there = np.unique(tasks.astype(str), return_counts=True)
    wanted = allocate(size, [1] * len(names), there).tolist()
    chosen = [
        rng.permutation(known.sound[tasks == name])[:count]
        for name, count in zip(names.tolist(), wanted, strict=True)
    ]
    return np.concatenate(chosen)


# --- contests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contest:
    """Two arms that are held against each other.

    Attributes:
        what: the kind of contest.
        method: name of the one.
        control: name of the other.
        models: what was trained for both, under these names.
    """

    what: str
    method: str
    control: str
    models: tuple[Scored, ...] = field(repr=False)


def contests(partition: int, of_part: Mapping[tuple[str, int, int], Scored]) -> Iterator[Contest]:
    """Yield every contest of a partition.

    Args:
        partition: its number.
        of_part: what each training scored, by name, partition and draw of its part.
    """

    def arm(name: str, parts: Sequence[str]) -> list[Scored]:
        found = [of_part[part, partition, draw] for draw, part in enumerate(parts)]
        return [_renamed(one, name) for one in found]

    for sides in pairs():
        models = arm(METHOD, sides) + arm(RANDOM, opponent(sides))
        yield Contest(NULL, METHOD, RANDOM, tuple(models))
    first, other = (arm(RANDOM, [side] * DRAWS) for side in SIDES)
    control = [*first, *map(_another_seed, other)]
    for name in (ORACLE, INVERSE):
        yield Contest(name, name, RANDOM, (*arm(name, [name] * DRAWS), *control))


def _another_seed(one: Scored) -> Scored:
    """Return a training under seeds of its own: each seed of a partition was used twice."""
    trial, arm = one.trial, one.trial.arm
    moved = replace(arm, seed=arm.seed + _APART)
    return replace(one, trial=replace(trial, arm=moved, seed=trial.seed + _APART))


def _renamed(one: Scored, name: str) -> Scored:
    return replace(one, trial=replace(one.trial, arm=replace(one.trial.arm, name=name)))

"""Results of models that were never trained: every chance in them is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visift.validate.results import Results


@dataclass(frozen=True)
class Study:
    """How scores come about; spreads are standard deviations in units of an answer's own chance.

    A model answers right where ability + its own luck exceed 0. Ability belongs to the question and
    its image, shifts belong to an arm, to a selection and to a training. `on_one_image` is the
    share of questions that are about one image; the others are spread evenly.
    """

    questions: int = 600
    groups: int = 280
    on_one_image: float = 0.0
    tasks: int = 6
    selections: int = 1
    trainings: int = 5
    paired: bool = False
    of_training: float = 0.04
    of_selection: float = 0.0
    of_arm: float = 0.1
    of_image: float = 0.6
    luck: float = 0.6

    def run(self, seed: int, gains: Sequence[float] = (0.0, 0.0)) -> Results:
        """Return results of arms `a0`, `a1`, …, shifted by `gains`."""
        rng = np.random.default_rng(seed)
        group = rng.integers(0, self.groups, self.questions)
        group[: round(self.on_one_image * self.questions)] = 0
        task = np.arange(self.questions) % self.tasks
        ability = rng.normal(0, 1, self.questions) + self._by_image(rng, group)
        models, scores = [], []
        for arm, gain in enumerate(gains):
            taste = self.of_arm * (rng.normal(0, 1, self.questions) + self._by_image(rng, group))
            cells = self._cells()
            shifts = rng.normal(0, self.of_selection, len(cells))
            for selection, training in cells:
                shift = gain + shifts[selection] + rng.normal(0, self.of_training)
                luck = rng.normal(0, self.luck, self.questions)
                models.append((f"a{arm}", selection, training))
                scores.append(ability + taste + shift + luck > 0)
        return results_of(models, np.array(scores, np.float64), task, group)

    def _by_image(self, rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
        return self.of_image * rng.normal(0, 1, self.groups)[group]

    def _cells(self) -> list[tuple[int, int]]:
        if self.paired:
            return [(seed, seed) for seed in range(self.trainings)]
        return [(s, t) for s in range(self.selections) for t in range(self.trainings)]


def results_of(
    models: Sequence[tuple[str, int, int]],
    scores: np.ndarray,
    task: Sequence[int] | np.ndarray,
    group: Sequence[int] | np.ndarray,
) -> Results:
    """Return results of (arm, selection seed, training seed) on numbered tasks and groups."""
    return Results(
        arms=tuple(arm for arm, _, _ in models),
        selection_seeds=np.array([selection for _, selection, _ in models]),
        training_seeds=np.array([training for _, _, training in models]),
        questions=tuple(f"q{number}" for number in range(scores.shape[1])),
        tasks=tuple(f"t{number}" for number in task),
        groups=tuple(f"g{number}" for number in group),
        scores=scores.astype(np.float64),
        answered=np.ones(scores.shape, np.bool_),
    )
